"""Acks on their way: sent with the link's own frames, kept over an outage, and known to have arrived by a PONG.

An ack subject is bound to no connection, and a second ack does no harm. So whatever no PONG has covered when the link
dies is sent again by the next one, until the ack wait of its message is over. A nak is not: its message may have been
given to somebody else by then. Every so many acks, and behind every nak, a PING goes out, so that little is uncovered.

Must not know consumers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ..connection import CALLS_PER_CHECK, ClientClosedError, Pace, State, Waiter
from ..protocol import ServerError, decode_subject
from ._errors import AcksPendingError
from ._metadata import ACK_PREFIX

if TYPE_CHECKING:
    from ._attachment import Attachment

ACKS_PER_PING: Final = 512

# An ack without a PONG behind it: its frame, until when it is worth sending (trio's time), and whether it is a nak.
Kept: TypeAlias = "tuple[bytes, float, bool]"
_SETTLED: Final[Kept] = (b"", -math.inf, False)


class Mark(Waiter):
    """A PING in the stream of frames, and what its PONG tells; nobody waits for it."""

    __slots__ = ("_then",)

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__(keepalive=True)
        self._then = then

    def succeed(self, value: object) -> None:
        """The PONG came."""
        self._then()


class AckBook:
    """The acks of one client; a follower of its connection.

    Attributes:
        free: how many acks may follow before the caller must look at cancellation.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._connection = attachment.client.connection
        self._outbox = self._connection.outbox
        self._counters = attachment.counters
        self._log = attachment.log
        self._limit = self._connection.options.acks_pending_max
        # Where the limit is small, a PING goes out before they fill it, or none would ever.
        self._per_ping = min(ACKS_PER_PING, max(self._limit // 2, 1))
        self._pace = Pace()
        self._sent: list[Kept] = []
        self._unmarked = 0
        self._kept: list[Kept] = []
        self.free = 0

    def pending(self, now: float) -> tuple[int, int]:
        """Acks that wait for a link, and those of them that have expired, which the next turn counts and logs.

        Changes nothing: a scrape asks, and may do so from another thread.
        """
        kept = tuple(self._kept)
        expired = sum(deadline <= now for _, deadline, _ in kept)
        return len(kept) - expired, expired

    @property
    def unconfirmed(self) -> int:
        """Acks that no PONG has covered, naks among them."""
        return len(self._sent) + len(self._kept)

    async def admit(self) -> None:
        """What comes before every ack: a look at cancellation where it is due, and room in the outbox.

        Raises:
            ClientClosedError: the client is closed.
            AcksPendingError: too many acks wait.
        """
        if self.free <= 0:
            await self._pace.check()
            self.free = CALLS_PER_CHECK
        self.free -= 1
        outbox = self._outbox
        while outbox.is_open and not outbox.try_room():
            await outbox.wait_room()
            outbox.pass_room_on()
        if self._connection.state is State.CLOSED:
            raise ClientClosedError("the client is closed; this message will be delivered again")
        if len(self._sent) + len(self._kept) >= self._limit:
            self._expire(trio.current_time())
        if len(self._sent) + len(self._kept) >= self._limit:
            self._counters.ack_failures["pending_full"] += 1
            raise AcksPendingError(
                f"{len(self._sent) + len(self._kept)} acks wait for the server's confirmation or for a connection, the "
                f"limit is {self._limit} (acks_pending_max); ack later, or let the message be delivered again"
            )

    def put(self, reply: bytes, body: bytes, deadline: float) -> None:
        """An ack or term: sent now, or kept for the next link."""
        frame = b"PUB %b %d\r\n%b\r\n" % (reply, len(body), body)
        kept = (frame, deadline, False)
        self._counters.acks += 1
        if not self._connection.link_is_up:
            self._kept.append(kept)
            return
        self._sent.append(kept)
        self._outbox.put_control(frame)
        self._unmarked += 1
        if self._unmarked >= self._per_ping:
            self._mark()

    def put_naks(self, replies: list[bytes], body: bytes, deadline: float) -> None:
        """Naks: sent now, or dropped, told and counted, since there is no link."""
        self._counters.naks += len(replies)
        if not self._connection.link_is_up:
            self._drop_naks(replies, "disconnected")
            return
        for reply in replies:
            frame = b"PUB %b %d\r\n%b\r\n" % (reply, len(body), body)
            self._sent.append((frame, deadline, True))
            self._outbox.put_control(frame)
        self._unmarked += len(replies)
        self._mark()

    def put_progress(self, reply: bytes) -> bool:
        """An extension of the ack wait; False: without a link it is too late for one."""
        if not self._connection.link_is_up:
            return False
        self._counters.in_progress += 1
        self._outbox.put_control(b"PUB %b 4\r\n+WPI\r\n" % reply)
        return True

    def _mark(self) -> None:
        count, self._unmarked = self._unmarked, 0
        sent = self._sent

        def arrived() -> None:
            del sent[:count]

        self._outbox.put(b"", Mark(arrived))

    # A follower of the connection

    def link_up(self) -> list[bytes]:
        """What was kept goes first."""
        self._expire(trio.current_time())
        self._sent = self._kept
        self._kept = []
        self._unmarked = len(self._sent)
        self._counters.acks_resent += len(self._sent)
        return [frame for frame, _, _ in self._sent]

    def link_down(self) -> None:
        """What no PONG has covered is kept for the next link; naks are dropped."""
        now = self._connection.lost_since
        sent, self._sent, self._unmarked = self._sent, [], 0
        naks = [_subject_of(frame) for frame, _, is_nak in sent if is_nak]
        self._kept = [kept for kept in sent if not kept[2] and kept[1] > now]
        if naks:
            self._drop_naks(naks, "disconnected")

    def publish_refused(self, error: ServerError, subject: bytes) -> bool:
        """The server refuses the ack subject: its message will come again."""
        if not subject.startswith(ACK_PREFIX):
            return False
        is_nak = False
        for index, (frame, _, nak) in enumerate(self._sent):
            if frame and _subject_of(frame) == subject:
                self._sent[index] = _SETTLED
                is_nak = nak
        if is_nak:
            self._drop_naks([subject], "permission")
        else:
            self._fail_acks(1, "permission", subject)
        return True

    def given_up(self, frame: bytes, error: Callable[[], Exception]) -> None:
        """Acks are no publishes: none of them waits in the queue."""

    def handed_over(self, frame: bytes, place: int) -> None:
        """None of them has waited in the queue."""

    def closed(self) -> None:
        """The client is closed: what was kept was not sent."""
        self._expire(trio.current_time())
        kept, self._kept = self._kept, []
        self._fail_acks(len(kept), "closed", _subject_of(kept[0][0]) if kept else b"")

    def _expire(self, now: float) -> None:
        expired = [frame for frame, deadline, _ in self._kept if deadline <= now]
        if expired:
            self._kept = [kept for kept in self._kept if kept[1] > now]
            self._fail_acks(len(expired), "expired", _subject_of(expired[0]))

    def _fail_acks(self, count: int, reason: str, subject: bytes) -> None:
        if count:
            self._counters.ack_failures[reason] += count
            self._counters.redeliveries["ack_error"] += count
            about = decode_subject(subject)
            self._log(logging.WARNING, "NATS_ACK_ERROR", subject=about, count=count, reason=reason)

    def _drop_naks(self, replies: list[bytes], reason: str) -> None:
        count = len(replies)
        self._counters.nak_failures[reason] += count
        self._counters.redeliveries["nats_disconnect" if reason == "disconnected" else "nak_error"] += count
        about = decode_subject(replies[0])
        self._log(logging.WARNING, "NATS_NAK_ERROR", subject=about, count=count, reason=reason)


def _subject_of(frame: bytes) -> bytes:
    return frame.split(b" ", 2)[1]
