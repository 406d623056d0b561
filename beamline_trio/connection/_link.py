"""One link to one server, its handshake done: reader, writer, pinger and the drain of what was pending, in one nursery.

The first task that sees the link fail says so to the connection at once, in the same step in which it stops: there is
no moment in which the reader is dead and the client says connected. The reader yields once per chunk and waits for
nobody; the writer is the only one that sends.

Must not know subscriptions or callers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ..protocol import PING, PermissionsError, ProtocolError, ServerError, ServerInfo
from ..transport import direct_write
from ._connection import Connection
from ._handover import Handover
from ._handshake import RECEIVE_BYTES, Established
from ._pending_drain import PendingDrain
from ._server_words import ServerWords
from ._waiters import NEVER, Waiter

LAST_WORDS_SECONDS: Final = 1.0
LAST_WORDS_WAIT_SECONDS: Final = 0.05


class Link:
    """A link whose handshake is done; it is the parser's receiver from here on.

    Args:
        connection: whose link it is.
        established: what the handshake gave.
    """

    def __init__(self, connection: Connection, established: Established) -> None:
        self._connection = connection
        self._words = ServerWords(connection)
        self._stream = established.stream
        self._parser = established.parser
        self._owes_pong = established.owes_pong
        self._error: ServerError | None = None
        self._error_at = 0.0
        self._scope = trio.CancelScope()
        self._active = trio.CancelScope()
        self._farewell: Callable[[Link], Awaitable[None]] | None = None
        self._heard = trio.Event()
        self._counted = 0
        self.lost_reason = ""
        self.left = False
        self._parser.hand_over(connection.interests.routes, self)

    # Life

    async def run(self) -> str:
        """Run until the link is lost; returns the reason. Cancelled: the connection is told all the same."""
        connection = self._connection
        connection.received_at = trio.current_time()
        connection.parser = self._parser
        if connection.link_is_up:
            if self._owes_pong:
                connection.outbox.put_pong()
            connection.outbox.direct = self._direct()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    with self._active:
                        async with trio.open_nursery() as active:
                            active.start_soon(self._write)
                            active.start_soon(self._ping)
                            if connection.pending:
                                active.start_soon(PendingDrain(connection).run)
                    if self._farewell is not None:
                        await self._farewell(self)
                        self.lose("another link has taken over")
        finally:
            self._count_messages()
            self.lose("the client gave the link up")
        return self.lost_reason

    def _count_messages(self) -> None:
        """What its parser has counted becomes the client's; once it is no longer the one that is asked."""
        connection = self._connection
        connection.counters.messages_in += self._parser.messages - self._counted
        self._counted = self._parser.messages
        if connection.parser is self._parser:
            connection.parser = None

    # Two links at once

    @property
    def retired(self) -> bool:
        """Whether another link has taken over: the client no longer lives on this one."""
        return self._farewell is not None

    def take_over(self, handover: Handover) -> None:
        """What this link brings goes through a handover until that is over."""
        self._parser.hand_over(handover.new, self)
        handover.when_over(lambda: self._parser.hand_over(self._connection.interests.routes, self))

    def retire(self, handover: Handover, farewell: Callable[[Link], Awaitable[None]]) -> None:
        """Another link takes over: read on, and do nothing else but the farewell. The outbox must be at rest."""
        self._farewell = farewell
        self._count_messages()
        self._parser.hand_over(handover.old, self)
        self._active.cancel()

    async def say(self, frames: bytes) -> None:
        """Of a retired link: write, and wait until the server has it all. A failure is the reader's to find."""
        self._heard = trio.Event()
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_all(frames + PING)
        self._connection.counters.bytes_out += len(frames) + len(PING)
        await self._heard.wait()

    def _direct(self) -> Callable[[bytes], int] | None:
        write = direct_write(self._stream)
        if write is None:
            return None
        counters = self._connection.counters

        def counted(data: bytes) -> int:
            count = write(data)
            counters.bytes_out += count
            return count

        return counted

    @property
    def _is_up(self) -> bool:
        """Whether the connection still lives on this link."""
        return not self.retired and self._connection.link_is_up

    def _last_words(self, otherwise: str) -> str:
        """Why the server hung up: an error of a kind that closes, or any other that it sent just before."""
        error = self._error
        if error is not None and (error.closes or trio.current_time() - self._error_at <= LAST_WORDS_SECONDS):
            return error.text
        return otherwise

    def lose(self, reason: str) -> None:
        """The link is of no use any more. The first reason counts."""
        if not self.lost_reason:
            self.lost_reason = reason
            if not self.retired:
                self._connection.link_down(reason, on_purpose=self.left)
            self._scope.cancel()

    def leave(self, reason: str) -> None:
        """Give it up on purpose."""
        self.left = not self.lost_reason
        self.lose(reason)

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        receive = self._stream.receive_some
        feed = self._parser.feed
        connection = self._connection
        counters = connection.counters
        try:
            while True:
                data = await receive(RECEIVE_BYTES)
                if not data:
                    self.lose(self._last_words("the server closed the connection"))
                    return
                connection.received_at = trio.current_time()
                counters.bytes_in += len(data)
                feed(data if type(data) is bytes else bytes(data))
                if connection.deferred:
                    connection.call_deferred()
        except ProtocolError as exc:
            self.lose(f"protocol error: {exc}")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            cause = exc.__cause__ if exc.__cause__ is not None else exc
            self.lose(self._last_words(f"connection broken: {cause}"))
        finally:  # whatever ended it: nobody reads any more
            self.lose("the reader ended")

    @trio.lowlevel.enable_ki_protection
    async def _write(self) -> None:
        connection = self._connection
        outbox = connection.outbox
        counters = connection.counters
        send_all = self._stream.send_all
        try:
            while True:
                await outbox.wait_frames()
                chunk = outbox.take()
                if outbox.stamped_at != NEVER:
                    connection.deadlines.on_written(outbox.stamped_at)
                    outbox.stamped_at = NEVER
                await send_all(chunk)
                counters.bytes_out += len(chunk)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            # The reader may still find the server's -ERR that says why; it has a moment to do so.
            await trio.sleep(LAST_WORDS_WAIT_SECONDS)
            self.lose(f"connection broken: {exc.__cause__ if exc.__cause__ is not None else exc}")
        finally:
            if not self.retired:
                self.lose("the writer ended")

    @trio.lowlevel.enable_ki_protection
    async def _ping(self) -> None:
        connection = self._connection
        options = connection.options
        outbox = connection.outbox
        interval = options.ping_interval_seconds
        due = trio.current_time() + interval
        while True:
            await trio.sleep_until(due)
            quiet_at = connection.received_at + interval
            if trio.current_time() < quiet_at and not outbox.coverage.unconfirmed and not outbox.pongs:
                due = quiet_at
                continue
            self._connection.counters.pings += 1
            waiter = Waiter(keepalive=True)
            outbox.put(b"", waiter)
            with trio.move_on_after(options.pong_timeout_seconds) as scope:
                await waiter.wait()
            if scope.cancelled_caught:
                self._connection.counters.pongs_missed += 1
                self.lose(f"no PONG within {options.pong_timeout_seconds:g} s")
                return
            self._connection.counters.pings_answered += 1
            due = trio.current_time() + interval

    # What the parser tells

    def on_info(self, info: ServerInfo) -> None:
        """INFO, a later one."""
        if not self.retired:
            self._words.on_info(info)

    def on_error(self, text: str) -> None:
        """`-ERR`: kept as the reason if the server hangs up, and told to whom it is about."""
        if self.retired:
            return
        error = self._words.on_error(text)
        if not isinstance(error, PermissionsError):
            self._error = error
            self._error_at = trio.current_time()

    def on_ping(self) -> None:
        """PING: answered by the writer."""
        if self._is_up:
            self._connection.outbox.put_pong()

    def on_pong(self) -> None:
        """PONG: that of the oldest PING."""
        if self.retired:
            self._heard.set()
        else:
            self._words.on_pong()

    def on_malformed(self, sid: bytes, subject: bytes, reason: str) -> None:
        """A message was skipped."""
        self._words.on_malformed(sid, subject, reason)

    def on_unroutable(self, sid: bytes, count: int) -> None:
        """Messages for nobody."""
        self._connection.incidents.unroutable(count)
