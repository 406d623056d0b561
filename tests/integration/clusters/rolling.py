"""One router instance after another is restarted, on a real cluster and under load: nobody notices.

    python -m tests.integration.clusters.rolling --rounds 2

Three instances are processes of `beamline run` on one durable and in one queue group. Each is sent SIGTERM, drains,
ends, and is started again, while messages come at an even rate, requests are asked of the group, and every 100 ms each
instance is asked whether it is ready, directly and through the machine's load balancer, where it has one.

Must not judge how fast anything is.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import attrs
import trio

from beamline_trio import Client, JetStream, NatsError, open_client
from beamline_trio.jetstream import StreamConfig
from beamline_trio.server_process import (
    Program,
    ProgramOptions,
    RealCluster,
    find_haproxy,
    open_cluster,
    open_load_balancer,
    open_program,
)
from beamline_trio.server_process._ports import choose_port
from beamline_trio.server_process._program import ready

from ._instance import ASK, DONE, DONE_STREAM, DURABLE
from ._load import DUPLICATE_WINDOW_SECONDS, RATE, STREAM, Load, numbers_of, open_load

ROOT = Path(__file__).resolve().parents[3]
ROUTER = "tests.integration.clusters._instance:router"
SAMPLE_SECONDS = 0.1
BALANCER_SECONDS = 20.0
"""Within which a load balancer has found instances that are ready."""
SAMPLE_LIMIT_SECONDS = 2.0
REQUEST_SECONDS = 0.05
REQUEST_ATTEMPTS = 5
BETWEEN_SECONDS = 2.0
FINISH_SECONDS = 60.0


@attrs.define
class Report:
    """The counts of one run.

    Attributes:
        restarts: of instances, each by SIGTERM.
        exit_codes: of the instances that ended; all 0 after an orderly drain.
        restart_seconds: from SIGTERM until it is ready again, of each restart.
        samples: how often readiness was asked for.
        ready_least: of the instances, at the worst moment.
        balancer: answers of the load balancer that were 200, of all; None = there is none.
        requests: asked of the queue group.
        failed: requests without an answer after five attempts.
        repeated: requests that took more than one.
        published: messages into the first stream.
        done: of them in the second one.
        lost: acknowledged, and not in the second one.
        twice: in the second one more than once.
        redelivered: deliveries of the durable beyond one for each message.
    """

    restarts: int = 0
    exit_codes: set[int] = attrs.field(factory=set)
    restart_seconds: list[float] = attrs.field(factory=list)
    samples: int = 0
    ready_least: int = 99
    balancer: tuple[int, int] | None = None
    requests: int = 0
    failed: int = 0
    repeated: int = 0
    published: int = 0
    done: int = 0
    lost: int = 0
    twice: int = 0
    redelivered: int = 0

    @property
    def holds(self) -> bool:
        """At least one instance was ready at all times, every request was answered, nothing was lost or done twice.

        Without a look, a request or a message nothing of that was shown.
        """
        if not (self.samples and self.requests and self.published and self.restarts):
            return False
        served = self.balancer is None or 0 < self.balancer[0] == self.balancer[1]
        kept = self.failed == self.lost == self.twice == 0 and self.done == self.published
        return self.ready_least >= 1 and served and kept and self.exit_codes == {0}


async def run_rolling(rounds: int = 1, *, instances: int = 3, rate: float = RATE) -> Report:
    """Restart each instance so many times, one after the other, and count.

    Args:
        rounds: times that each is restarted.
        instances: of the router.
        rate: messages a second.
    """
    report = Report()
    async with open_cluster("rolling") as cluster, open_client(*cluster.urls) as nc:
        servers = [(url, None) for url in cluster.urls]
        async with open_load(servers, rate=rate, chance=Random(1), consume=False) as load:
            await _create_target(JetStream(nc))
            async with _open_instances(cluster, instances) as (programs, pages), trio.open_nursery() as nursery:
                nursery.start_soon(_sample, pages, report)
                nursery.start_soon(_ask, nc, report)
                for _ in range(rounds):
                    for program in programs.values():
                        await trio.sleep(BETWEEN_SECONDS)
                        await _restart(program, report)
                await trio.sleep(BETWEEN_SECONDS)
                load.stop()
                await _finish(JetStream(nc), load)
                nursery.cancel_scope.cancel()
            await _count(JetStream(nc), load, report)
    return report


async def _create_target(js: JetStream) -> None:
    await js.create_stream(
        StreamConfig(
            name=DONE_STREAM,
            subjects=(DONE,),
            num_replicas=3,
            duplicate_window_seconds=DUPLICATE_WINDOW_SECONDS,
        )
    )


@asynccontextmanager
async def _open_instances(
    cluster: RealCluster, count: int
) -> AsyncGenerator[tuple[Mapping[str, Program], Mapping[str, tuple[str, int]]]]:
    """The instances by name, and where their pages are."""
    pages = {f"instance-{number}": ("127.0.0.1", choose_port("127.0.0.1")) for number in range(1, count + 1)}
    async with AsyncExitStack() as stack:
        programs = {
            name: await stack.enter_async_context(open_program(_options(cluster, name, port)))
            for name, (_, port) in pages.items()
        }
        yield programs, pages


def _options(cluster: RealCluster, name: str, port: int) -> ProgramOptions:
    given = [option for url in cluster.urls for option in ("--nats", url)]
    run = [sys.executable, "-m", "beamline_trio.cli", "run", ROUTER, "--name", name, "--metrics-port", str(port)]
    return ProgramOptions(
        command=(*run, *given),
        page=("127.0.0.1", port, "/readyz"),
        directory=ROOT,
        environment={"PYTHONPATH": str(ROOT)},
        start_timeout_seconds=40.0,
    )


async def _restart(program: Program, report: Report) -> None:
    began = trio.current_time()
    program.terminate()
    report.exit_codes.add(await program.wait_exit())
    await program.start()
    report.restarts += 1
    report.restart_seconds.append(round(trio.current_time() - began, 2))


async def _sample(pages: Mapping[str, tuple[str, int]], report: Report) -> None:
    """Every 100 ms: how many are ready, and whether the load balancer finds one."""
    async with AsyncExitStack() as stack:
        balancer: tuple[str, int] | None = None
        if (haproxy := find_haproxy()) is not None:
            balancer = await stack.enter_async_context(open_load_balancer(haproxy, pages))
            report.balancer = (0, 0)
            with trio.fail_after(BALANCER_SECONDS):
                while not await ready(*balancer, "/readyz"):  # noqa: ASYNC110 - until it has asked them
                    await trio.sleep(SAMPLE_SECONDS)
        due = trio.current_time()
        while True:
            due = max(due + SAMPLE_SECONDS, trio.current_time())
            await trio.sleep_until(due)
            await _sample_once(pages, balancer, report)


async def _sample_once(pages: Mapping[str, tuple[str, int]], balancer: tuple[str, int] | None, report: Report) -> None:
    found: dict[str, bool] = {}

    async def ask(name: str, host: str, port: int) -> None:
        found[name] = False
        with trio.move_on_after(SAMPLE_LIMIT_SECONDS):
            found[name] = await ready(host, port, "/readyz")

    async with trio.open_nursery() as nursery:
        for name, (host, port) in pages.items():
            nursery.start_soon(ask, name, host, port)
        if balancer is not None:
            nursery.start_soon(ask, "", *balancer)
    report.samples += 1
    if balancer is not None:
        good, of = report.balancer or (0, 0)
        report.balancer = (good + found.pop(""), of + 1)
    report.ready_least = min(report.ready_least, sum(found.values()))


async def _ask(nc: Client, report: Report) -> None:
    """Requests to the queue group, with a client's retry."""
    while True:
        await trio.sleep(REQUEST_SECONDS)
        report.requests += 1
        for attempt in range(REQUEST_ATTEMPTS):
            try:
                await nc.request(ASK, b"?")
            except NatsError:
                report.repeated += attempt == 0
                await trio.sleep(REQUEST_SECONDS)
            else:
                break
        else:
            report.failed += 1


