"""Criteria: what was seen -> findings. Each is broken here by the one number that breaks it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from beamline_trio.scenarios import (
    Evidence,
    Expectations,
    Kind,
    Mark,
    PlannedFault,
    Sample,
    Settings,
    find_scenario,
    make_plan,
)
from beamline_trio.scenarios._conductor import Band, Repeats, Requests
from beamline_trio.scenarios._criteria import judge, measure
from beamline_trio.scenarios._ledger import Gap, Ledger
from beamline_trio.scenarios._limits import CONNECTIONS, MEMORY_BYTES, TASKS
from beamline_trio.scenarios._metering import Metering
from beamline_trio.scenarios._sampling import Spans
from beamline_trio.scenarios._streams import REMEMBERED_SECONDS
from beamline_trio.scenarios._uses import Use, UseSample

RATE = 10
ROLLING = find_scenario("5.3")


def sample(at: int, **changed: Any) -> Sample:
    numbers: dict[str, Any] = {
        "at": float(at), "begun": at * RATE, "acked": at * RATE, "ended": at * RATE, "outstanding": 0, "backlog": 0,
        "latency_seconds": 0.0, "ready": 1, "up": 1, "connected": True, "quorum": True, "leader": "", "regions": 0,
        "tasks": 50, "memory_bytes": 100_000_000, "connections": 3, "again": 0,
        "by_instance": (at * RATE,),
    }  # fmt: skip
    return Sample(**{**numbers, **changed})


def evidence(**changed: Any) -> Evidence:
    """A run of 2.1 in which everything was well."""
    scenario, settings = find_scenario("2.1"), Settings(duration_minutes=10, rate=RATE)
    plan = make_plan(scenario, settings)
    made: dict[str, Any] = {
        "scenario": scenario, "settings": settings, "plan": plan, "ledger": Ledger(lambda: 0.0, 4),
        "samples": [sample(at) for at in range(int(plan.seconds))], "bands": [], "ack_gaps": [], "end_gaps": [],
        "unready": [], "readiness_looks": 9_000, "ready_least": 1, "restarts": {}, "requests": None, "repeats": None,
        "metering": Metering(lambda: 0.0, 1.0), "uses": [], "balancer": None, "settled": True, "seconds": plan.seconds,
    }  # fmt: skip
    return Evidence(**{**made, **changed})


def marks(seen: Evidence) -> dict[str, Mark]:
    """What is not in order."""
    return {finding.name: finding.mark for finding in judge(seen, measure(seen)) if finding.mark is not Mark.OK}


def at_the_end(seen: Evidence, **changed: Any) -> Evidence:
    """The samples of the recovery are otherwise."""
    begins = seen.plan.recovery.begins
    samples = [attrs.evolve(one, **changed) if one.at >= begins else one for one in seen.samples]
    return attrs.evolve(seen, samples=samples)


def test_a_run_in_which_all_was_well_has_no_finding() -> None:
    """Every criterion is there, and none of them complains."""
    seen = evidence()
    assert marks(seen) == {}
    assert len(judge(seen, measure(seen))) >= 13


@pytest.mark.parametrize("on, mark", [("simulation", None), ("real", Mark.FAIL)])
def test_memory_is_compared_when_simulated_servers_forget_ids(on: str, mark: Mark | None) -> None:
    """Until then each message is kept by servers in the same process; what grows behind that is a leak."""
    settings = Settings(duration_minutes=75, rate=RATE, on=on)
    plan = make_plan(find_scenario("2.1"), settings)
    samples = [sample(at, memory_bytes=min(at, 600) * 600_000) for at in range(int(plan.seconds))]
    assert marks(evidence(plan=plan, settings=settings, samples=samples)).get("memory not grown") is mark
    leaking = [sample(at, memory_bytes=at * 600_000) for at in range(int(plan.seconds))]
    assert marks(evidence(plan=plan, settings=settings, samples=leaking))["memory not grown"] is Mark.FAIL


def test_a_run_that_ends_too_soon_behind_that_is_compared_with_its_base() -> None:
    """What the memory would be compared with is its own end, which hides whatever has grown."""
    settings = Settings(duration_minutes=12, rate=RATE)
    plan = make_plan(find_scenario("2.1"), settings)
    assert plan.recovery.begins < REMEMBERED_SECONDS + plan.base.ends - plan.base.begins < plan.seconds
    samples = [sample(at, memory_bytes=at * 600_000) for at in range(int(plan.seconds))]
    assert marks(evidence(plan=plan, settings=settings, samples=samples)) == {"memory not grown": Mark.FAIL}


def test_nothing_is_given_up_where_handlers_do_well() -> None:
    """A dead letter is not lost, and yet nothing that restarts may lead to; where handlers fail it is what must be."""
    ledger = Ledger(lambda: 0.0, 4)
    ledger.note_acked(number := ledger.begin(), duplicate=False)
    ledger.note_dead(number)
    assert marks(evidence(ledger=ledger)) == {"messages given up": Mark.FAIL}
    for name, may in (("1.2", True), ("1.3", False), ("4.2", False)):
        plan = make_plan(find_scenario(name), Settings(duration_minutes=10, rate=RATE))
        assert ("messages given up" in marks(evidence(ledger=ledger, plan=plan))) is not may


def test_a_base_that_does_not_reach_the_rate_is_told() -> None:
    """The machine has too little time: what is compared with that base says little, and the run does not hide it."""
    assert marks(evidence(settings=Settings(duration_minutes=10, rate=RATE / 0.96))) == {}
    slow = evidence(settings=Settings(duration_minutes=10, rate=RATE / 0.94))
    assert marks(slow) == {"throughput of the base": Mark.WARN}


@pytest.mark.parametrize(
    "name, field, limit",
    [
        ("tasks not grown", "tasks", TASKS),
        ("memory not grown", "memory_bytes", MEMORY_BYTES),
        ("connections not grown", "connections", CONNECTIONS),
    ],
)
def test_what_has_grown_beyond_a_limit_is_told_and_beyond_the_next_fails(name: str, field: str, limit: Any) -> None:
    """Tasks +50 and +100, memory +100 and +200 MB, connections +5 and +10."""
    before = getattr(sample(0), field)
    for more, mark in ((limit.warn, None), (limit.warn + 1, Mark.WARN), (limit.fail + 1, Mark.FAIL)):
        assert marks(at_the_end(evidence(), **{field: int(before + more)})).get(name) == mark


def test_throughput_that_is_not_back_fails() -> None:
    """Less than 95 % of the base's at the end: that is no warning, however little is missing."""
    seen = evidence()
    begins = seen.plan.recovery.begins
    for share, mark in ((0.96, None), (0.94, Mark.FAIL), (0.89, Mark.FAIL)):
        samples = [
            attrs.evolve(one, ended=int(begins * RATE + (one.at - begins) * RATE * share)) if one.at > begins else one
            for one in seen.samples
        ]
        found = marks(attrs.evolve(seen, samples=samples))
        assert found.get("throughput of the base is back") is mark


