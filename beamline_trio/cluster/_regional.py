"""Publishing to a region: home while it can be reached, else waiting or kept locally, and home again in order.

What belongs together (a key, by default the subject) is one after the other in a lane, from the call to its PubAck.
Without a local stream who comes while the region is away waits in its lane, one of all finds out when it answers, and
then every lane goes on with its first. With one, publishes go there once the region has been away for its time, and
stay there until everything that was kept has gone home: so nothing overtakes. That it comes to an end is `_closing`'s.

Must not decide what is sent twice (`_home`), and must not look at the cluster itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable
from typing import Final, Literal

import trio

from ..connection import OperationTimeoutError, OptionsError, PendingTimeoutError, State
from ..jetstream import JetStream, JetStreamMessage, PubAck, is_retryable
from ..protocol import Headers, HeadersInput, NatsError, check_number, frozen
from ._closing import Room
from ._doubts import Doubts
from ._events import RegionLeft, RegionReturned
from ._home import MESSAGE_ID, HomeMessage, HomeStream
from ._kept import Kept, rounds
from ._lanes import Lanes, check_key
from ._reach import Reach
from ._region_options import Home, Place
from ._region_statistics import RegionStatistics
from ._watch import ClusterWatch

_DRAIN_PAUSE_SECONDS: Final = 0.1


@frozen
class RegionAck:
    """A message of a region is stored.

    Attributes:
        place: `home`, or `local`: it is kept, and goes home by itself.
        ack: the PubAck of the stream that has it.
    """

    place: Place
    ack: PubAck


class RegionPublisher:
    """Publishes to the stream of one region, from any: `ack = await publisher.publish("west.orders.7", b"...")`.

    With a local stream it has something to do by itself, and runs: `await nursery.start(publisher.run)`.

    Args:
        jetstream: of a client in the own region.
        home: where the messages are at home.
        watch: whose word that the region is cut off is taken at once, unless home itself answers; without one failed
            attempts tell.

    Attributes:
        home: it.
        client: of the JetStream.

    Raises:
        OptionsError: the client fails open, and so would say of a publish that failed nothing that could be acted on.
    """

    def __init__(self, jetstream: JetStream, home: Home, *, watch: ClusterWatch | None = None) -> None:
        if jetstream.client.connection.options.fail_open:
            raise OptionsError(
                f"the client of the publisher of region {home.region!r} has fail_open, which skips what cannot be "
                "sent; this publisher waits or keeps it: give it a client without fail_open"
            )
        self.home = home
        self.client = jetstream.client
        self._watch = watch
        self._stream = HomeStream(jetstream, home)
        self._kept = None if home.local is None else Kept(jetstream, home, home.local)
        self._lanes = Lanes(home.region, home.waiting_messages_max, home.waiting_bytes_max)
        self._reach = Reach(home.pause_seconds, home.pause_max_seconds, self._is_cut, self._stream.ask, self._tell)
        self._draining = False
        self._wanted = trio.Event()
        self._running = False
        self._keeps = False  # whether the local stream is there to publish to
        self._room = Room()
        self._trouble = ""
        self._left_at: float | None = None
        self._doubts = Doubts(home.waiting_messages_max)
        self._home = self._local = self._drained = self._failures = 0

    @property
    def away(self) -> bool:
        """Whether publishes wait or are kept, just now."""
        return self._draining or self._reach.away_since is not None

    def statistics(self) -> RegionStatistics:
        """What it has counted by now."""
        return RegionStatistics(
            home=self._home,
            local=self._local,
            drained=self._drained,
            failures=self._failures,
            found=self._stream.found,
            unchecked=self._stream.unchecked,
            forgotten=self._doubts.forgotten,
            refused=self._lanes.refused,
            waiting=self._lanes.messages,
            kept=0 if self._kept is None else self._kept.count,
        )

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        headers: HeadersInput | None = None,
        message_id: str | None = None,
        key: Hashable = None,
        patience_seconds: float | None = None,
    ) -> RegionAck:
        """Publish a message and wait until its home, or the local stream, has stored it.

        Of one key messages are stored at home in the order of the calls. Cancelled while it waits it is withdrawn; in
        an attempt its fate is unknown: publish it again under the same id. This publisher remembers it, as one
        of at most `waiting_messages_max`, and looks it up where that is needed.

        Args:
            subject: without wildcards, of the home stream.
            payload: bytes, bytearray or memoryview; copied.
            headers: names and values; a value may be a list.
            message_id: under which it is stored once; None = a new one.
            key: of what belongs together; None = the subject.
            patience_seconds: instead of `waiting_timeout_seconds`.

        Raises:
            PendingFullError: `waiting_messages_max` or `waiting_bytes_max` wait.
            PendingTimeoutError: it has waited for its time; nothing was stored.
            OperationTimeoutError: the same, but an attempt may have stored it.
            RuntimeError: it has a local stream and does not run.
            TypeError, ValueError, InvalidSubjectError, InvalidHeaderError, PayloadTooLargeError: nothing was sent.
            NatsError: what `JetStream.publish` raises and no further attempt would mend.
        """
        if self._kept is not None and not self._keeps:
            await trio.lowlevel.checkpoint()
            raise RuntimeError(f"the publisher of {self.home.region!r} has a local stream: start its run() first")
        try:
            check_number("patience_seconds", patience_seconds, least=0)
            key = subject if key is None else key
            check_key(key)
            message, size = self._message(subject, payload, headers, message_id)
        except Exception:
            await trio.lowlevel.checkpoint()
            raise
        waits = self.home.waiting_timeout_seconds if patience_seconds is None else patience_seconds
        with trio.move_on_after(math.inf if waits is None else waits):
            try:
                return await self._in_turn(message, size, key)
            except BaseException:
                self._doubts.note(message.message_id, message.unknown_since)
                raise
        words = f"the publish to {subject!r} has waited for region {self.home.region!r} for {waits:g} s"
        if message.unknown_since is not None:
            raise OperationTimeoutError(f"{words} (waiting_timeout_seconds, or its own); an attempt may have stored it")
        raise PendingTimeoutError(f"{words} (waiting_timeout_seconds, or its own); nothing was stored")

    def _message(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        headers: HeadersInput | None,
        message_id: str | None,
    ) -> tuple[HomeMessage, int]:
        own = None if headers is None else Headers(headers)
        if own is not None and MESSAGE_ID in own:
            message_id = message_id if message_id is not None else own.get(MESSAGE_ID)
            del own[MESSAGE_ID]
        if message_id is None:
            message_id = self.client.connection.environment.new_identifier()
        size = self._stream.check(subject, payload, own, message_id)
        message = HomeMessage(
            subject=subject,
            payload=bytes(payload),
            headers=own,
            message_id=message_id,
            unknown_since=self._doubts.take(message_id),
        )
        return message, size

    async def _in_turn(self, message: HomeMessage, size: int, key: Hashable) -> RegionAck:
        turn = await self._lanes.enter(key, size)
        try:
            return await self._store(message, key)
        finally:
            self._lanes.leave(turn)

    async def _store(self, message: HomeMessage, key: Hashable) -> RegionAck:
        """At home, or in the local stream."""
        while True:
            if not self._is_kept_now():
                with trio.move_on_at(self._kept_at()):
                    ack = await self._attempt(message)
                    if ack is not None:
                        self._home += 1
                        return RegionAck("home", ack)
            elif self._room.there_is:
                return await self._keep(message, key)
            else:
                await self._room.wait()

    async def _attempt(self, message: HomeMessage) -> PubAck | None:
        """Once it is permitted; None when it failed and another attempt may end better, or when it is to be kept."""
        if self._reach.look():
            return None  # what was decided before is to be decided anew
        trying = await self._reach.permit()
        if self._is_kept_now():
            self._reach.withdraw(trying)
            return None
        try:
            ack = await self._stream.publish(message)
        except (NatsError, trio.TooSlowError) as error:
            if self.client.state is State.CLOSED:
                self._reach.shut()
            if not is_retryable(error):
                self._reach.withdraw(trying)
                raise
            self._failures += 1
            self._reach.settle(trying, str(error))
            return None
        except BaseException:
            self._reach.withdraw(trying)
            raise
        self._reach.settle(trying, None)
        return ack

    # The local stream

    def _is_kept_now(self) -> bool:
        """Whether a publish goes to the local stream: it is being drained, or the region has been away for its time."""
        if self._kept is None:
            return False
        return self._draining or self._reach.cut or trio.current_time() >= self._kept_at()

    def _kept_at(self) -> float:
        """When publishes begin to go to the local stream, if the region does not answer until then."""
        since, local = self._reach.away_since, self.home.local
        if local is None:
            return math.inf
        return math.inf if since is None else since + local.after_seconds

    async def _keep(self, message: HomeMessage, key: Hashable) -> RegionAck:
        assert self._kept is not None
        self._begin_to_drain()
        self._room.take()
        began = trio.current_time()
        try:
            ack = await self._kept.store(message, key)
        except BaseException:  # it may be kept, and go home
            if message.unknown_since is None:
                message.unknown_since = began
            raise
        self._local += 1
        return RegionAck("local", ack)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take home what the local stream keeps, from before too, whenever it can; without one there is nothing to do.

        Started when the local stream is there. Returns when the client is closed. Cancelled, what is kept stays kept,
        and goes home when a publisher with the same subject runs again.

        Raises:
            NatsError: there is no such stream, or it does not take the subject.
            OptionsError: it is no work queue, or would drop some of what it keeps.
            RuntimeError: it runs already.
        """
        if self._running:
            await trio.lowlevel.checkpoint()
            raise RuntimeError(
                f"the publisher of {self.home.region!r} runs already; one task runs it, and any may publish by it"
            )
        if self._kept is None:
            await trio.lowlevel.checkpoint()
            task_status.started()
            return
        self._running = True  # before the stream is asked: another run() may come meanwhile
        try:
            await self._kept.check()
            await self._kept.open()
            if not await self._kept.is_empty():  # the stream's word; the consumer's leader may be behind it
                self._begin_to_drain()
            self._keeps = True
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain_when_wanted, self._kept)
                async with self.client.events() as events:
                    async for _ in events:
                        pass  # the last one is that the client is closed
                nursery.cancel_scope.cancel()
        finally:
            self._running = self._keeps = False
            self._room.open()

    async def _drain_when_wanted(self, kept: Kept) -> None:
        while True:
            await self._wanted.wait()
            await self._drain(kept)

    def _begin_to_drain(self) -> None:
        if self._kept is not None and not self._draining:
            self._kept.begin()
        self._draining = True
        self._wanted.set()

    async def _drain(self, kept: Kept) -> None:
        """Until nothing is kept and home answers; after trouble with the local stream the oldest come first again."""
        begins = False
        while True:
            try:
                if begins:
                    await kept.open()
                    begins = False
                batch = await kept.fetch()
                last = self._hold_back(batch)
                if batch:
                    await self._take_home(kept, batch, last)
                    continue
                if await kept.is_empty():
                    if self._reach.away_since is None:
                        break
                    await self._find_out()
                    continue
            except (NatsError, trio.TooSlowError) as error:
                begins = True
                self._room.open()
                self._tell_trouble(error)
            await trio.sleep(_DRAIN_PAUSE_SECONDS)
        self._draining = False
        self._wanted = trio.Event()
        self._room.open()
        self._trouble = ""
        self._tell_returned()

    def _hold_back(self, batch: list[JetStreamMessage]) -> bool:
        """See `Room`; whether this batch is the last one: nothing was kept behind it."""
        if self._reach.away_since is not None or self._reach.cut:
            self._room.open()
            return False
        last = bool(batch) and batch[-1].metadata.pending == 0
        self._room.fetched(messages=bool(batch), last=last)
        return last

    async def _find_out(self) -> None:
        """With nothing to take home, ask whether it answers."""
        self._reach.look()
        trying = await self._reach.permit()
        try:
            failure = await self._stream.ask()
        except BaseException:
            self._reach.withdraw(trying)
            raise
        self._reach.settle(trying, failure)

    async def _take_home(self, kept: Kept, batch: list[JetStreamMessage], last: bool) -> None:
        for part in rounds([kept.read(message) for message in batch]):
            left = part
            while left:
                self._reach.look()
                trying = await self._reach.permit()
                try:
                    left, error = await self._stream.publish_all(left)
                except (NatsError, trio.TooSlowError) as unknown:  # what may be there already could not be looked up
                    error = unknown
                except BaseException:
                    self._reach.withdraw(trying)
                    raise
                self._reach.settle(trying, None if error is None else str(error))
                if error is not None:
                    self._failures += 1
                    if not is_retryable(error):
                        self._tell_trouble(error)
            if self._reach.away_since is None:
                self._room.went_home(0 if last else len(part))
        for message in batch:
            await message.ack()
        kept.count -= len(batch)
        self._drained += len(batch)

    # What is told

    def _is_cut(self) -> bool:
        return (
            self._watch is not None and self._watch.is_cut(self.home.region) and self.client.state is not State.CLOSED
        )

    def _tell(self, reason: str | None) -> None:
        """Home is away (why), or answers again (None)."""
        if reason is None:
            if not self._draining:
                self._tell_returned()
            return
        self._room.open()  # to be kept
        if self._left_at is None:
            self._left_at = trio.current_time()
            keeps: Literal["kept", "wait"] = "kept" if self._kept is not None else "wait"
            self._log(logging.WARNING, "REGION_LEFT", region=self.home.region, publishes=keeps, reason=reason)
            self.client.connection.emit(RegionLeft(self.home.region, keeps, reason))

    def _tell_trouble(self, error: Exception) -> None:
        """Why a drain does not go on, when it is another reason than the last."""
        if str(error) != self._trouble and self.client.state is not State.CLOSED:
            self._trouble = str(error)
            self._log(logging.WARNING, "REGION_DRAIN_ERROR", region=self.home.region, reason=self._trouble)

    def _tell_returned(self) -> None:
        """Home answers, and nothing is kept."""
        if self._left_at is not None:
            seconds = trio.current_time() - self._left_at
            self._left_at = None
            self._log(logging.INFO, "REGION_RETURNED", region=self.home.region, seconds=round(seconds, 3))
            self.client.connection.emit(RegionReturned(self.home.region, seconds))

    def _log(self, level: int, event: str, **fields: str | float) -> None:
        self.client.connection.log(level, event, words="", exc_info=None, **fields)
