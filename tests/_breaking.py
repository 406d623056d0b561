"""A link that breaks once, at an operation: the fault is undone in the step behind the loss.

By the event. Who looks at the client's state every few milliseconds may come when the next link is up already, and what
that one sends again has met the fault too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from beamline_trio import Client, Disconnected
from beamline_trio.faults import FaultDialer, Injection, close_connection


@asynccontextmanager
async def breaking(
    faults: FaultDialer, nc: Client, operation: str, *, subjects: str | None = None, after: bool = False
) -> AsyncGenerator[Injection]:
    """Do the operation in the block; left, the client's link is lost, and the next one meets nothing.

    Args:
        faults: the client's dialer.
        nc: the client.
        operation: at which the link breaks.
        subjects: see `FaultDialer.inject`.
        after: the server gets the operation.
    """
    async with nc.events() as events:
        with faults.inject(operation, close_connection(after=after), subjects=subjects) as injection:
            yield injection
            while not isinstance(await events.receive(), Disconnected):
                pass