def test_a_recovery_that_takes_too_long_fails_and_one_that_was_cut_short_does_not() -> None:
    """Reconnect < 30 s, recovery < 5 min, be it behind the next fault: what comes back only later is too late."""
    seen = evidence()
    fault = PlannedFault(kind=Kind.PARTITION, phase="fault", begins=100, ends=110)
    band = Band(fault=fault, begins=100, healed=110)
    samples = [
        attrs.evolve(one, connected=not 100 <= one.at < 150, outstanding=500 if 100 <= one.at < 200 else 0)
        for one in seen.samples
    ]
    late = attrs.evolve(seen, samples=samples, bands=[band])
    assert marks(late) == {"reconnect after a fault": Mark.FAIL}
    soon = PlannedFault(kind=Kind.SERVER_LAME_DUCK, phase="fault", begins=130, ends=205)
    both = attrs.evolve(late, bands=[band, Band(fault=soon, begins=130, healed=205)])
    assert marks(both) == {"reconnect after a fault": Mark.FAIL}
    in_time = [attrs.evolve(one, connected=not 100 <= one.at < 139) for one in samples]
    assert marks(attrs.evolve(both, samples=in_time)) == {}
    never = [attrs.evolve(one, outstanding=500) if one.at >= 100 else one for one in seen.samples]
    assert "recovery after a fault" in marks(attrs.evolve(seen, samples=never, bands=[band]))


