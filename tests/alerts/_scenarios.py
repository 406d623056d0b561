"""What is done to bring each alert about, and to end it.

Must not look whether it fires: that is the runner's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs
import trio

from tests.alerts._prometheus import Prometheus
from tests.alerts._rig import Rig, RouterProcess

Act: TypeAlias = Callable[[Rig, Prometheus], Awaitable[None]]
# The client to which nothing is done.
CALM: Final = "calm"
LOSSES: Final = 6
ENDS: Final = 3
_LOOK_SECONDS: Final = 0.25


@attrs.frozen
class Scenario:
    """How one alert is brought about.

    Attributes:
        alert: its name.
        labels: what it must carry, so that no other trouble is taken for this one.
        fault: for the table.
        begin: bring it about.
        end: undo it.
    """

    alert: str
    labels: Callable[[Rig], dict[str, str]]
    fault: str
    begin: Act
    end: Act


def _client(part: str) -> Callable[[Rig], dict[str, str]]:
    return lambda rig: {"client": part, "instance": rig.application.address}


def _told(alert: str, part: str, fault: str) -> Scenario:
    """Trouble that the application makes for itself."""

    async def begin(rig: Rig, prometheus: Prometheus) -> None:
        await rig.application.tell("begin", part)

    async def end(rig: Rig, prometheus: Prometheus) -> None:
        await rig.application.tell("end", part)

    return Scenario(alert, _client(part), fault, begin, end)


def _outage(alert: str, part: str, fault: str) -> Scenario:
    """A server that is killed, and started again."""

    async def begin(rig: Rig, prometheus: Prometheus) -> None:
        server = rig.servers[part]
        server.kill()
        await server.wait_exit()

    async def end(rig: Rig, prometheus: Prometheus) -> None:
        await rig.servers[part].start()

    return Scenario(alert, _client(part), fault, begin, end)


async def _flap(rig: Rig, prometheus: Prometheus) -> None:
    server = rig.servers["flapping"]
    for _ in range(LOSSES):
        server.kill()
        await server.wait_exit()
        await server.start()
        await trio.sleep(2)


async def _nothing(rig: Rig, prometheus: Prometheus) -> None:
    await trio.lowlevel.checkpoint()


async def _fail_again_and_again(rig: Rig, prometheus: Prometheus) -> None:
    for _ in range(ENDS):
        await rig.failing.kill()
        await _until_up(prometheus, rig.failing, 0)
        await rig.failing.start()
        await _until_up(prometheus, rig.failing, 1)


async def _until_up(prometheus: Prometheus, router: RouterProcess, value: float) -> None:
    while await prometheus.values(f'up{{instance="{router.address}"}}') != [value]:  # noqa: ASYNC110
        await trio.sleep(_LOOK_SECONDS)


SCENARIOS: Final = (
    _outage("RouterNatsConnectionDown", "down", "its server is killed"),
    _outage("RouterNatsReconnectionExhausted", "exhausted", "its server is killed, 3 attempts"),
    Scenario(
        "RouterInstanceDown",
        lambda rig: {"instance": rig.gone.address},
        "beamline run is killed",
        lambda rig, prometheus: rig.gone.kill(),
        lambda rig, prometheus: rig.gone.start(),
    ),
    Scenario(
        "RouterInstanceFailing",
        lambda rig: {"instance": rig.failing.address},
        f"beamline run is killed {ENDS} times",
        _fail_again_and_again,
        _nothing,
    ),
    _told("RouterQuorumLost", "leaderless", "its servers name no leader"),
    _told("RouterRegionPartition", "cut", "a region of its servers is silent"),
    Scenario(
        "RouterNatsConnectionFlapping",
        _client("flapping"),
        f"its server is killed {LOSSES} times",
        _flap,
        _nothing,
    ),
    _outage("RouterNatsReconnectFailureRate", "reconnect", "its server is killed"),
    _told("RouterNatsPublishFailureRate", "refused", "1 publish in 3 is refused"),
    _outage("RouterNatsQueueFull", "queue", "its server is killed under load"),
    _told("RouterNatsSlowConsumer", "slow", "its subscription is not read"),
    _told("RouterJetStreamRedelivery", "again", "its handler raises"),
    _told("RouterJetStreamMaxDeliverExhausted", "tries", "last deliveries are naked"),
    _told("RouterDeadLetters", "given", "its handler rejects"),
    _told("RouterHandlerErrorRate", "fails", "its handler raises"),
    _told("RouterCircuitBreakerOpen", "breaks", "its handler raises, with a breaker"),
    _told("RouterIntakePaused", "paused", "its handler raises, with a kill switch"),
    _told("RouterBackpressure", "pressed", "its handler hangs"),
    _told("RouterClusterNodeDown", "node", "one of its servers is silent"),
    _told("RouterInstanceNotReady", "unready", "it is not ready"),
)
TAKEN_AWAY: Final = ("down", "exhausted", "flapping", "reconnect", "queue")
