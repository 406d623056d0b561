"""How fast virtual time runs: `python -m benchmarks.simulation [--rounds N] [--profile WORKLOAD]`.

    autojump    sleeps of a second in a world, beside the same sleeps in trio's own MockClock, in turns
    heartbeat   an application that publishes and receives once a second, full client: simulated hours per wall second
    messages    100 messages a second through one server, full client: times real time

The two of `autojump` alternate, and their ratio is taken round by round, so that a busy machine slows both.
`--profile` prints where the processor's time goes.

Exit status: 0; a goal that is not reached is printed and does not change it.
"""

import argparse
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable

import trio
import trio.testing

from beamline_trio import open_client
from beamline_trio.simulation import World, run

AUTOJUMP_GOAL = 0.8
HEARTBEAT_GOALS = (1.0, 2.0)
MESSAGES_GOALS = (20.0, 40.0)
_SLEEPS = 20_000
_HEARTBEATS = 3_600
_MESSAGES = 6_000


async def _sleep() -> None:
    for _ in range(_SLEEPS):
        await trio.sleep(1)


async def _sleep_in(world: World) -> None:
    await world.start_server("a")
    await _sleep()


async def _beat(world: World, count: int, interval_seconds: float) -> None:
    server = await world.start_server("a")
    async with (
        open_client(server.url, dialer=world.dialer("app")) as nc,
        open_client(server.url, dialer=world.dialer("monitor")) as monitor,
        monitor.subscribe("heartbeat") as sub,
        trio.open_nursery() as nursery,
    ):
        await sub.confirmed()

        async def send() -> None:
            for number in range(count):
                await nc.publish("heartbeat", b"%d" % number)
                await trio.sleep(interval_seconds)

        nursery.start_soon(send)
        for number in range(count):
            message = await sub.receive()
            if message.payload != b"%d" % number:
                raise RuntimeError(f"heartbeat {number} is {message.payload!r}")


def autojump(rounds: int) -> list[float]:
    """Our rate over trio's, a ratio for each round."""
    ratios = []
    for _ in range(rounds):
        theirs = _seconds(lambda: trio.run(_sleep, clock=trio.testing.MockClock(autojump_threshold=0)))
        ours = _seconds(lambda: run(_sleep_in, seed=1))
        ratios.append(theirs / ours)
    return ratios


def heartbeat(rounds: int) -> list[float]:
    """Simulated hours per wall second, for each round."""
    return [_HEARTBEATS / 3600 / _seconds(_heartbeats) for _ in range(rounds)]


def messages(rounds: int) -> list[float]:
    """Times real time, for each round."""
    return [_MESSAGES / 100 / _seconds(_hundred_a_second) for _ in range(rounds)]


def _heartbeats() -> None:
    run(lambda world: _beat(world, _HEARTBEATS, 1.0), seed=1)


def _hundred_a_second() -> None:
    run(lambda world: _beat(world, _MESSAGES, 0.01), seed=1)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


WORKLOADS: dict[str, Callable[[], object]] = {
    "autojump": lambda: run(_sleep_in, seed=1),
    "heartbeat": _heartbeats,
    "messages": _hundred_a_second,
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--profile", choices=WORKLOADS, help="where the time goes in one workload")
    options = parser.parse_args()
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(WORKLOADS[options.profile])
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return 0
    _report("autojump, over trio's own rate", autojump(options.rounds), "x", (AUTOJUMP_GOAL,))
    _report("1 Hz heartbeat, simulated hours per wall second", heartbeat(options.rounds), "h/s", HEARTBEAT_GOALS)
    _report("100 messages a second, times real time", messages(options.rounds), "x", MESSAGES_GOALS)
    return 0


def _report(title: str, figures: list[float], unit: str, goals: tuple[float, ...]) -> None:
    median = statistics.median(figures)
    said = ", ".join(f"{'reached' if median >= goal else 'NOT reached'} {goal:g}" for goal in goals)
    print(f"{title:<50} {median:8.2f} {unit:<4} ({min(figures):.2f} to {max(figures):.2f}); {said}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