def test_gaps_count_but_for_those_of_a_quorum_that_was_lost_on_purpose() -> None:
    """never_idle_seconds is about faults under which throughput must go on."""
    scenario = attrs.evolve(find_scenario("2.1"), expectations=Expectations(never_idle_seconds=10))
    lost = PlannedFault(kind=Kind.QUORUM_LOSS, phase="fault", begins=100, ends=130)
    seen = evidence(scenario=scenario, end_gaps=[Gap(99, 140)], bands=[Band(fault=lost, begins=100, healed=130)])
    away = [attrs.evolve(one, quorum=not 100 <= one.at < 131) for one in seen.samples]
    away = [attrs.evolve(one, up=0) if 100 <= one.at < 131 else one for one in away]
    assert marks(attrs.evolve(seen, samples=away)) == {}
    name = "longest gap in throughput while there is a quorum"
    for gap in (Gap(89, 120), Gap(110, 141), Gap(80, 150)):  # too long before it, behind it, and both
        assert marks(attrs.evolve(seen, samples=away, end_gaps=[gap])) == {name: Mark.FAIL}
    found = marks(seen)
    assert found["loss of the quorum is seen, and its return"] is Mark.FAIL
    assert "longest gap in throughput" in marks(evidence(scenario=scenario, end_gaps=[Gap(200, 211)]))


def test_a_moment_without_a_ready_instance_fails_where_one_must_always_be() -> None:
    """Readiness is looked at every 100 ms."""
    scenario = attrs.evolve(find_scenario("2.1"), expectations=Expectations(always_ready=True))
    assert marks(evidence(scenario=scenario)) == {}
    assert marks(evidence(balancer=(900, 0))) == {}
    several = attrs.evolve(evidence(settings=Settings(load_balancer=True)), plan=make_plan(ROLLING, Settings()))
    assert marks(several)["load balancer"] is Mark.WARN
    assert marks(evidence(scenario=scenario, balancer=(900, 1))) == {"load balancer finds a ready instance": Mark.FAIL}
    never_looked, once = {"readiness_looks": 0, "ready_least": None}, {"unready": [(10.0, 10.1)], "ready_least": 0}
    for seen in (never_looked, once):
        found = marks(evidence(scenario=scenario, **seen))
        assert found == {"moments without an instance that is ready": Mark.FAIL}


def test_every_request_is_answered_in_its_time() -> None:
    """What took several attempts is told; what had none fails, and so does a run that asked for nothing."""
    for asked, failed, fails in ((200, 0, False), (200, 1, True), (0, 0, True)):
        found = marks(evidence(requests=Requests(asked=asked, again=3, failed=failed)))
        assert ("requests that were answered" in found) == fails


def test_what_was_done_is_remembered() -> None:
    """Each message that came again is recognised, where that can be seen, and none was done twice."""
    for repeated, recognised, fails in ((50, 50, False), (50, None, False), (50, 49, True), (0, 0, True)):
        found = marks(evidence(repeats=Repeats(repeated=repeated, recognised=recognised)))
        assert ("what was done is remembered over restarts" in found) == fails
    ledger = Ledger(lambda: 0.0, 4)
    ledger.begin()
    ledger.note_done(0, 1)
    ledger.note_done(0, 2)
    found = marks(evidence(ledger=ledger, repeats=Repeats(repeated=50, recognised=None)))
    assert "what was done is remembered over restarts" in found


