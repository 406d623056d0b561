"""A stream between a client and its server that carries faults out on the operations that pass.

It is a `trio.abc.Stream` like the one it wraps, has no task of its own, and while no fault is injected it passes
everything on as it comes.

What a fault delays waits in the caller's own `send_all`; what it holds back from the client is not read at all. So
nothing piles up, and whoever is too fast waits as on any slow network.

Must not know which faults there are: it asks `meet`, and obeys.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

import attrs
import trio

from ._faults import CloseConnection, Delay, Error, Timeout
from ._incoming import Incoming, Scope
from ._interests import Interests
from ._operations import Operation, OperationKind, operation_of
from ._refusals import refuse
from ._splitter import Frame, split_to_server


@attrs.frozen
class Met:
    """A fault that an operation meets, as what it does, and the injection that it ends with."""

    scope: Scope
    kind: OperationKind
    fault: Error | Timeout | CloseConnection | Delay


class Injections(Protocol):
    """Which faults there are."""

    @property
    def in_force(self) -> bool:
        """Whether there are any, so that frames must be known before they are passed on."""
        ...

    def meet(self, operation: Operation) -> Iterator[Met]:
        """What an operation meets, one after another; the next is asked for when the one before was carried out."""
        ...

    def unframed(self) -> None:
        """A link's bytes are no frames: it is left alone from now on."""
        ...


