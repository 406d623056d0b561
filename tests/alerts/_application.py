"""`python -m tests.alerts._application`: a process whose clients and routers get into trouble when they are told.

Each part is named like its client, which is the label that its alert carries. On standard input come lines
`begin PART` and `end PART`; `calm` and the parts whose servers are taken away need none. The metrics are served as
`beamline run` serves them, at the port that is printed.

Must not know of Prometheus or of alerts.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, Final, TypeAlias

import trio

from beamline_trio import (
    Client,
    ClusterWatch,
    ConsumerConfig,
    JetStream,
    Message,
    NatsError,
    Router,
    StreamConfig,
    TCPDialer,
    open_client,
)
from beamline_trio.cluster import WatchOptions
from beamline_trio.faults import FaultDialer, error, intermittent
from beamline_trio.metrics import Collector, Instance
from beamline_trio.operation import OperationApplication, serve_http
from beamline_trio.router import Backpressure, Breaker, KillSwitch, Reject, Retry

# A second between two events is enough to be seen by a scrape every second, and costs nothing.
PACE_SECONDS: Final = 0.1
QUICK: Final[dict[str, Any]] = {
    "reconnect_delay_seconds": 0.2,
    "reconnect_delay_max_seconds": 0.5,
    "connect_timeout_seconds": 1.0,
    "operation_timeout_seconds": 2.0,
}
QUICK_WATCH: Final = WatchOptions(
    interval_seconds=0.2,
    answer_seconds=0.2,
    node_down_after_seconds=1.0,
    quorum_lost_after_seconds=1.0,
    region_cut_after_seconds=1.0,
)
Part: TypeAlias = Callable[["Troubles", Client], Awaitable[None]]


class Troubles:
    """Which parts are in trouble now."""

    def __init__(self) -> None:
        self._on: defaultdict[str, bool] = defaultdict(bool)

    def take(self, line: str) -> None:
        """A line of standard input."""
        verb, _, part = line.strip().partition(" ")
        self._on[part] = verb == "begin"

    def of(self, client: Client) -> bool:
        """Whether the part of this client is in trouble."""
        return self._on[client.name]

    async def over(self, client: Client) -> None:
        """Wait until the part of this client is in no trouble."""
        while self.of(client):  # noqa: ASYNC110 - it is looked at now and then, as everything here
            await trio.sleep(PACE_SECONDS)


# -------------------------------------------------------------------------------------------- parts of clients alone


async def publishes(troubles: Troubles, nc: Client) -> None:
    """A publish now and then, confirmed, whatever becomes of it."""
    while True:
        with suppress(NatsError), trio.move_on_after(1):
            await nc.publish("alerts.news", b"x", confirm=True)
        await trio.sleep(PACE_SECONDS)


async def floods(troubles: Troubles, nc: Client) -> None:
    """Publishes that nobody waits for, as fast as they may."""
    while True:
        with suppress(NatsError), trio.move_on_after(1):
            for _ in range(10):
                await nc.publish("alerts.flood", b"x" * 100)
        await trio.sleep(PACE_SECONDS)


async def refused(troubles: Troubles, nc: Client, faults: FaultDialer) -> None:
    """The server refuses one publish in three while there is trouble."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publishes, troubles, nc)
        while True:
            if troubles.of(nc):
                with faults.inject("publish", intermittent(error(), 1 / 3, Random(1))):
                    await troubles.over(nc)
            await trio.sleep(PACE_SECONDS)


async def reads_slowly(troubles: Troubles, nc: Client) -> None:
    """A subscription of ten messages that is read, but while there is trouble."""
    async with nc.subscribe("alerts.slow", pending_messages_max=10) as sub, trio.open_nursery() as nursery:
        nursery.start_soon(_publish_to, nc, "alerts.slow")
        while True:
            if troubles.of(nc):
                await trio.sleep(PACE_SECONDS)
            else:
                with trio.move_on_after(PACE_SECONDS):
                    await sub.receive()


