"""The facts that laws are judged by: what the application says, what the servers saw, what went over the network.

The application notes what it publishes and what it was given, under an identity that travels in a header. The servers
(as their observer) and the network (by its tap) note the same identities where they see them. No fact comes from the
client's own books, except those that a scenario hands over by `books` to have them checked.

Must not judge; that is `_laws`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import trio

from ._errors import SimulationError
from ._facts import (
    Acknowledged,
    Books,
    Delivery,
    HandedOut,
    Handled,
    Publication,
    Queued,
    RouteBooks,
    Stored,
    Withheld,
)
from ._settlements import Settlements

IDENTITY_HEADER: Final = "Sim-Id"
_IDENTITY: Final = re.compile(rb"\r\nSim-Id: ([^\r\n]{1,80})\r\n")
_PUBLISHER: Final = re.compile(r"[!-9;-~]([ -9;-~]{0,46}[!-9;-~])?")
# Longer than a header line with an identity: what may be cut by two writes.
_OVERLAP_BYTES: Final = 96
# Names, since the simulation does not know the client: written, and then no answer in time, or none that decides.
_UNKNOWN_ERRORS: Final = ("OperationTimeoutError", "PublishUnknownError", "PublishInProcessError")
# Outcomes by which a publish tells that no server has it yet.
_UNCONFIRMED: Final = ("queued", "skipped", "dropped")


class Publisher(Protocol):
    """What `Journal.publish` needs of a client; `beamline_trio.Client` has it."""

    async def publish(
        self, subject: str, payload: bytes = b"", *, headers: Mapping[str, str] | None = None, confirm: bool = False
    ) -> object:
        """See `Client.publish`."""
        ...


class Requester(Protocol):
    """What `Journal.request` needs of a client."""

    async def request(self, subject: str, payload: bytes = b"", *, headers: Mapping[str, str] | None = None) -> Any:
        """See `Client.request`."""
        ...


class Journal:
    """What happened to every message that has an identity.

    Attributes:
        publications: by identity, in the order in which they were begun.
        deliveries: to the application, in order.
        queued: by the servers, in order.
        taken: identity -> when servers took it from a client, and from which link.
        written: identity -> links that the network took it for; in the order in which it took them.
        on_link: link -> identities of what the network took for it, in that order.
        unsent: identity -> links that died while the client waited for room to write it, or the rest of it.
        links: number -> when a client handed its first bytes to it.
        stored: what streams have stored, in order.
        handed_out: what consumers have delivered, in order.
        acknowledged: what was acknowledged to consumers, in order.
        settled: what consumers have confirmed to the application as acknowledged, in order.
        withheld: what clients said they would never send, in order.
        books: accounts that were handed over.
        reported: who -> messages whose loss the application was told of.
        ended: receivers that the application ended itself.
        settlements: acknowledgements and PubAcks, as they left and arrived.
        handled: what handlers of routers said, in order.
        routes: accounts of routes that were handed over.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._counts: dict[str, int] = {}
        self._cut: dict[int, bytes] = {}
        self.publications: dict[str, Publication] = {}
        self.deliveries: list[Delivery] = []
        self.queued: list[Queued] = []
        self.taken: dict[str, list[tuple[float, int]]] = {}
        self.written: dict[str, list[int]] = {}
        self.on_link: dict[int, list[str]] = {}
        self.unsent: dict[str, list[int]] = {}
        self.links: dict[int, float] = {}
        self.stored: list[Stored] = []
        self.handed_out: list[HandedOut] = []
        self.acknowledged: list[Acknowledged] = []
        self.settled: list[Acknowledged] = []
        self.withheld: list[Withheld] = []
        self.books: list[Books] = []
        self.reported: dict[str, int] = {}
        self.ended: set[str] = set()
        self.settlements = Settlements(now)
        self.handled: list[Handled] = []
        self.routes: list[RouteBooks] = []

    # What the application says

    async def publish(
        self,
        nc: Publisher,
        subject: str,
        payload: bytes = b"",
        *,
        publisher: str = "app",
        confirm: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Publication:
        """Publish by `nc.publish` with an identity, and note what becomes of it.

        What `nc.publish` raises as an error of the client (an `Exception` that is no programming error) is noted and
        not raised: see the fate. A cancellation is noted and raised.

        Args:
            nc: the client.
            subject: without wildcards.
            payload: the message.
            publisher: whose order is to be kept, in at most 48 characters; the part before a "/" is the host.
            confirm: as in `Client.publish`.
            headers: more of them.
        """
        return await self.publish_by(
            lambda identity: nc.publish(subject, payload, headers={**(headers or {}), **identity}, confirm=confirm),
            subject,
            publisher=publisher,
            confirm=confirm,
        )

    async def publish_by(
        self,
        call: Callable[[dict[str, str]], Awaitable[Any]],
        subject: str,
        *,
        publisher: str = "app",
        confirm: bool = True,
        stream: str = "",
    ) -> Publication:
        """As `publish`, in any other way: `call` is given the header with the identity, and awaited.

        Args:
            call: publishes to the subject, once, with this header.
            subject: where it publishes.
            publisher: see `publish`.
            confirm: whether the call returns only when it is confirmed. Of what a pipelined publisher takes, `settle`
                says later what became.
            stream: whose PubAck is the confirmation.
        """
        note = self._begin(publisher, subject, stream)
        outcome = await self._told(note, call({IDENTITY_HEADER: note.identity}))
        if note.fate == "open":
            outcome = getattr(outcome, "outcome", outcome)  # of a PubAck
            said = str(getattr(outcome, "value", outcome)).lower()
            self._end(note, said if said in _UNCONFIRMED else "confirmed" if confirm else "sent")
        return note

    def settle(self, note: Publication, fate: str, error: Exception | None = None) -> None:
        """What became of a publication that was taken in, and whose stream has answered later, or not at all."""
        self._end(note, fate, "" if error is None else f"{type(error).__name__}: {error}")

    async def request(
        self, nc: Requester, subject: str, payload: bytes = b"", *, publisher: str = "app"
    ) -> tuple[Publication, Any]:
        """Ask by `nc.request` with an identity; returns the note and the reply, or None. Confirmed means answered."""
        note = self._begin(publisher, subject)
        reply = await self._told(note, nc.request(subject, payload, headers={IDENTITY_HEADER: note.identity}))
        if note.fate == "open":
            self._end(note, "confirmed")
        return note, reply

    def delivered(self, who: str, message: Any) -> str | None:
        """The application was given a message: call it before anything else can go wrong.

        Args:
            who: whose order is to be kept: the host, or "host/name" for one of several subscriptions there.
            message: has `headers` and `subject`; one without identity is not noted.

        Returns:
            The identity.
        """
        identity: str | None = message.headers.get(IDENTITY_HEADER)
        if identity is not None:
            self.deliveries.append(Delivery(who, identity, message.subject, self._now()))
        return identity

    def lost(self, who: str, count: int) -> None:
        """The application was told that it lost messages (as a slow consumer, by leaving a subscription)."""
        self.reported[who] = self.reported.get(who, 0) + count

    def end_of(self, who: str) -> None:
        """The application ended this receiver: it need not be given anything any more."""
        self.ended.add(who)

    def acked(self, message: Any) -> None:
        """The server has confirmed to the application that it knows of this ack (`ack_sync`)."""
        told = message.metadata
        self.settled.append(Acknowledged("", told.stream, told.consumer, told.stream_sequence, self._now()))

    def dropped(self, who: str, event: Any) -> None:
        """The application was told by an event (`Dropped`) that publishes will never be sent."""
        self.withheld.append(Withheld(who, event.subject, event.count, event.reason, self._now()))

    def note_books(self, who: str, nc: Any, *, complete: bool = False) -> None:
        """Hand over `nc.ledger()` and `nc.stats()` as they are now.

        Args:
            who: the client: its host, or "host/name".
            nc: the client.
            complete: every publish of it is journaled, and goes out at most once.
        """
        self.books.append(Books(who, nc.ledger(), nc.stats(), self._now(), complete))

    def note_end(self, who: str, nc: Any, undelivered: Any = None, *, complete: bool = False) -> None:
        """The client has ended, and was asked to right behind the `note_books` before: hand its books over once more.

        Args:
            who: as for `note_books`.
            nc: the client.
            undelivered: the error that its end has raised (`UndeliveredError`), or None.
            complete: as for `note_books`.
        """
        counts = (0, 0) if undelivered is None else (undelivered.unsent, undelivered.unknown)
        self.books.append(Books(who, nc.ledger(), nc.stats(), self._now(), complete, counts))

    def handled_by(
        self, who: str, delivery: Any, effects: Sequence[str] | None, *, began_at: float | None = None
    ) -> None:
        """A handler of a router is about to return or raise: call it last in the handler.

        Args:
            who: the router: its host, or "host/name".
            delivery: as its handler was given it.
            effects: the identities (header `Sim-Id`) of what it returns to be published; None = it does not accept.
            began_at: when it was called; None = now.
        """
        told, now = delivery.metadata, self._now()
        identity = delivery.headers.get(IDENTITY_HEADER)
        if identity is not None:
            place = (told.stream, told.consumer, told.stream_sequence, told.delivered)
            said = None if effects is None else tuple(effects)
            self.handled.append(Handled(who, *place, identity, said, now if began_at is None else began_at, now))

    def note_route(self, who: str, route: Any, *, drained: bool = False) -> None:
        """Hand over what a route has counted, right behind the end of its router.

        Args:
            who: the router: its host, or "host/name".
            route: `router.routes[name]`.
            drained: it ended in order, with a link all the time: nothing may be left without a word.
        """
        options = route.options
        consumer = (options.stream or "", options.durable or route.name)
        self.routes.append(RouteBooks(who, route.name, consumer, route.statistics(), drained, self._now()))

    # What servers and network say

    def tap(self, link: int, data: bytes) -> None:
        """Bytes that a client handed to the network."""
        self.settlements.sent(link, data)
        cut = self._cut.pop(link, b"")
        if cut:
            data = cut + data
        elif link not in self.links:
            self.links[link] = self._now()
        self.on_link.setdefault(link, []).extend(_note_identities(data, link, self.written))
        self._cut[link] = data[-_OVERLAP_BYTES:]

    def tap_cut(self, link: int, data: bytes) -> None:
        """Bytes that a client was about to hand to the network when the link died, or it gave up."""
        _note_identities(self._cut.get(link, b"") + data, link, self.unsent)

    def tried(self, identity: str) -> list[int]:
        """The links that a client began to write a message to: it cannot know how much of it went."""
        return list(dict.fromkeys(self.written.get(identity, []) + self.unsent.get(identity, [])))

    def published(self, server: str, link: int, subject: bytes, header: bytes | None) -> None:
        """See `Observer`."""
        identity = identity_of(header)
        if identity is not None:
            self.taken.setdefault(identity, []).append((self._now(), link))

    def delivered_to_link(
        self, server: str, link: int, sid: bytes, reply: bytes, header: bytes | None, end: int
    ) -> None:
        """A server queued a message to a client's link."""
        identity = identity_of(header)
        if identity is not None:
            self.queued.append(Queued(server, link, sid, identity, end, self._now(), reply))

    def stored_in_stream(self, server: str, stream: str, sequence: int, subject: bytes, header: bytes) -> None:
        """A stream has stored a message."""
        identity = identity_of(header)
        if identity is not None:
            self.stored.append(Stored(server, stream, sequence, identity, self._now()))

    def handed_out_by_consumer(
        self, server: str, stream: str, consumer: str, sequence: int, deliveries: int, header: bytes
    ) -> None:
        """A consumer has delivered a message."""
        identity = identity_of(header)
        if identity is not None:
            note = HandedOut(server, stream, consumer, sequence, deliveries, identity, self._now())
            self.handed_out.append(note)

    def acknowledged_to_consumer(self, server: str, stream: str, consumer: str, sequences: tuple[int, ...]) -> None:
        """A consumer has taken an acknowledgement."""
        self.acknowledged += [Acknowledged(server, stream, consumer, one, self._now()) for one in sequences]

    def _begin(self, publisher: str, subject: str, stream: str = "") -> Publication:
        if not _PUBLISHER.fullmatch(publisher):
            # Else the identity that is read off the wire is not the one that was sent, and laws blame the innocent.
            raise SimulationError(
                f"publisher {publisher!r} must be 1 to 48 visible ASCII characters without a colon, and without blanks "
                "at its ends, since it travels in a header"
            )
        number = self._counts[publisher] = self._counts.get(publisher, 0) + 1
        note = Publication(f"{publisher}/{number}", publisher, number, subject, self._now(), stream=stream)
        self.publications[note.identity] = note
        return note

    async def _told(self, note: Publication, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except (trio.Cancelled, KeyboardInterrupt):
            self._end(note, "cancelled")
            raise
        except (TypeError, AttributeError, AssertionError):
            self._end(note, "failed")
            raise
        except Exception as error:  # noqa: BLE001  # whatever the application is told is its fate
            maybe = getattr(error, "sent", "no") == "maybe" or type(error).__name__ in _UNKNOWN_ERRORS
            self._end(note, "unknown" if maybe else "failed", f"{type(error).__name__}: {error}")
            return None

    def _end(self, note: Publication, fate: str, reason: str = "") -> None:
        note.fate, note.reason, note.ended_at = fate, reason, self._now()


def _note_identities(data: bytes, link: int, where: dict[str, list[int]]) -> list[str]:
    """Note the link for every identity in the bytes; returns those that it was not noted for before."""
    new: list[str] = []
    if b"Sim-Id" in data:
        for found in _IDENTITY.finditer(data):
            identity = found[1].decode()
            links = where.setdefault(identity, [])
            if link not in links:
                links.append(link)
                new.append(identity)
    return new


def identity_of(header: bytes | None) -> str | None:
    """The identity in a header block, if it has one."""
    if header is None or b"Sim-Id" not in header:
        return None
    found = _IDENTITY.search(header)
    return None if found is None else found[1].decode("utf-8", "replace")


class Witness:
    """The servers' observer: what they see goes into the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.published = journal.published
        self.delivered = journal.delivered_to_link
        self.stored = journal.stored_in_stream
        self.handed_out = journal.handed_out_by_consumer
        self.acknowledged = journal.acknowledged_to_consumer
