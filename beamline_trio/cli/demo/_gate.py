"""A dialer with a gate: a link is reached as ever, but used only when the gate is open.

The client's first pending operations leave with the first write on a new link. In core NATS they would be gone if the
receiver were not back yet, so the demo holds its clients here until the receiver has reported. Attempts, refusals and
backoff before that are those of the dialer inside; a gate that stays shut longer than the connect timeout is a failed
attempt.

Must not know why it is shut.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ...transport import Dialer, Environment, ServerAddress


class GatedDialer:
    """Wraps a dialer; open at first.

    Args:
        inner: how servers are reached.
    """

    def __init__(self, inner: Dialer) -> None:
        self._inner = inner
        self._opened = trio.Event()
        self._opened.set()

    @property
    def environment(self) -> Environment:
        """That of the dialer inside."""
        return self._inner.environment

    def close_gate(self) -> None:
        """Hold every link that is dialled from now on. Those in use are not touched."""
        if self._opened.is_set():
            self._opened = trio.Event()

    def open_gate(self) -> None:
        """Let the links through that wait, and all later ones."""
        self._opened.set()

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        """Dial, then wait for the gate; see `Dialer.open`."""
        async with self._inner.open(address) as stream:
            await self._opened.wait()
            yield stream

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        """Upgrade; see `Dialer.start_tls`."""
        return await self._inner.start_tls(stream, host)