def test_what_a_load_has_nothing_of_is_told_and_not_passed_over() -> None:
    """The decision router asks nothing and repeats nothing: 5.3 has not shown there what it says of that."""
    names = ("requests that were answered", "what was done is remembered over restarts")
    for scenario, mark in ((ROLLING, Mark.WARN), (find_scenario("2.1"), None)):
        found = marks(evidence(scenario=scenario, settings=Settings(duration_minutes=10, rate=RATE, load="decisions")))
        assert [found.get(name) for name in names] == [mark, mark]


def test_an_alert_is_raised_in_its_phase_and_nowhere_else() -> None:
    """Not at all, elsewhere too, or without an end: each is a failure."""
    scenario = attrs.evolve(find_scenario("2.1"), expectations=Expectations(alerts={"fault": "RouterQuorumLost"}))
    begins = evidence().plan.spans[1].begins

    def found(*outages: tuple[float, float]) -> bool:
        now = 0.0
        metering = Metering(lambda: now, 1.0)
        for number in range(60):
            now = number * metering.scrape_seconds
            lost = any(first <= now < last for first, last in outages)
            metering.book.take(now, {("watch", "router_cluster_quorum", ("watch",)): float(not lost)})
        return "alert RouterQuorumLost" in marks(evidence(scenario=scenario, metering=metering))

    assert not found((begins + 15, begins + 120))
    assert found()
    assert found((begins + 15, begins + 30))
    assert found((begins + 15, 10_000))
    assert found((0, 40), (begins + 15, begins + 120))


def test_a_load_balancer_may_have_nobody_only_while_nobody_is_ready() -> None:
    """Where readiness may be missing: for what lies within such a time, or so near that it was being looked at."""
    known = {"balancer": (900, 70), "unready": [(100.0, 103.0), (106.0, 110.0)]}
    assert marks(evidence(**known, unserved=[(101.0, 103.5), (104.0, 111.5)])) == {}
    assert marks(evidence(**known, unserved=[(98.5, 111.9)])) == {}
    failed = {"load balancer finds a ready instance": Mark.FAIL}
    for wrong in ((97.0, 103.0), (106.0, 112.5), (200.0, 200.1)):
        assert marks(evidence(**known, unserved=[(101.0, 102.0), wrong])) == failed
    assert marks(evidence(balancer=(0, 0))) == failed


def test_instances_that_watch_their_cluster_are_not_ready_without_a_quorum() -> None:
    """While it is lost there is a moment without a ready instance, and when it is back there are some again."""
    fault = PlannedFault(kind=Kind.QUORUM_LOSS, phase="fault", begins=100, ends=130)
    band = Band(fault=fault, begins=100, healed=130)
    seen = evidence(bands=[band], watching=True)

    def readiness(**ready: int) -> dict[str, Mark]:
        samples = [
            attrs.evolve(one, quorum=False, up=0, ready=ready["lost"])
            if 110 <= one.at < 131
            else attrs.evolve(one, ready=ready["back"])
            for one in seen.samples
        ]
        return marks(attrs.evolve(seen, samples=samples))

    assert readiness(lost=0, back=3) == {}
    assert readiness(lost=1, back=3) == {"readiness tells of the quorum": Mark.FAIL}
    assert readiness(lost=0, back=0)["readiness tells of the quorum"] is Mark.FAIL


def test_spans_are_from_the_first_look_to_the_first_that_is_otherwise() -> None:
    """What goes on at the end of a run is in them, too."""
    spans = Spans()
    for now, so in enumerate((False, True, True, False, False, True, True)):
        spans.look(float(now), so=so)
    assert spans.spans == [(1.0, 3.0), (5.0, 6.0)]


