"""The fault dialer: wraps any Dialer, and injects faults into what clients do over it.

    faults = FaultDialer(TCPDialer())
    async with open_client(url, dialer=faults) as nc:
        with faults.inject("publish", error(), subjects="orders.>") as injection:
            ...
        assert injection.hits == 1

It acts on the wire, above TLS, so it works before any server, and the client has no hook for it.

Must not know clients, and must not act outside of an injection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType

import trio

from ..transport import Dialer, Environment, NameResolutionError, ServerAddress, ServerUnreachableError, TLSError
from ._errors import InjectionError
from ._faults import NO_DNS, Error, OperationFault, check_fault, innermost, meets_dials, resolve
from ._operations import Operation, OperationKind, SubjectFilter
from ._stream import FaultStream, Met


class Injection:
    """A fault for some operations, in force inside its `with` block. Made by `FaultDialer.inject`.

    Attributes:
        hits: how many operations it has met so far, over all links.
    """

    def __init__(self, links: _Links, kind: OperationKind, fault: OperationFault, subjects: SubjectFilter) -> None:
        self._links = links
        self._kind = kind
        self._fault = fault
        self._subjects = subjects
        self._active = False
        self.hits = 0

    @property
    def active(self) -> bool:
        """Whether it is in force."""
        return self._active

    def __enter__(self) -> Injection:
        if self._active:
            raise RuntimeError("this injection is in force already; make another one with FaultDialer.inject()")
        self._active = True
        self._links.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._active = False
        self._links.end(self)

    def meet(self, operation: Operation) -> Met | None:
        """What an operation meets of it, if anything."""
        if not operation.is_a(self._kind) or meets_dials(self._fault):
            return None
        if self._kind is not OperationKind.CONNECT and operation.subject not in self._subjects:
            return None
        fault = resolve(self._fault)
        if fault is None:
            return None
        self.hits += 1
        return Met(self, self._kind, fault)

    def meet_dial(self) -> Error | None:
        """What a dial meets of it, if anything."""
        fault = resolve(self._fault) if meets_dials(self._fault) else None
        if not isinstance(fault, Error):
            return None
        self.hits += 1
        return fault

    def __repr__(self) -> str:
        state = "in force" if self._active else "not in force"
        return f"<Injection {self._kind} {self._fault} {state}, {self.hits} hits>"


class _Links:
    """The injections in force and the links that are open: who begins or ends tells the others."""

    def __init__(self) -> None:
        self.injections: dict[Injection, None] = {}
        self.streams: dict[FaultStream, None] = {}
        self.lost = 0

    @property
    def in_force(self) -> bool:
        return bool(self.injections)

    def meet(self, operation: Operation) -> Iterator[Met]:
        for injection in list(self.injections):
            met = injection.meet(operation) if injection.active else None
            if met is not None:
                yield met

    def unframed(self) -> None:
        self.lost += 1

    def begin(self, injection: Injection) -> None:
        self.injections[injection] = None

    def end(self, injection: Injection) -> None:
        del self.injections[injection]
        for stream in self.streams:
            stream.on_turn()

    def wrap(self, inner: trio.abc.Stream) -> FaultStream:
        stream = FaultStream(inner, self)
        self.streams[stream] = None
        return stream

    def unwrap(self, stream: FaultStream) -> None:
        stream.close()
        link: FaultStream | None = stream
        while link is not None:
            del self.streams[link]
            link = link.successor


class FaultDialer:
    """A Dialer whose links meet the faults that are injected into it.

    Args:
        dialer: how servers are really reached: TCP, or a simulated network.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._links = _Links()

    @property
    def unframed(self) -> int:
        """Links on which something came that is no NATS frame.

        They are passed on unchanged from then on, and meet no fault any more.
        """
        return self._links.lost

    def inject(
        self, operation: OperationKind | str, fault: OperationFault, *, subjects: str | Iterable[str] | None = None
    ) -> Injection:
        """A fault for an operation: `with faults.inject("publish", error()): ...`.

        It is in force inside the block, on links that exist and on those to come, and undone when the block ends: what
        it holds comes late, what it delays goes on. Several may be in force; an operation meets those that are for it
        in the order in which they began, up to the first that keeps it from the server.

        Args:
            operation: one of `OperationKind`, or its name: `"connect"`, `"publish"`, `"publish_with_ack"`, `"ack"`,
                `"nak"`, `"subscribe"`. A client connects and subscribes again on each new link.
            fault: what happens.
            subjects: patterns of the subjects it is for; a subscription is meant when all that it means is within one
                of them. None = all but those below `$JS` and `$SRV`, and of acks and naks all (theirs begin with
                `$JS.ACK.`). Not for a connect.

        Raises:
            InjectionError: this cannot be injected.
        """
        try:
            kind = OperationKind(operation)
        except ValueError:
            raise InjectionError(f"operation is {operation!r}; it must be one of {', '.join(OperationKind)}") from None
        if kind is OperationKind.CONNECT and subjects is not None:
            raise InjectionError(f"subjects is {subjects!r}; a connect has none, leave it out")
        _check_fits(check_fault(fault), kind)
        return Injection(self._links, kind, fault, SubjectFilter(subjects, kind))

    # The dialer

    @property
    def environment(self) -> Environment:
        """That of the wrapped dialer."""
        return self._dialer.environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial; see `Dialer.open`."""
        await self._meet_dial(address)
        async with self._dialer.open(address) as inner:
            stream = self._links.wrap(inner)
            try:
                yield stream
            finally:
                self._links.unwrap(stream)

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Upgrade; see `Dialer.start_tls`. Faults act on what is inside TLS."""
        if not isinstance(stream, FaultStream):
            return await self._dialer.start_tls(stream, host)
        if not stream.untouched:
            raise TLSError(f"{host} sent more than INFO before TLS; it is no NATS server", address=host)
        stream.successor = self._links.wrap(await self._dialer.start_tls(stream.inner, host))
        return stream.successor

    async def _meet_dial(self, address: ServerAddress) -> None:
        for injection in list(self._links.injections):
            fault = injection.meet_dial()
            if fault is None:
                continue
            await trio.lowlevel.checkpoint()
            if fault.reason == NO_DNS:
                text = f"cannot resolve {address.host!r} of {address}: a fault was injected"
                raise NameResolutionError(text, address=str(address))
            text = f"cannot connect to {address}: refused, a fault was injected"
            raise ServerUnreachableError(text, address=str(address))


def _check_fits(fault: OperationFault, kind: OperationKind) -> None:
    inner = innermost(fault)
    if not isinstance(inner, Error):
        return
    if inner.at_dial and kind is not OperationKind.CONNECT:
        raise InjectionError(f"{fault} is for a connect; give another reason for a {kind}, or none")
    if inner.of_a_publish and not kind.publishes:
        raise InjectionError(f"{fault} is for what is published; give another reason for a {kind}, or none")