class _OneAtATime:
    """A direction of a stream: a second task in it is an error of the caller."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(f"another task is already {self._what} this stream")
        self._busy = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._busy = False


class FaultStream(trio.abc.Stream):
    """A wrapped stream.

    Args:
        inner: the stream to the server.
        injections: which faults there are.

    Attributes:
        inner: the wrapped stream.
        successor: what took over from this one, if it was upgraded to TLS.
    """

    def __init__(self, inner: trio.abc.Stream, injections: Injections) -> None:
        self.inner = inner
        self._injections = injections
        self._outgoing = split_to_server()
        self._incoming = Incoming()
        self._interests = Interests()
        self.successor: FaultStream | None = None
        self._pings = 0
        self._dropping = False
        self._breaks_behind = False
        self._transparent = False
        self._closed = False
        self._breaking = False
        self._broken = False
        self._hung_up = False
        self._turned = trio.Event()
        self._reading: trio.CancelScope | None = None
        self._sending = _OneAtATime("sending on")
        self._receiving = _OneAtATime("receiving from")

    # Sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; waits while a fault delays it. Cancelled, an unknown part was sent, as with any stream.

        Raises:
            trio.BrokenResourceError: the connection is broken, by a fault or by itself.
            trio.ClosedResourceError: this stream was closed.
            trio.BusyResourceError: another task is sending.
        """
        with self._sending:
            self._check_sending()
            out = bytearray()
            for piece in self._outgoing.feed(bytes(data)):
                if piece.first:
                    self._dropping = False
                    if piece.frame is not None:
                        await self._begin(piece.frame, out, begun=piece.begun)
                if not self._dropping and not self._hung_up:
                    out += piece.data
                if piece.last and self._breaks_behind:
                    await self._break(out)
            if self._outgoing.lost:
                self._let_go()
            if not self._injections.in_force or self._transparent:
                out += self._outgoing.release()
            await self._pass_on(out)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the wrapped stream might take something."""
        with self._sending:
            self._check_sending()
            await self.inner.wait_send_all_might_not_block()

    async def _begin(self, frame: Frame, out: bytearray, *, begun: bool) -> None:
        """A frame is about to be passed on: carry out what it meets."""
        self._pings += frame.verb == b"PING"
        operation = operation_of(frame)
        if operation is not None and not begun and not self._transparent:
            await self._meet(operation, out)
        if not self._dropping:
            self._interests.passed(frame)

    async def _meet(self, operation: Operation, out: bytearray) -> None:
        """Carry out what an operation meets."""
        for met in self._injections.meet(operation):
            match met.fault:
                case Delay(seconds):
                    await self._pass_on(out)
                    await self._wait_for_end(met.scope, trio.current_time() + seconds)
                case Timeout(seconds):
                    self._hold_answer(operation, met.scope, trio.current_time() + seconds)
                case Error(reason):
                    await self._refuse(attrs.evolve(operation, kind=met.kind), reason, out)
                    return
                case CloseConnection(after):
                    self._breaks_behind = after
                    if not after:
                        await self._break(out)
                    return

    def _hold_answer(self, operation: Operation, scope: Scope, until: float) -> None:
        if operation.reply is not None:
            self._incoming.swallow(scope, operation.reply, until)
        elif operation.kind is OperationKind.CONNECT:
            self._incoming.hold(scope, 0, until)
        else:
            self._incoming.hold(scope, self._pings + 1, until)

    async def _refuse(self, operation: Operation, reason: str | None, out: bytearray) -> None:
        """Drop the operation, and answer it in its turn."""
        self._dropping = True
        if not self._incoming.has_room:
            await self._pass_on(out)
        while not self._incoming.has_room:
            await self._wait_turn(math.inf)
            self._check_sending()
        sids = self._interests.of(operation.reply) if operation.reply is not None else ()
        refusal = refuse(operation, reason, sids)
        self._incoming.answer(self._pings, refusal.data, ends=refusal.ends)
        self._turn()
        self._hung_up = refusal.ends

    async def _break(self, out: bytearray) -> None:
        """Pass on what comes before the break. What the server answers to it is not received any more."""
        self._breaking = True
        self._turn()
        try:
            await self._pass_on(out)
        finally:
            self._broken = True
            self._turn()
        await trio.aclose_forcefully(self.inner)
        self._check_sending()

    async def _pass_on(self, out: bytearray) -> None:
        data = bytes(out)
        out.clear()
        if data:
            await self.inner.send_all(data)
        else:
            await trio.lowlevel.checkpoint()

    def _check_sending(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._broken or self._hung_up:
            raise _broken()

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive; waits while a fault holds what has come. Cancelled, nothing is lost.

        Raises:
            trio.BrokenResourceError: the connection is broken, by a fault or by itself.
            trio.ClosedResourceError: this stream was closed.
            trio.BusyResourceError: another task is receiving.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError(f"max_bytes is {max_bytes}; it must be at least 1")
        with self._receiving:
            waited = False
            while True:
                self._check_receiving()
                until = None if self._incoming.ready else self._advance()
                if self._breaking:
                    await self._wait_turn(math.inf)
                elif self._incoming.ready or self._incoming.ended:
                    if waited:
                        return self._incoming.take(max_bytes)
                    await trio.lowlevel.checkpoint()
                elif until is not None:
                    await self._wait_turn(until)
                else:
                    await self._read(max_bytes)
                waited = True

    def _advance(self) -> float | None:
        """See `Incoming.advance`; a sender that waited for room goes on."""
        had_room = self._incoming.has_room
        until = self._incoming.advance(trio.current_time(), eager=not self._injections.in_force)
        if self._incoming.has_room and not had_room:
            self._turn()
        return until

    async def _read(self, max_bytes: int | None) -> None:
        """Read on, until something came or there is a turn."""
        with trio.CancelScope() as scope:
            self._reading = scope
            data = await self.inner.receive_some(max_bytes)
            self._incoming.feed(bytes(data))
            if self._incoming.lost:
                self._let_go()

    def _check_receiving(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._broken:
            raise _broken()

    # Turns

    def on_turn(self) -> None:
        """An injection has begun or ended."""
        self._turn()

    def _turn(self) -> None:
        """Wake whoever waits here: something has changed."""
        turned, self._turned = self._turned, trio.Event()
        turned.set()
        if self._reading is not None:
            self._reading.cancel()

    async def _wait_for_end(self, scope: Scope, until: float) -> None:
        """Wait until then, or until the injection ends."""
        while scope.active and trio.current_time() < until:
            await self._wait_turn(until)
            self._check_sending()

    async def _wait_turn(self, until: float) -> None:
        turned = self._turned
        with trio.CancelScope(deadline=until):
            await turned.wait()

    def _let_go(self) -> None:
        if not self._transparent:
            self._transparent = True
            self._incoming.let_go()
            self._injections.unframed()
            self._turn()

    # The end

    @property
    def untouched(self) -> bool:
        """Whether nothing that came is still here."""
        return self._incoming.untouched

    def close(self) -> None:
        """Wake whoever is inside, and be of no use any more; the wrapped stream is its owner's to close."""
        self._closed = True
        self._turn()
        if self.successor is not None:
            self.successor.close()

    async def aclose(self) -> None:
        """Close, and the wrapped stream too."""
        self.close()
        await self.inner.aclose()


def _broken() -> trio.BrokenResourceError:
    error = trio.BrokenResourceError("connection lost")
    error.__cause__ = ConnectionResetError("connection reset by an injected fault")
    return error