def test_what_comes_back_between_none_of_many_faults_fails() -> None:
    """Each is followed by another one in less than the five minutes that recovery may take; all of them in more."""
    settings = Settings(rate=RATE)
    plan = make_plan(find_scenario("2.1"), settings)
    bands = [Band(fault=fault, begins=fault.begins, healed=fault.ends) for fault in plan.faults]
    for last, fails in ((bands[1].healed - 10, False), (bands[-1].healed, True)):
        samples = [
            sample(at, outstanding=500 if bands[0].begins <= at < last else 0) for at in range(int(plan.seconds))
        ]
        found = marks(evidence(settings=settings, plan=plan, bands=bands, samples=samples))
        assert ("recovery after a fault" in found) == fails


def test_every_instance_comes_back() -> None:
    """The others take the messages meanwhile, and yet one that stays away has not reconnected."""
    settings = Settings(rate=RATE)
    plan = make_plan(ROLLING, settings)
    fault = plan.faults[0]
    bands = [Band(fault=fault, begins=fault.begins, healed=fault.ends)]
    for ready, found in ((3, {}), (2, {"reconnect after a fault": Mark.FAIL})):
        samples = [sample(at, ready=3 if at < fault.begins else ready) for at in range(int(plan.seconds))]
        samples = [attrs.evolve(one, ready=2) if fault.begins < one.at < fault.ends else one for one in samples]
        assert marks(evidence(settings=settings, plan=plan, bands=bands, samples=samples)) == found


def test_the_quorum_holds_whatever_happens_to_one_server() -> None:
    """Servers that run and groups that have a leader; but for what is to take it, and half a minute behind that."""
    plan = make_plan(find_scenario("5.1"), Settings(rate=RATE))
    one, lost = plan.faults[0], plan.faults[-1]
    bands = [Band(fault=fault, begins=fault.begins, healed=fault.ends) for fault in (one, lost)]

    def found(fault: PlannedFault, more: int, **changed: bool) -> bool:
        samples = [
            sample(at, ready=3, **changed) if fault.begins <= at < fault.ends + more else sample(at, ready=3)
            for at in range(int(plan.seconds))
        ]
        return "quorum holds" in marks(evidence(plan=plan, bands=bands, samples=samples))

    assert found(one, 0, quorum=False)
    assert found(one, 0, enough=False)
    assert not found(lost, 30, quorum=False, enough=False)
    assert found(lost, 40, quorum=False)


def test_a_region_that_stands_still_is_not_hidden_by_the_others() -> None:
    """Each region has its own silence, and one in which nothing ends at all fails."""
    scenario = attrs.evolve(find_scenario("5.2"), expectations=Expectations(never_idle_seconds=10))
    plan = make_plan(scenario, Settings(rate=RATE))
    samples = [sample(at) for at in range(int(plan.seconds))]
    now = 0.0
    ledger = Ledger(lambda: now, 4)

    def end(region: str, at: float) -> None:
        nonlocal now
        now = at
        number = ledger.begin()
        ledger.note_acked(number, duplicate=False)
        ledger.note_done(number, number, region)

    for at in (0, 9, 18):
        end("east", at)
    found = marks(evidence(scenario=scenario, plan=plan, samples=samples, ledger=ledger))
    assert found == {"longest gap in throughput of west": Mark.FAIL}
    for at in (0, 10, 20):
        end("west", at)
    assert marks(evidence(scenario=scenario, plan=plan, samples=samples, ledger=ledger)) == {}
    end("west", 31)
    assert marks(evidence(scenario=scenario, plan=plan, samples=samples, ledger=ledger)) == found


def test_an_instance_that_ends_by_itself_fails_the_run() -> None:
    """It is started again, so that nothing else may show it."""
    assert marks(evidence(deaths={"router-1": 0})) == {}
    found = marks(evidence(deaths={"router-1": 0, "router-2": 1}))
    assert found == {"instances that ended by themselves": Mark.FAIL}


