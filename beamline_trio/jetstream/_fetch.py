"""One fetch: a pull and what comes of it, until the batch is full, the server says that it is over, or time is up.

A link that is lost under it, a server that falls silent, a leader that changes: what is left is pulled again in the
time that is left. Left early, by cancellation or error, it gives back what it has.

Must not outlive its call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ..connection import NEVER, ClientClosedError, ConnectionLostError, State, Waiter
from ..protocol import NatsError, ServerError
from ._message import JetStreamMessage
from ._pull_inbox import PullInbox
from ._pull_requests import PullRequest, heartbeat_of
from ._source import Source
from ._statuses import Status, Verdict

GRACE_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.25


class Fetch(PullInbox):
    """A fetch under way.

    Args:
        source: the consumer's.
        target: where pulls go.
        request: what is asked for.
        patience: how long a request that the server should answer at once may take.
    """

    def __init__(self, source: Source, target: bytes, request: PullRequest, patience: float | None) -> None:
        super().__init__(source)
        self._target = target
        self._request = request
        self._missing = request.batch
        self._number = b""
        self._over = False
        self._doubtful = False
        self._error: Exception | None = None
        self._waiter: Waiter | None = None
        lasts = request.expires_seconds if request.expires_seconds else patience
        self._end = trio.current_time() + (lasts + GRACE_SECONDS if lasts is not None else NEVER)
        self._silence = 2 * request.heartbeat_seconds
        self._resume_at = NEVER

    async def run(self, is_there: Callable[[], Awaitable[object]]) -> list[JetStreamMessage]:
        """Fetch. `is_there` is awaited when nobody answers the pull; it raises if the consumer is gone.

        Raises:
            JetStreamError: the server refuses the pull, and nothing had come.
            ClientClosedError: the client is closed, or drains.
            ConnectionLostError: the state is `exhausted`.
        """
        connection = self._connection
        try:
            connection.check_open()
            if self._client.drainer.requested:
                raise _drained()
            if connection.state is State.EXHAUSTED:
                raise ConnectionLostError("all reconnect attempts are spent", sent="no")
        except NatsError:
            await trio.lowlevel.checkpoint()
            raise
        self._open()
        connection.followers.append(self)
        self._client.register(self)
        try:
            if connection.link_is_up:
                connection.outbox.put_control(self._next_frame())
            while not self._over:
                await self._wait()
                if self._doubtful and not self._over:
                    self._doubtful = False
                    await is_there()
            if self._error is not None and not self.pending:
                raise self._error
            most = min(len(self.pending), self._request.batch)
            return [self.pending.popleft() for _ in range(most)]
        finally:
            connection.followers.remove(self)
            self._client.unregister(self)
            # A second pull that was made because the server fell silent may give more than is missing.
            self._leave(complete=self._missing <= 0 and self._pulls_made == 1)

    async def _wait(self) -> None:
        """Until something has changed, or it is time to look; then look."""
        self._waiter = Waiter()
        with trio.CancelScope(deadline=self._next_look()):
            await self._waiter.wait()
        self._waiter = None
        now = trio.current_time()
        if now >= self._end:
            self._over = True
        elif now >= self._resume_at or self._is_silent(now):
            self._counters.heartbeats_missed += now < self._resume_at
            self._pull_again()

    def _next_look(self) -> float:
        if not self._connection.link_is_up:
            return self._end
        alive_until = self._active_at + self._silence if self._silence else self._end
        return min(self._end, self._resume_at, alive_until)

    def _is_silent(self, now: float) -> bool:
        return bool(self._silence) and self._connection.link_is_up and now >= self._active_at + self._silence

    def _pull_again(self) -> None:
        if self._connection.link_is_up and not self._is_full():
            self._connection.outbox.put_control(self._next_frame())

    def _next_frame(self) -> bytes:
        """The pull for what is missing, in the time that is left."""
        now = self._active_at = trio.current_time()
        self._resume_at = NEVER
        expires = self._request.expires_seconds
        if self._number and expires:
            expires = max(self._end - GRACE_SECONDS - now, 0.01)
        heartbeat = heartbeat_of(expires)
        request = PullRequest(self._missing, expires, heartbeat, self._bytes_left())
        frame, self._number = self._pull_frame(self._target, request.body())
        return frame

    def _bytes_left(self) -> int | None:
        """How many bytes may still come, counted as the server does; None: any number."""
        if self._request.max_bytes is None:
            return None
        return self._request.max_bytes - sum(
            len(message.subject_bytes) + len(message.reply_bytes or b"") + message.size for message in self.pending
        )

    def _is_full(self) -> bool:
        """Whether there is nothing more to pull; it is over then."""
        left = self._bytes_left()
        if left is not None and left <= 0:
            self._over = True
            self._wake()
        return self._over

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.succeed(None)

    # What the inbox tells

    def _on_message(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._over = True
            self._wake()

    _on_skipped = _on_message

    def _on_status(self, number: bytes, status: Status) -> None:
        if number != self._number or status.verdict is Verdict.ALIVE:
            return
        if status.verdict is Verdict.AGAIN or status.verdict is Verdict.DOUBT:
            self._doubtful = status.verdict is Verdict.DOUBT
            self._resume_at = trio.current_time() + PAUSE_SECONDS
            self._over = not self._request.expires_seconds and not self._doubtful
        else:
            self._error = status.error
            self._over = True
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._over = True
        self._wake()

    # A follower of the connection

    def link_up(self) -> list[bytes]:
        """What is missing is pulled by the new link."""
        return [] if self._is_full() else [self._next_frame()]

    def link_down(self) -> None:
        """The pull died with its link; time goes on, and the heartbeats of the next link begin anew."""
        self._resume_at = NEVER

    def publish_refused(self, error: ServerError, subject: bytes) -> bool:
        """The server refuses the pull."""
        if subject != self._target:
            return False
        self._fail(error)
        return True

    def closed(self) -> None:
        """The client is closed."""
        self._fail(ClientClosedError("the client was closed; what was being fetched will be delivered again"))

    # A drainable of the client

    @property
    def pending_messages(self) -> int:
        """Messages that came for it."""
        return len(self.pending)

    @property
    def exhausted(self) -> bool:
        """A drain ends it at once, and waits for nobody."""
        return True

    @property
    def consumer(self) -> None:
        """Nobody is waited for."""
        return None

    async def drain(self) -> None:
        """Give back what has come, and what still comes: whoever fetches could not ack it any more."""
        await trio.lowlevel.checkpoint()
        self.end()

    def end(self) -> None:
        """It has nothing to wait for."""
        self._fail(_drained())
        self._leave()


def _drained() -> ClientClosedError:
    return ClientClosedError("the client drains; what had come for the fetch was given back, to be delivered again")
