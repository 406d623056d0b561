"""What the cases of js.publish stand on: a stream for `orders.>`, and what it has stored.

Must not know what any case does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs

from beamline_trio import Client, JetStream, StreamConfig
from tests.integration.suites._scene import Scene

STREAM: Final = "ORDERS"
SUBJECT: Final = "orders.new"


@attrs.frozen
class Publisher:
    """The client under test, and somebody who sees what the stream has.

    Attributes:
        nc: the client under test.
        js: its JetStream.
        other: of another client, which meets no injected fault.
    """

    nc: Client
    js: JetStream
    other: JetStream

    async def stored(self) -> int:
        """How many messages the stream has."""
        return (await self.other.stream_info(STREAM)).state.messages


@asynccontextmanager
async def open_publisher(scene: Scene, **overrides: Any) -> AsyncGenerator[Publisher]:
    """A stream in files, and two clients."""
    async with scene.open_other() as other, scene.open(**overrides) as nc:
        await JetStream(other).create_stream(StreamConfig(name=STREAM, subjects=("orders.>",)))
        yield Publisher(nc, JetStream(nc), JetStream(other))