def test_an_instance_that_is_a_process_has_a_memory_of_its_own() -> None:
    """It is in none of the samples of the process that runs the scenario; one that is not there at the end fails."""
    plan = evidence().plan

    def found(*memory: tuple[float, int]) -> dict[str, Mark]:
        uses = [UseSample(at, {}, {"router-1": Use(memory_bytes=number)}) for at, number in memory]
        return marks(evidence(uses=uses))

    assert found((0, 10**8), (plan.seconds, 2 * 10**8)) == {}
    assert found((0, 10**8), (plan.seconds, 2 * 10**8 + 1)) == {"memory of router-1 not grown": Mark.WARN}
    assert found((0, 10**8), (plan.seconds, 3 * 10**8 + 1)) == {"memory of router-1 not grown": Mark.FAIL}
    assert found((0, 10**8)) == {"memory of router-1 not grown": Mark.FAIL}


def test_a_last_recovery_that_was_not_seen_is_worse_than_the_first() -> None:
    """Neither is an earlier one taken for it, nor is a run of one fault one in which it was compared."""
    scenario = attrs.evolve(find_scenario("2.1"), expectations=Expectations(steady_recovery=True))
    faults = [PlannedFault(kind=Kind.PARTITION, phase="fault", begins=at, ends=at + 10) for at in (100, 200, 400)]
    bands = [Band(fault=fault, begins=fault.begins, healed=fault.ends) for fault in faults]
    seen = evidence(scenario=scenario, bands=bands)
    assert marks(seen) == {}
    never = [attrs.evolve(one, outstanding=500) if one.at >= 400 else one for one in seen.samples]
    assert marks(attrs.evolve(seen, samples=never))["the last recovery"] is Mark.FAIL
    assert marks(attrs.evolve(seen, bands=bands[:1])) == {"the last recovery": Mark.FAIL}


def test_the_last_recovery_is_no_worse_than_the_first() -> None:
    """Half as long again, or five seconds more, is no worse."""
    scenario = attrs.evolve(find_scenario("2.1"), expectations=Expectations(steady_recovery=True))
    faults = [PlannedFault(kind=Kind.PARTITION, phase="fault", begins=at, ends=at + 10) for at in (100, 300)]
    bands = [Band(fault=fault, begins=fault.begins, healed=fault.ends) for fault in faults]
    seen = evidence(scenario=scenario, bands=bands)
    for seconds, fails in ((5, False), (9, True)):
        samples = [attrs.evolve(one, outstanding=500 if 300 <= one.at < 310 + seconds else 0) for one in seen.samples]
        assert ("the last recovery" in marks(attrs.evolve(seen, samples=samples))) == fails


def band_of(kind: Kind, begins: float, healed: float, **changed: Any) -> Band:
    fault = PlannedFault(kind=kind, phase="fault", begins=begins, ends=healed, **changed)
    return Band(fault=fault, begins=begins, healed=healed)


@pytest.mark.parametrize(
    "kind, seconds, shown",
    [
        (Kind.SERVER_KILL, 3, {"up": 0}),
        (Kind.SERVER_STOP, 3, {"up": 0}),
        (Kind.SERVER_PAUSE, 3, {"up": 0}),
        (Kind.ROUTER_DRAIN, 3, {"ready": 0}),
        (Kind.ROUTER_KILL, 3, {"ready": 0}),
        (Kind.PARTITION, 20, {"by_instance": (1_000,)}),
    ],
)
def test_a_fault_that_did_nothing_fails_the_run(kind: Kind, seconds: int, shown: dict[str, Any]) -> None:
    """A run survives best what never happened: each fault must be seen, the second one as well as the first."""
    seen = evidence(bands=[band_of(kind, 100, 100 + seconds), band_of(kind, 300, 300 + seconds)])

    def found(*faults: int) -> dict[str, Mark]:
        samples = [
            attrs.evolve(one, **shown) if any(at < one.at < at + seconds for at in faults) else one
            for one in seen.samples
        ]
        return marks(attrs.evolve(seen, samples=samples))

    assert found(100, 300) == {}
    assert found() == found(100) == found(300) == {"faults that were brought": Mark.FAIL}


def handled_again(count: int) -> Ledger:
    """So many messages came a second time, and have ended."""
    ledger = Ledger(lambda: 0.0, 4)
    for _ in range(count):
        number = ledger.begin()
        ledger.note_handled(number, None, 2, "router-1")
        ledger.note_acked(number, duplicate=False)
        ledger.note_done(number, number + 1)
    return ledger


