"""A continuous pull (ADR-37): messages as they come, with so many asked for ahead, over outages and changes of leaders.

At any time at most `max_messages` are asked for and not yet taken by the user; when so many are taken that the rest is
at the threshold, the difference is asked for. Time is watched by the task that waits for a message: while messages
wait for the user nothing is missing. Without a link nothing is timed; the next link begins with a pull.

Warnings end nothing: a pull that is over is followed by another, after a pause where the reason may last. Only a
consumer that is gone, or a pull that the server will never take, ends it.

Must not hold a task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

import trio

from ..client import living
from ..connection import CALLS_PER_CHECK, NEVER, ClientClosedError, Pace, Waiter
from ..protocol import NatsError, ServerError, frozen
from ._errors import ConsumerDeletedError
from ._message import JetStreamMessage
from ._pull_account import PullAccount
from ._pull_inbox import PullInbox
from ._pull_requests import PullRequest
from ._source import Source
from ._statuses import Status, Verdict

PAUSE_SECONDS: Final = 0.25
PAUSE_SECONDS_MAX: Final = 5.0
GRACE_SECONDS: Final = 1.0
RECEIVERS_UNCHECKED: Final = 16


@frozen(kw_only=True)
class SessionPlan:
    """What was asked of a session; see `Consumer.messages`."""

    max_messages: int
    threshold: int
    expires_seconds: float
    heartbeat_seconds: float


class Messages(PullInbox):
    """What `Consumer.messages` returns: `async with` it, then `async for`; or `receive` one by one.

    Left, it gives back what was not taken: those messages are delivered again at once. It ends cleanly when the client
    drains, with what has come by then.
    """

    def __init__(self, source: Source, target: bytes, plan: SessionPlan, revive: Callable[[], Awaitable[None]]) -> None:
        super().__init__(source)
        self._target = target
        self._plan = plan
        self._threshold = plan.threshold
        self._revive = revive
        self._account = PullAccount()
        self._waiters: list[Waiter] = []
        self._error: Exception | None = None
        self._ended = False
        self._draining = False
        self._doubtful = False
        self._reviving = False
        self._asked = False
        self._failures = 0
        self._resume_at = NEVER
        self._free = 0
        self._pace = Pace()
        self._consumer: trio.lowlevel.Task | None = None
        # Who may have a message in hand, and how many these may be before the dead among them are taken out.
        self._receivers: dict[trio.lowlevel.Task, None] = {}
        self._receivers_max = RECEIVERS_UNCHECKED

    async def __aenter__(self) -> Messages:
        await trio.lowlevel.checkpoint()
        if self._interest is not None:
            raise RuntimeError("a session is entered once; make another with Consumer.messages()")
        self._open()
        self._connection.followers.append(self)
        self._client.register(self)
        self._refill()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> JetStreamMessage:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> JetStreamMessage:
        """The next message. An amortised checkpoint while messages are pending; cancelled, none is lost.

        Raises:
            trio.EndOfChannel: the client drains, and all that came was received.
            ConsumerDeletedError: the consumer is gone.
            PullRefusedError: the server will not take these pulls.
            PermissionsError: the server refuses the pull or its inbox.
            ClientClosedError: the client was closed.
            trio.ClosedResourceError: it was left.
        """
        if self._free <= 0 or not self.pending:
            await self._wait_pending()
        self._free -= 1
        message = self.pending.popleft()
        if len(self.pending) + self._account.expected <= self._threshold:
            self._refill()
        return message

    def extend(self, older_than_seconds: float) -> int:
        """Begin the ack wait anew of what waits to be received for so long; returns of how many. No checkpoint."""
        return sum([message.extend(older_than_seconds) for message in self.pending])

    def close(self) -> None:
        """Leave it at once: what was not taken is given back. A waiting receiver gets ClosedResourceError."""
        self._end(trio.ClosedResourceError("the session was left"))
        self._client.unregister(self)
        if self in self._connection.followers:
            self._connection.followers.remove(self)
        self._leave()

    # Waiting

    async def _wait_pending(self) -> None:
        if self._interest is None:
            raise RuntimeError("enter the session first: async with consumer.messages() as messages")
        self._consumer = task = trio.lowlevel.current_task()
        self._note_receiver(task)
        if self.pending:
            await self._pass_turns()
        while not self.pending:
            if self._ended:
                del self._receivers[task]
                self._client.drainer.look_again()
                await trio.lowlevel.checkpoint()
                raise self._error.with_traceback(None) if self._error is not None else trio.EndOfChannel
            if self._doubtful and not self._reviving:
                await self._settle_doubt()
                continue
            waiter = Waiter(on_cancel=self._waiters.remove)
            self._waiters.append(waiter)
            with trio.CancelScope(deadline=self._next_look()):
                await waiter.wait()
            self._pace.yielded()
            self._look(trio.current_time())
        self._failures = 0
        self._free = CALLS_PER_CHECK

    async def _pass_turns(self) -> None:
        """Let others run when it is time; behind a pull at once, or the server would idle until the rest is done."""
        if not self._asked:
            await self._pace.check()
            return
        self._asked = False
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()  # of those that run in a pass the writer may be the last
        self._pace.yielded()

    def _note_receiver(self, task: trio.lowlevel.Task) -> None:
        """It takes messages until it is told of the end, or dies."""
        if task not in self._receivers and len(self._receivers) >= self._receivers_max:
            self._receivers = {one: None for one in self._receivers if living(one) is not None}
            self._receivers_max = 2 * len(self._receivers) + RECEIVERS_UNCHECKED
        self._receivers[task] = None

    def _next_look(self) -> float:
        """When something has to be done if nothing comes."""
        if not self._connection.link_is_up:
            return NEVER
        times = [self._resume_at]
        if self._account:
            times.append(self._active_at + 2 * self._plan.heartbeat_seconds)
            times.append(self._account.next_deadline)
        return min(times)

    def _look(self, now: float) -> None:
        """Do what is due."""
        if not self._connection.link_is_up:
            return
        if self._account and now >= self._active_at + 2 * self._plan.heartbeat_seconds:
            self._counters.heartbeats_missed += 1
            self._warn("no heartbeat")
            self._account.forget()
            self._refill()
        while self._account.close_overdue(now):
            self._warn("no end of a pull")
            self._refill()
        if now >= self._resume_at:
            self._resume_at = NEVER
            self._refill()

    async def _settle_doubt(self) -> None:
        """Nobody answers pulls: the consumer is there, or is made again, or is gone."""
        self._reviving = True  # one task asks, the others wait
        try:
            await self._revive()
        except ConsumerDeletedError as error:
            self._end(error)
            return
        except NatsError as error:
            if self._ended:
                return
            self._warn(str(error))
            await trio.sleep(self._next_pause())
            return
        finally:
            self._reviving = False
            self._wake_all()
        self._doubtful = False
        self._pause()

    # Pulling

    def _refill(self) -> None:
        """Ask for what is missing up to `max_messages`, where that can be done now."""
        idle = self._ended or self._draining or self._doubtful or self._resume_at != NEVER
        if idle or not self._connection.link_is_up:
            return
        if len(self.pending) + self._account.expected <= self._threshold:
            self._connection.outbox.put_control(self._next_frame())
            self._asked = True
            self._free = 0

    def _next_frame(self) -> bytes:
        plan = self._plan
        batch = plan.max_messages - len(self.pending) - self._account.expected
        request = PullRequest(batch, plan.expires_seconds, plan.heartbeat_seconds)
        frame, number = self._pull_frame(self._target, request.body())
        now = self._active_at = trio.current_time()
        lasts = plan.expires_seconds + max(plan.heartbeat_seconds, GRACE_SECONDS)
        self._account.add(number, batch, now + lasts)
        return frame

    def _next_pause(self) -> float:
        pause = min(PAUSE_SECONDS * 2.0**self._failures, PAUSE_SECONDS_MAX)
        self._failures = min(self._failures + 1, 16)
        return pause

    def _pause(self) -> None:
        """Pull again a little later, the more so the oftener it failed."""
        self._resume_at = trio.current_time() + self._next_pause()

    # What the inbox tells

    def _on_message(self) -> None:
        self._account.count_one()
        if self._waiters:
            self._waiters.pop(0).succeed(None)

    def _on_skipped(self) -> None:
        self._account.count_one()
        self._refill()

    def _on_status(self, number: bytes, status: Status) -> None:
        if status.verdict is Verdict.ALIVE:
            return
        if status.verdict is Verdict.FAILED:
            self._on_failed(status)
            return
        if not self._account.knows(number):
            return
        self._account.close(number, status.pending_messages)
        if status.verdict is Verdict.ENDED:
            self._refill()
            return
        self._warn(f"{status.code} {status.description}")
        if status.verdict is Verdict.DOUBT:
            self._doubtful = True
        else:
            self._pause()
        self._wake_all()

    def _on_failed(self, status: Status) -> None:
        if isinstance(status.error, ConsumerDeletedError):  # it may be made again
            self._account.forget()
            self._doubtful = True
            self._wake_all()
        elif status.error is not None:
            self._end(status.error)

    def _fail(self, error: Exception) -> None:
        self._end(error)

    def _warn(self, reason: str) -> None:
        self._source.warn(self._target, reason)

    # A follower of the connection

    def link_up(self) -> list[bytes]:
        """The new link begins with a pull."""
        self._account.forget()
        self._resume_at = NEVER
        self._wake_all()
        if self._ended or self._draining or self._doubtful or len(self.pending) > self._threshold:
            return []
        return [self._next_frame()]

    def link_down(self) -> None:
        """The pulls died with their link, and so did their clocks."""
        self._account.forget()
        self._resume_at = NEVER
        self._wake_all()

    def publish_refused(self, error: ServerError, subject: bytes) -> bool:
        """The server refuses pulls."""
        if subject != self._target:
            return False
        self._end(error)
        return True

    def closed(self) -> None:
        """The client is closed."""
        self._end(ClientClosedError("the client was closed; what was not received will be delivered again"))

    # A drainable of the client

    @property
    def pending_messages(self) -> int:
        """Messages that wait to be received."""
        return len(self.pending)

    @property
    def exhausted(self) -> bool:
        """Whether it has ended, and whoever received has come back for more, and so has no message in hand."""
        return self._ended and not self.pending and not any(map(living, self._receivers))

    @property
    def consumer(self) -> trio.lowlevel.Task | None:
        """The task that received last, or another that may have a message in hand, while it lives."""
        if self._consumer in self._receivers and living(self._consumer) is not None:
            return self._consumer
        return next(filter(living, self._receivers), None)

    async def drain(self) -> None:
        """Ask for nothing more, wait for what the server has sent, and let the receiver read to the end.

        Raises:
            NatsError: what `Client.flush` raises; it ends all the same.
        """
        interest, connection = self._interest, self._connection
        try:
            if interest is not None and connection.link_is_up:
                connection.unsubscribe(interest, keep_route=True)
                self._draining = True
                await self._client.flush()
            else:
                await trio.lowlevel.checkpoint()
        finally:
            self.end()

    def end(self) -> None:
        """Nothing more comes; what is pending can be received, and then it ends cleanly."""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._error = error
        self._free = 0
        self._wake_all()

    def _wake_all(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.succeed(None)
