"""Conducts a run: the load starts, the faults of the plan happen, all is worked off, and what was seen is handed over.

Must not judge, and must not know on what it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import trio

from ._actions import Ground, action_of
from ._ledger import Gap, Ledger
from ._load import Load
from ._metering import Metering
from ._plan import Plan, PlannedFault
from ._process_instance import ProcessInstance
from ._rig import Rig
from ._sampling import Sample, Sampler
from ._scenario import Scenario
from ._settings import Settings
from ._uses import UseSample

# All that was published has ended so long after the last message, or never will.
SETTLE_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.5


@attrs.frozen(kw_only=True)
class Band:
    """A fault as it was: from `begins` to `healed`, seconds since the start of the run.

    Attributes:
        met: handlers that failed or hung by it, or operations that it refused; None = it shows in other ways.
    """

    fault: PlannedFault
    begins: float
    healed: float
    met: int | None = None


@attrs.frozen(kw_only=True)
class Requests:
    """Requests of the instances: all, those that took more than one attempt, and those that were never answered."""

    asked: int
    again: int
    failed: int


@attrs.frozen(kw_only=True)
class Repeats:
    """Messages that were published twice, and how many of the second ones were known; None = that cannot be seen."""

    repeated: int
    recognised: int | None


@attrs.frozen(kw_only=True)
class Evidence:
    """What was seen in a run.

    Attributes:
        scenario, settings, plan: what was asked for.
        ledger: of its messages.
        samples: one a second.
        bands: the faults, by the time at which they were healed.
        ack_gaps: silences between PubAcks. end_gaps: between messages that ended. Of a second at least.
        unready: moments at which a site had no instance that was ready, and until when.
        readiness_looks: how often that was looked at.
        ready_least: instances that were ready at the worst of them; None = nobody looked.
        restarts: instance -> how long each of its restarts took, seconds from its end until it took messages again.
        requests: None = none were asked.
        repeats: None = nothing was published twice.
        metering: the metrics that alerts look at, and the alerts.
        uses: what each server and instance used.
        balancer: how often the load balancer was asked for an instance that is ready, and how often it had none; None
            = there was none. unserved: moments at which it had none, and until when.
        deaths: instance -> how often it ended by itself, where it is a process. bad_drains: likewise how often it was
            to drain and did not end with 0.
        watching: whether the instances watch their cluster, so that a lost quorum shows in readiness.
        settled: whether all that was published has ended.
        seconds: how long it was, with the working off behind the plan.
    """

    scenario: Scenario
    settings: Settings
    plan: Plan
    ledger: Ledger
    samples: Sequence[Sample]
    bands: Sequence[Band]
    ack_gaps: Sequence[Gap]
    end_gaps: Sequence[Gap]
    unready: Sequence[tuple[float, float]]
    readiness_looks: int
    ready_least: int | None
    restarts: dict[str, list[float]]
    requests: Requests | None
    repeats: Repeats | None
    metering: Metering
    uses: Sequence[UseSample]
    balancer: tuple[int, int] | None
    settled: bool
    seconds: float
    unserved: Sequence[tuple[float, float]] = ()
    deaths: Mapping[str, int] = attrs.field(factory=dict)
    bad_drains: Mapping[str, int] = attrs.field(factory=dict)
    watching: bool = False


async def conduct(
    rig: Rig, scenario: Scenario, settings: Settings, plan: Plan, tell: Callable[[Sample], object]
) -> Evidence:
    """Run a scenario on a rig.

    Args:
        rig: open.
        scenario: which.
        settings: how.
        plan: made of both.
        tell: called with every sample.
    """
    began_at = trio.current_time()

    def now() -> float:
        return trio.current_time() - began_at

    ledger = Ledger(now, scenario.max_deliver)
    metering = Metering(now, plan.scale)
    load = Load(rig, scenario, plan.topology, settings, ledger, metering)
    sampler = Sampler(now, rig, load, ledger, tell)
    bands: list[Band] = []
    async with load.running(), trio.open_nursery() as nursery:
        began_at = trio.current_time()
        nursery.start_soon(sampler.run)
        nursery.start_soon(sampler.watch_uses)
        nursery.start_soon(metering.run)
        if scenario.expectations.always_ready or load.balancer is not None:
            nursery.start_soon(sampler.watch_readiness)
        async with trio.open_nursery() as faults:
            for fault in plan.faults:
                faults.start_soon(_carry_out, Ground(rig, load), fault, now, bands)
            await trio.sleep_until(began_at + plan.seconds)
        load.stop()
        settled = await _settle(load, ledger)
        nursery.cancel_scope.cancel()
    processes = {name: one for name, one in load.instances.items() if isinstance(one, ProcessInstance)}
    return Evidence(
        scenario=scenario,
        settings=settings,
        plan=plan,
        ledger=ledger,
        samples=sampler.samples,
        bands=bands,
        ack_gaps=ledger.acked.gaps,
        end_gaps=ledger.ended.gaps,
        unready=sampler.unready,
        readiness_looks=sampler.looks,
        ready_least=sampler.least,
        restarts={name: instance.restart_seconds for name, instance in load.instances.items()},
        requests=_requests(load),
        repeats=_repeats(load),
        metering=metering,
        uses=sampler.uses,
        balancer=None if load.balancer is None else (load.balancer.asked, load.balancer.refused),
        settled=settled,
        seconds=now(),
        unserved=sampler.unserved,
        deaths={name: one.deaths for name, one in processes.items()},
        bad_drains={name: one.bad_drains for name, one in processes.items()},
        watching=load.watching,
    )


async def _carry_out(ground: Ground, fault: PlannedFault, now: Callable[[], float], bands: list[Band]) -> None:
    await trio.sleep(max(0.0, fault.begins - now()))
    begins = now()
    async with action_of(fault.kind)(ground, fault) as met:
        # What ends in order, or is waited for, may have taken longer than it was to be away.
        await trio.sleep(max(0.0, fault.ends - now()))
        count = None if met is None else met()
    bands.append(Band(fault=fault, begins=begins, healed=now(), met=count))


def _requests(load: Load) -> Requests | None:
    requesters = [site.requester for site in load.sites if site.requester is not None]
    if not requesters:
        return None
    asked, again, failed = (sum(getattr(one, name) for one in requesters) for name in ("asked", "again", "failed"))
    return Requests(asked=asked, again=again, failed=failed)


def _repeats(load: Load) -> Repeats | None:
    repeaters = [site.repeater for site in load.sites if site.repeater is not None]
    if not repeaters:
        return None
    known = [instance.recognised for instance in load.instances.values()]
    seen = [one for one in known if one is not None]
    recognised = sum(seen) if len(seen) == len(known) else None
    return Repeats(repeated=sum(one.repeated for one in repeaters), recognised=recognised)


async def _settle(load: Load, ledger: Ledger) -> bool:
    """Wait until every message has ended; False: it has not."""
    with trio.move_on_after(SETTLE_SECONDS):
        while True:
            if load.idle and ledger.ended.count >= ledger.begun:
                return True
            await trio.sleep(_LOOK_SECONDS)
    return False