def test_a_fault_of_handlers_or_acks_has_met_some_where_there_were_enough() -> None:
    """In ten seconds at ten messages a second; of a few it may miss all."""
    fails = {"faults that were brought": Mark.FAIL}
    for kind in (Kind.HANDLERS_FAIL, Kind.HANDLERS_HANG, Kind.ACKS_LOST):
        band = band_of(kind, 100, 110)
        assert marks(evidence(bands=[attrs.evolve(band, met=0)])) == fails
        assert marks(evidence(bands=[attrs.evolve(band, met=1)], ledger=handled_again(1))) == {}
        assert marks(evidence(bands=[attrs.evolve(band_of(kind, 100, 101), met=0)])) == {}
        assert marks(evidence(bands=[attrs.evolve(band_of(kind, 100, 110, share=0.1), met=0)])) == {}


@pytest.mark.parametrize(
    "kind, seconds, met, least",
    [
        (Kind.HANDLERS_FAIL, 10, 7, 7),
        (Kind.HANDLERS_HANG, 30, 16, 1),
        (Kind.HANDLERS_HANG, 20, 16, 0),
        (Kind.ACKS_LOST, 30, 16, 0),
    ],
)
def test_what_failed_is_tried_again_or_given_up(kind: Kind, seconds: int, met: int, least: int) -> None:
    """Each failure of a handler, and some message of each hang that outlasts its deadline; of what is known here."""
    bands = [attrs.evolve(band_of(kind, at, at + seconds), met=met) for at in (100, 300)]
    for again in {0, max(0, 2 * least - 2), max(0, 2 * least - 1)}:
        ledger = handled_again(again)
        seen = evidence(bands=bands, ledger=ledger)
        assert marks(seen) == ({"what failed is tried again": Mark.FAIL} if least else {})
        assert marks(attrs.evolve(seen, deaths={"router-1": 0})) == {}
        number = ledger.begin()
        ledger.note_acked(number, duplicate=False)
        ledger.note_dead(number)
        assert ("what failed is tried again" in marks(seen)) is (again + 1 < 2 * least)


@pytest.mark.parametrize(
    "others, judged",
    [
        ([], True),
        ([(Kind.ROUTER_KILL, 120, 122)], True),
        ([(Kind.ROUTER_KILL, 130, 132)], False),
        ([(Kind.ROUTER_KILL, 130, 400)], False),
        ([(Kind.ROUTER_KILL, 240, 242)], True),
        ([(Kind.ROUTER_KILL, 210, 212)], False),
    ],
)
def test_who_is_drained_leaves_nothing(others: list[tuple[Kind, int, int]], judged: bool) -> None:
    """Nothing comes again behind a drain; of what does near another fault nobody knows whose it is."""
    drain = band_of(Kind.ROUTER_DRAIN, 200, 202)
    bands = [drain, *(attrs.evolve(band_of(*other), met=None) for other in others)]
    seen = evidence(bands=bands)
    name = "handled again behind 1 drains"
    before = [attrs.evolve(one, again=7) for one in seen.samples]
    assert name not in marks(attrs.evolve(seen, samples=before))
    after = [attrs.evolve(one, again=int(one.at > 230)) for one in seen.samples]
    assert (name in marks(attrs.evolve(seen, samples=after))) is judged


def test_what_came_again_before_is_of_something_else() -> None:
    """As of acks that were lost: it must not stand for what was not tried again."""
    bands = [attrs.evolve(band_of(Kind.HANDLERS_FAIL, 300, 310), met=5)]
    before = [attrs.evolve(one, again=min(int(one.at), 5)) for one in evidence().samples]
    seen = evidence(bands=bands, ledger=handled_again(5))
    assert marks(seen) == {}
    assert marks(attrs.evolve(seen, samples=before)) == {"what failed is tried again": Mark.FAIL}


