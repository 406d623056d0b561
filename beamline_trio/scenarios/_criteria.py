"""What must hold of a run: each criterion is a pure function of what was seen, and gives a finding with its numbers.

Must not run or write anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import Final

import attrs

from . import _limits as limits
from ._conductor import Evidence
from ._ledger import Gap
from ._limits import Limit, Mark
from ._recovery import THROUGHPUT_SHARE, Recovery, base_throughput, recoveries, throughput
from ._sampling import Sample
from ._scenario import Kind

_LISTED_MAX: Final = 5
_STEADY_FACTOR: Final = 1.5
_STEADY_SECONDS: Final = 5.0
# It asks every 100 ms, and whoever looks at the instances waits for an answer for up to a second.
_BALANCER_SECONDS: Final = 2.0
_FULL_RATE: Final = 100.0


@attrs.frozen(kw_only=True)
class Finding:
    """Whether a criterion holds.

    Attributes:
        name: of the criterion.
        mark: how it stands.
        value: what was found, in words.
        limit: what was asked for.
    """

    name: str
    mark: Mark
    value: str
    limit: str


@attrs.frozen(kw_only=True)
class Measured:
    """What is counted from the evidence before it is judged.

    Attributes:
        base_rate, end_rate: messages that ended in a second, in the base and at the end of the recovery.
        recoveries: of every fault.
        base, end: samples of the base, and of the end of the recovery.
    """

    base_rate: float
    end_rate: float
    recoveries: Sequence[Recovery]
    base: Sequence[Sample]
    end: Sequence[Sample]


def measure(evidence: Evidence) -> Measured:
    """Count what the criteria are about."""
    plan, samples = evidence.plan, evidence.samples
    base = base_throughput(samples, plan.base)
    last = plan.recovery
    half = (last.begins + last.ends) / 2
    healed = [(band.fault, band.healed) for band in sorted(evidence.bands, key=lambda band: band.begins)]
    begins = plan.base.begins + (plan.base.ends - plan.base.begins) / 2
    return Measured(
        base_rate=base,
        end_rate=throughput(samples, half, last.ends),
        recoveries=recoveries(samples, healed, base),
        base=[one for one in samples if begins <= one.at <= plan.base.ends],
        end=[one for one in samples if half <= one.at <= last.ends],
    )


def judge(evidence: Evidence, measured: Measured) -> list[Finding]:
    """All findings, those that failed first."""
    findings = [finding for criterion in _CRITERIA for finding in criterion(evidence, measured)]
    order = [Mark.FAIL, Mark.WARN, Mark.OK]
    return sorted(findings, key=lambda finding: order.index(finding.mark))


# Messages


def _messages(evidence: Evidence, _: Measured) -> Iterable[Finding]:
    ledger = evidence.ledger
    yield _nothing("acked messages lost", len(lost := ledger.lost()), lost)
    yield _nothing("publishes of unknown fate", len(unknown := ledger.unknown()), unknown)
    yield _nothing("effects stored twice", ledger.stored_twice)
    yield _nothing("effects of nothing", ledger.unasked)
    yield _nothing(f"deliveries beyond max_deliver {evidence.scenario.max_deliver}", ledger.over_delivered)
    yield _nothing("first deliveries out of their key's order", ledger.out_of_order)
    waiting = ledger.begun - ledger.ended.count
    yield Finding(
        name="queue depth back to 0",
        mark=Mark.OK if evidence.settled else Mark.FAIL,
        value=f"{waiting} of {ledger.begun} wait",
        limit="0 within 300 s of the last message",
    )


def _nothing(name: str, count: int, which: Sequence[int] = ()) -> Finding:
    listed = f" ({', '.join(str(one) for one in which[:_LISTED_MAX])}{', ...' if count > _LISTED_MAX else ''})"
    return Finding(
        name=name, mark=Mark.FAIL if count else Mark.OK, value=f"{count}{listed if which else ''}", limit="0"
    )


# Recovery


def _throughput(evidence: Evidence, measured: Measured) -> Iterable[Finding]:
    """What a machine cannot bear before any fault is told: nothing that is compared with it says much."""
    rate = evidence.settings.rate
    mark = Mark.OK if measured.base_rate >= THROUGHPUT_SHARE * rate else Mark.WARN
    text, limit = f"{measured.base_rate:.1f} of {rate:g} a second", f">= {THROUGHPUT_SHARE:.0%}"
    yield Finding(name="throughput of the base", mark=mark, value=text, limit=limit)
    share = measured.end_rate / measured.base_rate if measured.base_rate else 0.0
    mark = limits.THROUGHPUT_LOSS.mark(1 - share) if share >= THROUGHPUT_SHARE else Mark.FAIL
    text = f"{share:.1%} ({measured.end_rate:.1f} of {measured.base_rate:.1f} a second)"
    yield Finding(name="throughput of the base is back", mark=mark, value=text, limit=f">= {THROUGHPUT_SHARE:.0%}")


def _reconnects(_: Evidence, measured: Measured) -> Iterable[Finding]:
    yield _within("reconnect", measured, lambda one: one.reconnect_seconds, limits.RECONNECT_SECONDS)
    yield _within("recovery", measured, lambda one: one.recovery_seconds, limits.RECOVERY_SECONDS)


def _within(name: str, measured: Measured, read: Callable[[Recovery], float | None], most: float) -> Finding:
    """What was not seen fails when there was time for it; a shorter time until the next fault refutes nothing."""
    seen = [seconds for one in measured.recoveries if (seconds := read(one)) is not None]
    missing = [one for one in measured.recoveries if read(one) is None]
    too_late = sum(one.watched_seconds >= most for one in missing)
    value = f"longest {max(seen, default=0.0):.1f} s of {len(measured.recoveries)}"
    if missing:
        value += f", {too_late} not in time, {len(missing) - too_late} cut short by the next fault"
    mark = Mark.FAIL if too_late or max(seen, default=0.0) >= most else Mark.OK
    return Finding(name=f"{name} after a fault", mark=mark, value=value, limit=f"< {most:g} s")


# Resources


def _resources(_: Evidence, measured: Measured) -> Iterable[Finding]:
    yield _grown("tasks", limits.TASKS, measured, lambda sample: sample.tasks, 1, "")
    yield _grown("memory", limits.MEMORY_BYTES, measured, lambda sample: sample.memory_bytes, 1_000_000, " MB")
    yield _grown("connections", limits.CONNECTIONS, measured, lambda sample: sample.connections, 1, "")


def _grown(
    name: str, limit: Limit, measured: Measured, read: Callable[[Sample], int], unit: int, suffix: str
) -> Finding:
    before = median([read(sample) for sample in measured.base] or [0])
    after = median([read(sample) for sample in measured.end] or [0])
    value = f"{before / unit:.0f} -> {after / unit:.0f}{suffix}"
    text = f"+{limit.warn / unit:.0f} warn, +{limit.fail / unit:.0f}{suffix} fail"
    return Finding(name=f"{name} not grown", mark=limit.mark(after - before), value=value, limit=text)


# What a scenario expects beside that


def _expected(evidence: Evidence, measured: Measured) -> Iterable[Finding]:
    expected = evidence.scenario.expectations
    if expected.dead_letters_min:
        # A slower or shorter run has so many fewer.
        part = evidence.settings.rate / _FULL_RATE * evidence.plan.scale
        least = max(1, int(expected.dead_letters_min * min(1.0, part)))
        mark = Mark.OK if evidence.ledger.dead >= least else Mark.FAIL
        yield Finding(name="messages given up", mark=mark, value=str(evidence.ledger.dead), limit=f">= {least}")
    if expected.never_idle_seconds is not None:
        longest = max((gap.seconds for gap in _gaps_with_a_quorum(evidence)), default=0.0)
        mark = Mark.OK if longest <= expected.never_idle_seconds else Mark.FAIL
        limit = f"<= {expected.never_idle_seconds:g} s"
        cut = any(band.fault.kind is Kind.QUORUM_LOSS for band in evidence.bands)
        name = "longest gap in throughput" + (" while there is a quorum" if cut else "")
        yield Finding(name=name, mark=mark, value=f"{longest:.1f} s", limit=limit)
    if expected.always_ready:
        yield _nothing("moments without an instance that is ready", len(evidence.unready))
    yield from _balanced(evidence)
    yield from _quorum(evidence)
    if expected.steady_recovery:
        yield from _steady(measured)


def _balanced(evidence: Evidence) -> Iterable[Finding]:
    """What was asked for and is not there is told: it is not as if it had held."""
    if evidence.balancer is not None:
        asked, refused = evidence.balancer
        always = evidence.scenario.expectations.always_ready
        # Where readiness may be missing, as without a quorum, the load balancer may say so; else it may not.
        wrong = refused if always else len(list(_unserved_though_ready(evidence)))
        mark = Mark.OK if asked and not wrong else Mark.FAIL
        value = f"{refused} of {asked} times it had none"
        limit = "0" if always else f"none while an instance is ready, give or take {_BALANCER_SECONDS:g} s"
        yield Finding(name="load balancer finds a ready instance", mark=mark, value=value, limit=limit)
    elif evidence.settings.load_balancer and evidence.plan.topology.instances > 1:
        value, limit = "none: the instances are tasks of one process here", "5.1 or 5.3 on real servers"
        yield Finding(name="load balancer", mark=Mark.WARN, value=value, limit=limit)


def _unserved_though_ready(evidence: Evidence) -> Iterator[tuple[float, float]]:
    """When the load balancer had no instance although one was ready."""
    excused: list[tuple[float, float]] = []
    for begins, ends in evidence.unready:
        if excused and begins - _BALANCER_SECONDS <= excused[-1][1]:
            excused[-1] = (excused[-1][0], ends + _BALANCER_SECONDS)
        else:
            excused.append((begins - _BALANCER_SECONDS, ends + _BALANCER_SECONDS))
    for begins, ends in evidence.unserved:
        if not any(first <= begins and ends <= last for first, last in excused):
            yield begins, ends


def _gaps_with_a_quorum(evidence: Evidence) -> Iterator[Gap]:
    """Gaps but for those that touch a time in which nothing could be stored, on purpose."""
    lost = [band for band in evidence.bands if band.fault.kind is Kind.QUORUM_LOSS]
    for gap in evidence.end_gaps:
        if not any(gap.begins < band.healed and band.begins < gap.ends for band in lost):
            yield gap


def _quorum(evidence: Evidence) -> Iterable[Finding]:
    """The loss of the quorum shows while it lasts, and not behind it."""
    for band in evidence.bands:
        if band.fault.kind is not Kind.QUORUM_LOSS:
            continue
        during = [one for one in evidence.samples if band.begins + 1 < one.at < band.healed]
        behind = [one for one in evidence.samples if one.at > band.healed + limits.RECONNECT_SECONDS]
        seen, back = any(not one.quorum for one in during), bool(behind) and behind[0].quorum
        value = f"{'seen' if seen else 'not seen'}, {'back' if back else 'not back'}"
        mark = Mark.OK if seen and back else Mark.FAIL
        yield Finding(name="loss of the quorum is seen, and its return", mark=mark, value=value, limit="seen, back")
        if evidence.watching:
            yield _quorum_in_readiness(during, behind)


def _quorum_in_readiness(during: Sequence[Sample], behind: Sequence[Sample]) -> Finding:
    """Instances that watch their cluster are not ready without a quorum, and are again with one."""
    least, after = min((one.ready for one in during), default=-1), behind[0].ready if behind else 0
    mark = Mark.OK if not least and after else Mark.FAIL
    value = f"{least} ready at the least, {after} again"
    return Finding(name="readiness tells of the quorum", mark=mark, value=value, limit="0, and some again")


def _steady(measured: Measured) -> Iterable[Finding]:
    times = [one.recovery_seconds for one in measured.recoveries if one.recovery_seconds is not None]
    if len(times) < 2:
        return
    first, last = times[0], times[-1]
    mark = Mark.OK if last <= max(first * _STEADY_FACTOR, first + _STEADY_SECONDS) else Mark.FAIL
    value, limit = f"{last:.1f} s", f"no worse than the first, {first:.1f} s"
    yield Finding(name="the last recovery", mark=mark, value=value, limit=limit)


_CRITERIA: Final = (_messages, _throughput, _reconnects, _resources, _expected)
