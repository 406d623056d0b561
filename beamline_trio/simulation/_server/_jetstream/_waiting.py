"""Those who wait at a consumer for messages: taken in or refused, told how it stands, and let go when it is over.

Must not know messages: `_consumer` hands them out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from . import _headers as headers
from ._consumer_config import ConsumerConfig
from ._consumer_state import ConsumerState
from ._golang import SECOND, GoError, duration
from ._pulls import PullQueue, PullRequest

if TYPE_CHECKING:
    from .._surroundings import Timer
    from ._service import JetStream

_FULL_CHECK: Final = SECOND


class Waiting:
    """The requests that wait at one consumer.

    Args:
        jetstream: sends and counts time.
        config: of the consumer; `max_waiting` of them may wait.
        state: its books, for heartbeats.

    Attributes:
        used_at: when it was last asked for messages, or gave one.
    """

    def __init__(self, jetstream: JetStream, config: ConsumerConfig, state: ConsumerState) -> None:
        self._jetstream = jetstream
        self._state = state
        self._queue = PullQueue(config.max_waiting)
        self._timer: Timer | None = None
        self._checked_at = 0
        self.used_at = jetstream.now()

    def __len__(self) -> int:
        return len(self._queue)

    def take(self, reply: bytes, body: bytes, config: ConsumerConfig, available: Callable[[], int]) -> bool:
        """Somebody asks for messages; False when that is over already, and he was told so.

        Args:
            reply: where they are to go.
            body: the request.
            config: of the consumer.
            available: how many there are.
        """
        now = self._jetstream.now()
        try:
            request = PullRequest(reply, body, now)
        except GoError as error:
            self.tell(reply, 400, f"Bad Request - {error}")
            return False
        excess = _excess(request, config, now)
        if excess is not None:
            self.tell(reply, 409, excess)
            return False
        if self._queue.full and now - self._checked_at > _FULL_CHECK:
            self.check(end_of_stream=False)
        if request.no_wait and self._refuses_to_wait(request, available()):
            return False
        if self._queue.full:
            if not request.heartbeat:
                self.tell(reply, 409, "Exceeded MaxWaiting")
            return False
        self._queue.add(request)
        self.used_at = now
        return True

    def next(self, size: int) -> PullRequest | None:
        """The request that a message of this size goes to; those that cannot have it end."""
        now = self._jetstream.now()
        while (request := self._queue.peek()) is not None:
            if request.expires and now >= request.expires:
                self.tell(request.reply, 408, "Request Timeout", **request.pending)
            elif 0 < request.bytes_left < size:
                self.tell(request.reply, 409, "Message Size Exceeds MaxBytes", **request.pending)
            else:
                if request.bytes_left > 0:
                    request.bytes_left -= size
                    if not request.bytes_left:
                        request.left = 1
                if self._jetstream.is_wanted(request.reply):
                    self._queue.use(request)
                    if request.heartbeat:
                        request.heartbeat_due = now + request.heartbeat
                    return request
            self._queue.remove(request)
        return None

    def served(self, request: PullRequest) -> None:
        """A request has been given a message: say so if it was the last one, and there was room for more bytes."""
        if request.left <= 0 and request.bytes_left > 0:
            self.tell(request.reply, 409, "Batch Completed", **request.pending)

    def check(self, *, end_of_stream: bool) -> int:
        """End what is over, send heartbeats, set the timer; how many messages are asked for."""
        now = self._checked_at = self._jetstream.now()
        asked, due = 0, 0
        for request in self._queue:
            if self._is_over(request, now, end_of_stream=end_of_stream):
                self._queue.remove(request)
                continue
            asked += request.left
            if request.heartbeat_due and now >= request.heartbeat_due:
                self._send_heartbeat(request.reply)
                request.heartbeat_due = now + request.heartbeat
            for moment in (request.heartbeat_due, request.expires):
                if moment and (not due or moment < due):
                    due = moment
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._jetstream.call_at(due, self._overdue) if due else None
        return asked

    def close(self, status: tuple[int, str] | None, *, counts: bool) -> None:
        """The consumer ends.

        Args:
            status: what those who wait are told.
            counts: and what they did not get.
        """
        if self._timer is not None:
            self._timer.cancel()
        if status is not None:
            for request in self._queue:
                self.tell(request.reply, *status, **(request.pending if counts else {}))

    def tell(self, to: bytes, status: int, text: str, **fields: object) -> None:
        """Send a status."""
        self._jetstream.send(to, b"", header=headers.block(status, text, **fields))

    def _refuses_to_wait(self, request: PullRequest, available: int) -> bool:
        if not available:
            if request.expires:
                return False
            self.used_at = self._jetstream.now()
            self.tell(request.reply, 404, "No Messages")
            return True
        if available < self.check(end_of_stream=False):
            self.used_at = self._jetstream.now()
            self.tell(request.reply, 408, "Requests Pending")
            return True
        return False

    def _is_over(self, request: PullRequest, now: int, *, end_of_stream: bool) -> bool:
        if request.expires and now >= request.expires:
            self.tell(request.reply, 408, "Request Timeout", **request.pending)
            return True
        if end_of_stream and request.no_wait and (not request.expires or request.given):
            self.tell(request.reply, 404, "No Messages")
            return True
        return not self._jetstream.is_wanted(request.reply)

    def _overdue(self) -> None:
        self._timer = None
        self.check(end_of_stream=True)

    def _send_heartbeat(self, reply: bytes) -> None:
        last, number = self._state.next_stream - 1, self._state.next_consumer - 1
        self.tell(reply, 100, "Idle Heartbeat", Nats_Last_Consumer=number, Nats_Last_Stream=last)


def _excess(request: PullRequest, config: ConsumerConfig, now: int) -> str | None:
    if 0 < config.max_batch < request.left:
        return f"Exceeded MaxRequestBatch of {config.max_batch}"
    if request.expires and config.max_expires and request.expires > now + config.max_expires:
        return f"Exceeded MaxRequestExpires of {duration(config.max_expires)}"
    if 0 < config.max_bytes < request.bytes_left:
        return f"Exceeded MaxRequestMaxBytes of {config.max_bytes}"
    return None