def test_of_a_hang_that_few_messages_meet_none_may_outlast_the_deadline() -> None:
    """The first comes a few seconds behind its beginning."""
    bands = [attrs.evolve(band_of(Kind.HANDLERS_HANG, 100, 123), met=1)]
    for rate, fails in ((RATE, True), (0.3, False)):
        seen = evidence(bands=bands, settings=Settings(duration_minutes=10, rate=rate))
        assert ("what failed is tried again" in marks(seen)) is fails


def test_memory_that_the_system_does_not_tell_has_not_stayed_the_same() -> None:
    """It is not known, which fails as for all that is measured."""
    samples = [attrs.evolve(one, memory_bytes=0) for one in evidence().samples]
    assert marks(evidence(samples=samples)) == {"memory not grown": Mark.FAIL}


def test_a_region_that_was_cut_off_is_missed_by_the_watches() -> None:
    """Once the cut has lasted for as long as they take to tell; a shorter one shows in nothing."""
    plan = make_plan(find_scenario("5.2"), Settings(rate=RATE))
    name = "faults that were brought"

    def found(seconds: int, regions: int) -> bool:
        samples = [
            sample(at, up=6, ready=2, regions=regions if 400 < at < 400 + seconds else 2)
            for at in range(int(plan.seconds))
        ]
        bands = [band_of(Kind.REGION_CUT, 400, 400 + seconds, target="east")]
        return name in marks(evidence(plan=plan, samples=samples, bands=bands))

    assert not found(60, 1)
    assert found(60, 2)
    assert not found(10, 2)


def test_a_partition_is_that_of_its_target() -> None:
    """The others go on, and must not be taken for it."""
    plan = make_plan(ROLLING, Settings(duration_minutes=10, rate=RATE))
    bands = [band_of(Kind.PARTITION, 100, 130, target="router-2")]
    for still, fails in ((1, False), (0, True)):
        samples = [
            sample(
                at, ready=3, by_instance=tuple(1_000 if place == still and 100 < at < 130 else at for place in (0, 1))
            )
            for at in range(int(plan.seconds))
        ]
        seen = evidence(plan=plan, samples=samples, bands=bands, restarts={"router-1": [], "router-2": []})
        assert ("faults that were brought" in marks(seen)) is fails


def test_where_nothing_goes_wrong_nothing_comes_again_nothing_piles_up_and_nobody_is_called() -> None:
    """The scenario without faults; in the others all of that may be, for a while."""
    quiet = make_plan(find_scenario("4.1"), Settings(duration_minutes=10, rate=RATE))
    assert marks(evidence(plan=quiet)) == {}
    ledger = Ledger(lambda: 0.0, 4)
    ledger.note_handled(ledger.begin(), "key", 2, "router")
    ledger.note_acked(0, duplicate=False)
    ledger.note_done(0, 1)
    assert marks(evidence(plan=quiet, ledger=ledger)) == {"handled again without a fault": Mark.FAIL}
    assert marks(evidence(ledger=ledger)) == {}
    slow = [attrs.evolve(one, outstanding=4, backlog=2) if one.at > 540 else one for one in evidence().samples]
    assert marks(evidence(plan=quiet, samples=slow)) == {"queue depth at the end": Mark.FAIL}
    metering = Metering(lambda: 0.0, 1.0)
    for at in range(0, 600, 15):
        metering.book.take(float(at), {("router", "router_instance_ready", ("router", "")): 0.0})
    assert metering.raised
    assert marks(evidence(plan=quiet, metering=metering)) == {"alerts without a fault": Mark.FAIL}


def test_a_drain_that_had_to_be_cut_off_fails_the_run() -> None:
    """Others take over what it leaves, so that nothing else shows it."""
    assert marks(evidence(bad_drains={"router-1": 0})) == {}
    found = marks(evidence(bad_drains={"router-1": 0, "router-2": 1}))
    assert found == {"drains that did not end with exit code 0": Mark.FAIL}