async def _finish(js: JetStream, load: Load) -> None:
    """Until everything published has been acknowledged and passed on."""
    with trio.move_on_after(FINISH_SECONDS):
        while load.books.unacked or await _stored(js) < load.books.published:  # noqa: ASYNC110 - no event tells
            await trio.sleep(SAMPLE_SECONDS)


async def _stored(js: JetStream) -> int:
    return (await js.stream_info(DONE_STREAM)).state.messages


async def _count(js: JetStream, load: Load, report: Report) -> None:
    found = await numbers_of(js, DONE_STREAM)
    report.published = load.books.published
    report.done = len(found)
    report.lost = len(load.books.acked.keys() - found.keys())
    report.twice = sum(found.values()) - len(found)
    delivered = (await js.consumer_info(STREAM, DURABLE)).delivered
    report.redelivered = delivered.consumer_seq - delivered.stream_seq


def main(arguments: list[str]) -> int:
    """Run, print the counts, and return 0 if the laws hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.clusters.rolling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--rate", type=float, default=RATE, help="messages a second")
    given = parser.parse_args(arguments)
    logging.getLogger("beamline_trio").setLevel(logging.CRITICAL)

    async def run() -> Report:
        return await run_rolling(given.rounds, instances=given.instances, rate=given.rate)

    report = trio.run(run)
    print(report)
    if report.balancer is None:
        print("skipped: the load balancer, there is no haproxy here")
    print("one was ready at all times, nothing was lost or done twice" if report.holds else "A LAW IS BROKEN")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