async def gives_back(troubles: Troubles, nc: Client) -> None:
    """A consumer that acks, and in trouble gives messages back on their only delivery."""
    jetstream = JetStream(nc)
    await jetstream.create_stream(StreamConfig(name="TRIES", subjects=["alerts.tries"]))
    consumer = await jetstream.create_consumer("TRIES", ConsumerConfig(durable_name="tries", max_deliver=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_publish_to, nc, "alerts.tries")
        while True:
            for message in await consumer.fetch(10, expires_seconds=1):
                await (message.nak() if troubles.of(nc) else message.ack())


async def _publish_to(nc: Client, subject: str) -> None:
    while True:
        with suppress(NatsError):
            await nc.publish(subject, b"x")
        await trio.sleep(PACE_SECONDS)


# ------------------------------------------------------------------------------------------------ parts with a watch


async def watches(troubles: Troubles, nc: Client, collector: Collector, *, silent: tuple[str, ...]) -> None:
    """A watch over four servers of two regions that say at their monitoring endpoints how they are.

    While there is trouble some of them do not answer, or, if all do, none of them names a leader.
    """

    async def fetch(url: str) -> bytes:
        name = url.removeprefix("http://").removesuffix("/varz")
        await trio.lowlevel.checkpoint()
        if troubles.of(nc) and name in silent:
            raise ConnectionRefusedError(url)
        meta = {} if troubles.of(nc) and not silent else {"leader": "east-1"}
        said = {"server_name": name, "cluster": {"name": name[:4]}, "jetstream": {"meta": {"name": "_meta_", **meta}}}
        return json.dumps(said).encode()

    monitor = {name: f"http://{name}" for name in ("east-1", "east-2", "west-1", "west-2")}
    watch = ClusterWatch(nc, monitor=monitor, fetch=fetch, options=QUICK_WATCH)
    collector.add_watch(watch)
    await watch.run()


async def is_unready(troubles: Troubles, nc: Client, collector: Collector) -> None:
    """An instance that is ready, but while there is trouble."""
    collector.add_instance(Instance("instance-1", nc, lambda: not troubles.of(nc), region="east"))
    await trio.sleep_forever()


# ------------------------------------------------------------------------------------------------ parts with a router


async def _run(router: Router, nc: Client, subject: str, collector: Collector) -> None:
    collector.add_router(router, nc)
    async with trio.open_nursery() as nursery:
        await nursery.start(router.run, nc)
        nursery.start_soon(_publish_to, nc, subject)


def _fail(troubles: Troubles, nc: Client) -> None:
    if troubles.of(nc):
        raise ValueError("in trouble, as told")


async def fails(troubles: Troubles, nc: Client, collector: Collector, **options: Any) -> None:
    """A route without a stream, whose handler raises while there is trouble."""
    kill_switch: KillSwitch | None = options.pop("kill_switch", None)
    router = Router(nc.name, kill_switch=kill_switch)

    @router.route(f"alerts.{nc.name}", name="work", **options)
    async def work(message: Message) -> None:
        _fail(troubles, nc)

    await _run(router, nc, f"alerts.{nc.name}", collector)


async def tries_again(troubles: Troubles, nc: Client, collector: Collector) -> None:
    """A route from a stream, whose handler raises while there is trouble; what fails comes again soon."""
    await JetStream(nc).create_stream(StreamConfig(name="AGAIN", subjects=["alerts.again"]))
    router = Router(nc.name)

    @router.route("alerts.again", stream="AGAIN", name="work", retry=Retry(delays_seconds=(0.2,), max_deliver=500))
    async def work(message: Message) -> None:
        _fail(troubles, nc)

    await _run(router, nc, "alerts.again", collector)


async def gives_up(troubles: Troubles, nc: Client, collector: Collector) -> None:
    """A route from a stream, whose handler rejects messages while there is trouble."""
    await JetStream(nc).create_stream(StreamConfig(name="GIVEN", subjects=["alerts.given"]))
    await JetStream(nc).create_stream(StreamConfig(name="DEAD", subjects=["dead.>"]))
    router = Router(nc.name)

    @router.route("alerts.given", stream="GIVEN", name="work", dead_letter="dead.given")
    async def work(message: Message) -> None:
        if troubles.of(nc):
            raise Reject("in trouble, as told")

    await _run(router, nc, "alerts.given", collector)


async def is_pressed(troubles: Troubles, nc: Client, collector: Collector) -> None:
    """A router whose handlers take long while there is trouble, so that messages wait and are in flight."""
    router = Router(nc.name, backpressure=Backpressure(pending=5, in_flight=2, recovery_seconds=1))

    @router.route("alerts.pressed", name="work", concurrency=2, deadline_seconds=60)
    async def work(message: Message) -> None:
        await troubles.over(nc)

    await _run(router, nc, "alerts.pressed", collector)


# -------------------------------------------------------------------------------------------------------- the process


async def main(steady: str, taken_away: dict[str, str]) -> None:
    """Run all parts.

    Args:
        steady: the URL of a server with JetStream that stays.
        taken_away: part -> URL of the server that is taken away from it.
    """
    troubles, collector = Troubles(), Collector()
    refusing = FaultDialer(TCPDialer())
    breaker = Breaker(failures=3, successes=1, half_open_calls=1, open_seconds=1)
    kill_switch = KillSwitch(messages_min=5, window_seconds=5, pause_seconds=3)
    on_steady: dict[str, Part] = {
        "calm": publishes,
        "refused": partial(refused, faults=refusing),
        "slow": reads_slowly,
        "tries": gives_back,
        "again": partial(tries_again, collector=collector),
        "given": partial(gives_up, collector=collector),
        "fails": partial(fails, collector=collector),
        "breaks": partial(fails, collector=collector, breaker=breaker),
        "paused": partial(fails, collector=collector, kill_switch=kill_switch),
        "pressed": partial(is_pressed, collector=collector),
        "leaderless": partial(watches, collector=collector, silent=()),
        "cut": partial(watches, collector=collector, silent=("west-1", "west-2")),
        "node": partial(watches, collector=collector, silent=("east-2",)),
        "unready": partial(is_unready, collector=collector),
    }
    options: dict[str, dict[str, Any]] = {
        "exhausted": {"reconnect_attempts": 3},
        "queue": {"pending_operations_max": 50, "pending_policy": "error"},
    }
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, collector, steady)
        for name, part in on_steady.items():
            await nursery.start(_part, name, steady, part, troubles, collector, refusing if name == "refused" else None)
        for name, url in taken_away.items():
            part = floods if name == "queue" else publishes
            await nursery.start(_part, name, url, part, troubles, collector, None, options.get(name, {}))
        print("ready", flush=True)
        await _listen(troubles)
        nursery.cancel_scope.cancel()


async def _part(
    name: str,
    url: str,
    part: Part,
    troubles: Troubles,
    collector: Collector,
    dialer: FaultDialer | None,
    options: dict[str, Any] | None = None,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    async with open_client(url, name=name, dialer=dialer, **QUICK | (options or {})) as nc:
        collector.add(nc)
        task_status.started()
        await part(troubles, nc)


async def _serve(collector: Collector, steady: str, *, task_status: trio.TaskStatus[None]) -> None:
    async with open_client(steady, name="monitored") as nc, trio.open_nursery() as nursery:
        port = await nursery.start(serve_http, OperationApplication(nc, collector), 0)
        print(port, flush=True)
        task_status.started()


async def _listen(troubles: Troubles) -> None:
    """Take lines until standard input ends."""
    rest = b""
    stream = trio.lowlevel.FdStream(0)
    while chunk := await stream.receive_some(4_096):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            troubles.take(line.decode())


if __name__ == "__main__":
    trio.run(main, sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:]))
