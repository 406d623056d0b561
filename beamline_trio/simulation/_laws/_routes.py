"""Laws about routers: what becomes of each message of a stream that a route is given.

Judged by what left and arrived on the wire (`journal.settlements`), by what streams have stored, and by what handlers
said (`journal.handled_by`); the routes' own counters (`journal.note_route`) are held against them.

Must not know the router.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

from .._facts import HandedOut, Handled, Queued, Said
from .._journal import identity_of
from ._evidence import Evidence, Finding, Law, named

# One delivery: stream, consumer, sequence, and which delivery of it.
_Place: TypeAlias = tuple[str, str, int, int]
# One message of a consumer: stream, consumer, sequence.
_Message: TypeAlias = tuple[str, str, int]
_Note = TypeVar("_Note", Handled, HandedOut)
_Durable: TypeAlias = tuple[str, str]


def no_ack_precedes_its_effect(*dead_letters: str) -> Law:
    """An ack leaves when the PubAcks of all effects have arrived, or that of the dead letter; not before.

    Each PubAck must have come to the host that acks, behind the handler's return; that of a dead letter behind the
    first delivery. Effects carry identities of their own, and a dead letter that of its message. A message that comes
    again may be acked for what was confirmed before.

    Args:
        dead_letters: the streams of dead letters.
    """

    def no_ack_precedes_its_effect_(evidence: Evidence) -> Iterator[Finding]:
        proof = _Proof(evidence)
        said_by = _by_message(evidence.journal.handled)
        handed_out = _by_message(evidence.journal.handed_out)
        consumers = {message[:2] for message in said_by}
        for said in evidence.journal.settlements.said:
            message = _message(said)
            if said.kind != "ack" or message[:2] not in consumers:
                continue
            host, until = evidence.link(said.link).source, said.at
            missing: list[str] | None = None
            for handled in said_by.get(message, []):
                if evidence.host(handled.who) == host and handled.at <= until and handled.effects is not None:
                    missing = [one for one in handled.effects if not proof.has(host, one, None, handled.at, until)]
                    if not missing:
                        break
            else:
                out = handed_out.get(message, [])
                if not any(proof.has(host, one.identity, dead_letters, one.at, until) for one in out):
                    what = "the PubAck of a dead letter" if missing is None else f"the PubAck of {', '.join(missing)}"
                    yield until, f"{_text(_place(said))} was acked by {host} before {what} had come"

    return named(no_ack_precedes_its_effect_, "no_ack_precedes_its_effect")


def settled_once(evidence: Evidence) -> Iterator[Finding]:
    """A delivery is acked, naked or terminated: one of them; and each one is, where a router ended in order.

    That is judged for routes whose accounts were handed over as drained, and for deliveries that had come to the host
    over a link that lived until then. A word about another delivery of the same message, later, is one about this.
    """
    kinds: dict[tuple[str, _Place], dict[str, float]] = defaultdict(dict)
    last_word: dict[tuple[str, _Message], float] = {}
    for said in evidence.journal.settlements.said:
        host = evidence.link(said.link).source
        kinds[host, _place(said)].setdefault(said.kind, said.at)
        last_word[host, _message(said)] = said.at
    consumers = {one.consumer for one in evidence.journal.routes}
    handed_out = Counter(_place(one) for one in evidence.journal.handed_out)
    for (host, place), found in kinds.items():
        # A server that lost its power may count deliveries anew.
        if len(found) > 1 and place[:2] in consumers and handed_out[place] == 1:
            yield max(found.values()), f"{_text(place)} was settled by {host} in two ways: {', '.join(sorted(found))}"
    # Who ended in between has no say in what came later.
    began: dict[tuple[str, _Durable], float] = {}
    reached = _reached(evidence)
    for books in evidence.journal.routes:
        host, key = evidence.host(books.who), (evidence.host(books.who), books.consumer)
        since, began[key] = began.get(key, 0.0), books.at
        for at, ended_at, one in reached.get(key, []) if books.drained else []:
            lived = since < at <= books.at < ended_at
            if lived and last_word.get((host, _message(one)), 0.0) < at:
                yield books.at, f"{_text(_place(one))} came to {host} at {at:.6f} s and had no word when it ended"


def routes_balance(evidence: Evidence) -> Iterator[Finding]:
    """A route that ended has nothing in hand, and each message that it took has exactly one outcome."""
    for books in evidence.journal.routes:
        numbers = books.statistics
        ended = sum(numbers.outcomes.values())
        if numbers.pending or numbers.in_flight:
            text = f"{numbers.in_flight} in flight and {numbers.pending} pending"
            yield books.at, f"the route {books.route} of {books.who} has ended, and has {text}"
        if numbers.taken != numbers.pending + numbers.in_flight + ended:
            yield books.at, f"the route {books.route} of {books.who} took {numbers.taken}, and {ended} have an outcome"


def each_input_ends(stream: str, consumer: str, *, max_deliver: int, dead_letters: str = "") -> Law:
    """Each message comes at most `max_deliver` times, and something comes of it.

    It ends with all its effects stored, as a dead letter, or terminated where the route has no dead letters.

    Of a message that came `max_deliver` times, and was never settled by the last of them, only the server knows: it is
    a dead letter too, and without dead letters not judged.

    Args:
        stream: of the inputs.
        consumer: of the route.
        max_deliver: of the consumer.
        dead_letters: the stream of the dead letters; empty: the route has none.
    """

    def each_input_ends_(evidence: Evidence) -> Iterator[Finding]:
        journal = evidence.journal
        stored = _kept(evidence)
        here = [one for one in journal.handled if _of(one, stream, consumer)]
        wanted = {one.sequence: one for one in here if one.effects is not None}
        said = [one for one in journal.settlements.said if _of(one, stream, consumer)]
        terminated = {one.sequence for one in said if one.kind == "term"}
        done = {one.sequence for one in journal.acknowledged if _of(one, stream, consumer)}
        deliveries: dict[int, int] = defaultdict(int)
        for out in journal.handed_out:
            if _of(out, stream, consumer):
                if out.deliveries > max_deliver:
                    yield (
                        out.at,
                        f"{out.identity} was delivered {out.deliveries} times, at most {max_deliver} are allowed",
                    )
                deliveries[out.sequence] = max(deliveries[out.sequence], out.deliveries)
        for message in journal.stored:
            if message.stream != stream:
                continue
            lettered = bool(dead_letters) and (dead_letters, message.identity) in stored
            if message.sequence not in done:
                used_up = deliveries[message.sequence] >= max_deliver
                if not used_up or (dead_letters and not lettered):
                    text = f"{message.identity} was delivered {deliveries[message.sequence]} times to {consumer}"
                    yield evidence.ended_at, f"{text}, and has no end"
                continue
            accepted = wanted.get(message.sequence)
            effects = () if accepted is None else accepted.effects or ()
            fulfilled = accepted is not None and all(one in stored for one in effects)
            given_up = not dead_letters and message.sequence in terminated
            if not (fulfilled or lettered or given_up):
                yield evidence.ended_at, f"{message.identity} is acknowledged to {consumer}, and nothing came of it"

    return named(each_input_ends_, "each_input_ends")


def one_at_a_time(stream: str, consumer: str, key_of: Callable[[str], str | None]) -> Law:
    """Of one key a router handles messages one by one, and in their order, whatever it has to try again.

    What comes again from a router that ended before may come behind later ones.

    Args:
        stream: of the messages.
        consumer: of the route.
        key_of: identity of a message -> its key; None = not judged.
    """

    def one_at_a_time_(evidence: Evidence) -> Iterator[Finding]:
        turns: dict[tuple[str, str], list[Handled]] = defaultdict(list)
        for one in evidence.journal.handled:
            key = key_of(one.identity) if _of(one, stream, consumer) else None
            if key is not None:
                turns[one.who, key].append(one)
        for notes in turns.values():
            yield from _out_of_turn(sorted(notes, key=lambda note: (note.began_at, note.at)))

    return named(one_at_a_time_, "one_at_a_time")


def _out_of_turn(notes: list[Handled]) -> Iterator[Finding]:
    """Of one key and router, in the order in which they were begun."""
    seen: dict[int, None] = {}
    before: Handled | None = None
    for one in notes:
        if before is not None and one.began_at < before.at:
            yield one.began_at, f"{one.identity} was begun while {before.identity} of the same key was handled"
        if before is not None and one.sequence in seen and one.sequence != before.sequence:
            yield one.began_at, f"{one.identity} was tried again behind {before.identity} of the same key"
        if one.deliveries == 1 and one.sequence < max(seen, default=0):
            yield one.began_at, f"{one.identity} came for the first time, and was handled behind a later one of its key"
        seen[one.sequence] = None
        before = one


class _Proof:
    """When which PubAcks came to which host."""

    def __init__(self, evidence: Evidence) -> None:
        self._places: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for stored in evidence.journal.stored:
            self._places[stored.identity].append((stored.stream, stored.sequence))
        self._came: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for one in evidence.journal.settlements.pubacked:
            self._came[evidence.link(one.link).source, one.stream, one.sequence].append(one.at)

    def has(self, host: str, identity: str, streams: tuple[str, ...] | None, since: float, until: float) -> bool:
        """Whether one for this identity came to the host meanwhile, from one of the streams (None = from any)."""
        for stream, sequence in self._places.get(identity, []):
            if streams is None or stream in streams:
                times = self._came.get((host, stream, sequence), [])
                index = bisect_left(times, since)
                if index < len(times) and times[index] <= until:
                    return True
        return False


def _kept(evidence: Evidence) -> set[object]:
    """What the streams have: identities, and (stream, identity)."""
    kept: set[object] = set()
    for server in evidence.servers.values():
        for stream in server.streams:
            for message in stream.messages:
                identity = identity_of(message.header)
                if identity is not None:
                    kept |= {identity, (stream.name, identity)}
    return kept


def _reached(evidence: Evidence) -> dict[tuple[str, _Durable], list[tuple[float, float, HandedOut]]]:
    """(host, durable) -> deliveries that its client has read: when they were queued, until when their link lived."""
    queued: dict[str, list[Queued]] = defaultdict(list)
    for one in evidence.journal.queued:
        queued[one.identity].append(one)
    found: dict[tuple[str, _Durable], list[tuple[float, float, HandedOut]]] = defaultdict(list)
    for out in evidence.journal.handed_out:
        for one in queued[out.identity]:
            if not (out.is_in(one) and one.server == out.server and one.at >= out.at):
                continue
            link = evidence.link(one.link)
            if one.end <= link.received:
                ended_at = evidence.ended_at if link.ended_at is None else link.ended_at
                found[link.source, (out.stream, out.consumer)].append((one.at, ended_at, out))
            break
    return found


def _by_message(notes: Iterable[_Note]) -> dict[_Message, list[_Note]]:
    found: dict[_Message, list[_Note]] = defaultdict(list)
    for one in notes:
        found[_message(one)].append(one)
    return found


def _message(one: Said | Handled | HandedOut) -> _Message:
    return one.stream, one.consumer, one.sequence


def _place(one: Said | Handled | HandedOut) -> _Place:
    return one.stream, one.consumer, one.sequence, one.deliveries


def _of(one: object, stream: str, consumer: str) -> bool:
    return (getattr(one, "stream", ""), getattr(one, "consumer", "")) == (stream, consumer)


def _text(place: _Place) -> str:
    stream, consumer, sequence, deliveries = place
    return f"message {sequence} of {stream}, delivery {deliveries} to {consumer},"
