"""A publisher of a region whose home can be taken away: by faults on what is published there, and on its PubAcks.

Home and local stream are on one simulated server; what is cut is the way of publishes to `west.>`. The fault `timeout`
lets them arrive and takes their PubAcks, as a link that dies behind the write does; `error` lets none arrive.

Must not judge what is stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import trio

from beamline_trio import Client, Event, JetStream, NatsError, StreamConfig, open_client
from beamline_trio.cluster import Home, LocalStream, RegionAck, RegionPublisher
from beamline_trio.faults import FaultDialer, OperationFault, error, timeout
from beamline_trio.simulation import ServerConfig, World

KEPT = LocalStream(stream="KEEP", subject="kept.west.app")
HERE = Home(region="west", stream="WEST", attempt_timeout_seconds=1.0)
LOCAL = Home(region="west", stream="WEST", attempt_timeout_seconds=1.0, local=KEPT)


class StandInWatch:
    """A watch that says what it is told to say of the region west.

    Attributes:
        cut: whether it is cut off.
    """

    def __init__(self) -> None:
        self.cut = False

    def is_cut(self, region: str) -> bool:
        return self.cut and region == "west"


class Region:
    """A publisher and its streams.

    Attributes:
        nc: by which it publishes.
        jetstream: the same.
        publisher: it.
        acks: payload -> how its publish ended.
    """

    def __init__(self, nc: Client, tool: JetStream, faults: FaultDialer, publisher: RegionPublisher) -> None:
        self.nc = nc
        self.tool = tool
        self.publisher = publisher
        self.acks: dict[bytes, RegionAck] = {}
        self._faults = faults
        self._events = nc.events()

    @contextmanager
    def away(self, fault: OperationFault | None = None, subjects: str = "west.>") -> Generator[None]:
        """Publishes to the home do not get their PubAcks; None: and do not arrive."""
        with self._faults.inject(
            "publish_with_ack", error("no responders") if fault is None else fault, subjects=subjects
        ):
            yield

    @contextmanager
    def silent_home(self) -> Generator[None]:
        """Questions about the home stream are not answered."""
        with self._faults.inject("publish_with_ack", timeout(), subjects=["$JS.API.*.*.WEST", "$JS.API.*.*.*.WEST.>"]):
            yield

    @contextmanager
    def cut_off(self, watch: StandInWatch) -> Generator[None]:
        """A watch says that the region is cut off, and home does not answer."""
        with self.silent_home():
            watch.cut = True
            yield
        watch.cut = False

    @contextmanager
    def lost_acks(self) -> Generator[None]:
        """Acks of what is kept do not arrive."""
        with self._faults.inject("ack", error(), subjects="$JS.ACK.KEEP.>"):
            yield

    async def publish(self, key: str, *numbers: int) -> None:
        """Numbers of a key, one after the other; their PubAcks are noted."""
        for number in numbers:
            payload = f"{key}:{number}".encode()
            self.acks[payload] = await self.publisher.publish(f"west.{key}", payload, headers={"Key": key})

    def start(self, nursery: trio.Nursery, keys: str, *numbers: int) -> None:
        """The same for some keys at once."""
        for key in keys:
            nursery.start_soon(partial(self.publish, key, *numbers))

    async def stored(self, stream: str = "WEST") -> dict[str, list[int]]:
        """Key -> the numbers that a stream has stored, in its order."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        info = await self.tool.stream_info(stream)
        for sequence in range(max(info.state.first_seq, 1), info.state.last_seq + 1):
            try:
                message = await self.tool.get_message(stream, sequence=sequence)
            except NatsError:
                continue
            key, _, number = bytes(message.payload).decode().partition(":")
            found[key].append(int(number))
        return dict(found)

    async def kept(self) -> dict[str, list[int]]:
        """The same of the local stream."""
        return await self.stored("KEEP")

    async def settled(self) -> None:
        """Until publishes go home again."""
        with trio.fail_after(600):
            while self.publisher.away or self.publisher.statistics().waiting:  # noqa: ASYNC110  # it has no event
                await trio.sleep(0.1)

    async def told(self) -> list[str]:
        """What has been told of regions by now."""
        found: list[Event] = []
        with trio.move_on_after(0.001):
            while True:
                found.append(await self._events.receive())
        return [type(event).__name__ for event in found if type(event).__name__.startswith("Region")]


@asynccontextmanager
async def region(
    world: World,
    home: Home,
    *,
    watch: Any = None,
    window: float = 120.0,
    retention: Any = "limits",
    host: str = "app",
    runs: bool = True,
    **options: Any,
) -> AsyncGenerator[Region]:
    """A client with a publisher that runs, and the streams."""
    server = world.servers.get("nats") or await world.start_server("nats", ServerConfig(jetstream=True))
    faults = FaultDialer(world.dialer(host))
    async with (
        open_client(server.url, dialer=world.dialer(f"{host}-tool")) as tool,
        open_client(server.url, dialer=faults, **options) as nc,
        trio.open_nursery() as nursery,
    ):
        jetstream = JetStream(nc)
        config = StreamConfig(name="WEST", subjects=["west.>"], duplicate_window_seconds=window, retention=retention)
        await jetstream.create_stream(config)
        await jetstream.create_stream(StreamConfig(name="KEEP", subjects=["kept.>"], retention="workqueue"))
        publisher = RegionPublisher(jetstream, home, watch=watch)
        if runs:
            await nursery.start(publisher.run)
        yield Region(nc, JetStream(tool), faults, publisher)
        nursery.cancel_scope.cancel()
