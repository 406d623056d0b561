"""What must hold of a run: each criterion is a pure function of what was seen, and gives a finding with its numbers.

Must not run or write anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Final

import attrs

from . import _limits as limits
from ._availability import available
from ._brought import brought
from ._conductor import Evidence
from ._finding import Finding, holds, nothing
from ._ledger import Gap
from ._limits import Limit, Mark
from ._recovery import THROUGHPUT_SHARE, Recovery, base_throughput, recoveries, settled_depth, throughput
from ._sampling import Sample
from ._scenario import Kind
from ._settings import SIMULATION
from ._streams import REMEMBERED_SECONDS
from ._work import ACK_WAIT_SECONDS, DEADLINE_SECONDS

# Where handlers fail, or their acks do not arrive, a message may be given up. One that hangs is cancelled and tried
# again, and hangs no longer by then.
_GIVES_UP: Final = frozenset((Kind.HANDLERS_FAIL, Kind.ACKS_LOST))
_OF_HANDLERS: Final = frozenset((Kind.HANDLERS_FAIL, Kind.HANDLERS_HANG))
# Of a hang so much longer than a handler's deadline some message has come again.
_HANG_SECONDS: Final = 2.0
# What an instance had in hand that died has come again by then.
_QUIET_SECONDS: Final = 2.5 * ACK_WAIT_SECONDS
_STEADY_FACTOR: Final = 1.5
_STEADY_SECONDS: Final = 5.0
_FULL_RATE: Final = 100.0


@attrs.frozen(kw_only=True)
class Measured:
    """What is counted from the evidence before it is judged.

    Attributes:
        base_rate, end_rate: messages that ended in a second, in the base and at the end of the recovery.
        recoveries: of every fault.
        base, end: samples of the base, and of the end of the recovery.
        filled: samples that the memory at the end is compared with.
    """

    base_rate: float
    end_rate: float
    recoveries: Sequence[Recovery]
    base: Sequence[Sample]
    end: Sequence[Sample]
    filled: Sequence[Sample]


def measure(evidence: Evidence) -> Measured:
    """Count what the criteria are about."""
    plan, samples = evidence.plan, evidence.samples
    base = base_throughput(samples, plan.base)
    last = plan.recovery
    half = (last.begins + last.ends) / 2
    healed = [(band.fault, band.healed) for band in sorted(evidence.bands, key=lambda band: band.begins)]
    begins = plan.base.begins + (plan.base.ends - plan.base.begins) / 2
    base_samples = [one for one in samples if begins <= one.at <= plan.base.ends]
    return Measured(
        base_rate=base,
        end_rate=throughput(samples, half, last.ends),
        recoveries=recoveries(samples, healed, base, plan.topology.instances * max(1, len(plan.topology.regions))),
        base=base_samples,
        end=[one for one in samples if half <= one.at <= last.ends],
        filled=_filled(evidence) or base_samples,
    )


def _filled(evidence: Evidence) -> list[Sample]:
    """Samples since the servers of a simulation, which share this process, have begun to forget message ids.

    Before, their memory grows with every message. Empty where they are elsewhere, or the run is too short.
    """
    plan = evidence.plan
    begins, ends = REMEMBERED_SECONDS, REMEMBERED_SECONDS + plan.base.ends - plan.base.begins
    if evidence.settings.on != SIMULATION or ends > plan.recovery.begins:
        return []
    return [one for one in evidence.samples if begins <= one.at <= ends]


def judge(evidence: Evidence, measured: Measured) -> list[Finding]:
    """All findings, those that failed first."""
    findings = [finding for criterion in _CRITERIA for finding in criterion(evidence, measured)]
    order = [Mark.FAIL, Mark.WARN, Mark.OK]
    return sorted(findings, key=lambda finding: order.index(finding.mark))


# Messages


def _messages(evidence: Evidence, _: Measured) -> Iterable[Finding]:
    ledger = evidence.ledger
    yield nothing("acked messages lost", len(lost := ledger.lost()), lost)
    yield nothing("publishes of unknown fate", len(unknown := ledger.unknown()), unknown)
    yield nothing("effects stored twice", ledger.stored_twice)
    yield nothing("effects of nothing", ledger.unasked)
    yield nothing(f"deliveries beyond max_deliver {evidence.scenario.max_deliver}", ledger.over_delivered)
    yield nothing("first deliveries out of their key's order", ledger.out_of_order)
    waiting = ledger.begun - ledger.ended.count
    yield Finding(
        name="queue depth back to 0",
        mark=Mark.OK if evidence.settled else Mark.FAIL,
        value=f"{waiting} of {ledger.begun} wait",
        limit="0 within 300 s of the last message",
    )


# Recovery


def _throughput(evidence: Evidence, measured: Measured) -> Iterable[Finding]:
    """What a machine cannot bear before any fault is told: nothing that is compared with it says much."""
    rate = evidence.settings.rate
    mark = Mark.OK if measured.base_rate >= THROUGHPUT_SHARE * rate else Mark.WARN
    text, limit = f"{measured.base_rate:.1f} of {rate:g} a second", f">= {THROUGHPUT_SHARE:.0%}"
    yield Finding(name="throughput of the base", mark=mark, value=text, limit=limit)
    share = measured.end_rate / measured.base_rate if measured.base_rate else 0.0
    text = f"{share:.1%} ({measured.end_rate:.1f} of {measured.base_rate:.1f} a second)"
    yield holds("throughput of the base is back", share >= THROUGHPUT_SHARE, text, limit)


def _reconnects(_: Evidence, measured: Measured) -> Iterable[Finding]:
    # Faults that follow each other sooner than that leave no time; but what comes back between none of them fails.
    reconnects = [(one.reconnect_seconds, one.reconnect_waited_seconds) for one in measured.recoveries]
    yield _within("reconnect", reconnects, limits.RECONNECT_SECONDS)
    waits = [(one.recovery_seconds, one.waited_seconds) for one in measured.recoveries]
    yield _within("recovery", waits, limits.RECOVERY_SECONDS)


def _within(name: str, took: Sequence[tuple[float | None, float]], most: float) -> Finding:
    """What was not seen before the next fault fails when there was time for it; a shorter time refutes nothing.

    Args:
        name: of what is to be seen.
        took: of each fault the seconds until it was seen, or None, and for how long it was looked for.
        most: it must take less.
    """
    seen = [seconds for seconds, _ in took if seconds is not None]
    missing = [looked for seconds, looked in took if seconds is None]
    too_late = sum(looked >= most for looked in missing)
    value = f"longest {max(seen, default=0.0):.1f} s of {len(took)}"
    if missing:
        value += f", {too_late} not in time, {len(missing) - too_late} cut short by the next fault"
    mark = Mark.FAIL if too_late or max(seen, default=0.0) >= most else Mark.OK
    return Finding(name=f"{name} after a fault", mark=mark, value=value, limit=f"< {most:g} s")


# Resources


def _resources(evidence: Evidence, measured: Measured) -> Iterable[Finding]:
    base, filled, end = measured.base, measured.filled, measured.end
    yield _grown("tasks", limits.TASKS, [one.tasks for one in base], [one.tasks for one in end])
    before, after = ([one.memory_bytes for one in some if one.memory_bytes] for some in (filled, end))
    yield _memory("memory", before, after)
    connections = [one.connections for one in base], [one.connections for one in end]
    yield _grown("connections", limits.CONNECTIONS, *connections)
    yield from _processes(evidence)


def _processes(evidence: Evidence) -> Iterable[Finding]:
    """The memory of instances that are processes of their own is in none of the samples."""
    plan = evidence.plan
    end_begins = (plan.recovery.begins + plan.recovery.ends) / 2
    known: dict[str, list[tuple[float, int]]] = {}
    for sample in evidence.uses:
        for name, use in sample.instances.items():
            if use.memory_bytes is not None:
                known.setdefault(name, []).append((sample.at, use.memory_bytes))
    for name, seen in sorted(known.items()):
        before = [value for at, value in seen if at <= plan.base.ends]
        after = [value for at, value in seen if at >= end_begins]
        yield _memory(f"memory of {name}", before, after)


def _memory(name: str, before: Sequence[int], after: Sequence[int]) -> Finding:
    return _grown(name, limits.MEMORY_BYTES, before, after, 1_000_000, " MB")


def _grown(
    name: str, limit: Limit, before: Sequence[int], after: Sequence[int], unit: int = 1, suffix: str = ""
) -> Finding:
    """Medians are compared; what nobody has seen is not as if it had not grown."""
    text = f"+{limit.warn / unit:.0f} warn, +{limit.fail / unit:.0f}{suffix} fail"
    if not before or not after:
        return holds(f"{name} not grown", False, "not known", text)
    first, last = median(before), median(after)
    value = f"{first / unit:.0f} -> {last / unit:.0f}{suffix}"
    return Finding(name=f"{name} not grown", mark=limit.mark(last - first), value=value, limit=text)


# What a scenario expects beside that


def _expected(evidence: Evidence, measured: Measured) -> Iterable[Finding]:
    expected = evidence.scenario.expectations
    if expected.dead_letters_min:
        # A slower or shorter run has so many fewer.
        part = evidence.settings.rate / _FULL_RATE * evidence.plan.scale
        least = max(1, int(expected.dead_letters_min * min(1.0, part)))
        mark = Mark.OK if evidence.ledger.dead >= least else Mark.FAIL
        yield Finding(name="messages given up", mark=mark, value=str(evidence.ledger.dead), limit=f">= {least}")
    elif not {fault.kind for fault in evidence.plan.faults} & _GIVES_UP:
        yield nothing("messages given up", evidence.ledger.dead)
    if expected.never_idle_seconds is not None:
        longest = max((gap.seconds for gap in _gaps_with_a_quorum(evidence)), default=0.0)
        mark = Mark.OK if longest <= expected.never_idle_seconds else Mark.FAIL
        limit = f"<= {expected.never_idle_seconds:g} s"
        cut = any(band.fault.kind is Kind.QUORUM_LOSS for band in evidence.bands)
        name = "longest gap in throughput" + (" while there is a quorum" if cut else "")
        yield Finding(name=name, mark=mark, value=f"{longest:.1f} s", limit=limit)
        yield from _regions_go_on(evidence, expected.never_idle_seconds)
    yield from available(evidence)
    if expected.steady_recovery:
        yield from _steady(measured)


def _tried_again(evidence: Evidence, _: Measured) -> Iterable[Finding]:
    """Every failure of a handler is followed by another delivery, or by giving up; so is a hang beyond the deadline.

    Of an instance that is a process only the delivery that led to something is known here.
    """
    bands = [band for band in evidence.bands if band.met and band.fault.kind in _OF_HANDLERS]
    failed = sum(band.met or 0 for band in bands if band.fault.kind is Kind.HANDLERS_FAIL)
    beyond = [band.healed - band.begins - DEADLINE_SECONDS for band in bands if band.fault.kind is Kind.HANDLERS_HANG]
    # Some message comes soon enough to outlast the deadline.
    hung = sum(seconds * min(1.0, evidence.settings.rate) >= _HANG_SECONDS for seconds in beyond)
    if evidence.deaths or not failed + hung:
        return
    begins = min(band.begins for band in bands)
    before = max((one.again for one in evidence.samples if one.at <= begins), default=0)
    again, dead = evidence.ledger.again - before, evidence.ledger.dead
    value = f"{again} came again since, {dead} were given up"
    limit = f">= {failed + hung}: {failed} failures of handlers, {hung} hangs beyond the deadline"
    yield holds("what failed is tried again", again + dead >= failed + hung, value, limit)


def _leave_nothing(evidence: Evidence, _: Measured) -> Iterable[Finding]:
    """Who is drained ends what it has in hand: none of it comes again. Judged where nothing of another fault can."""
    bands = sorted(evidence.bands, key=lambda band: band.begins)
    left: list[int] = []
    for place, band in enumerate(bands):
        before = max((other.healed for other in bands[:place]), default=-math.inf)
        if band.fault.kind is not Kind.ROUTER_DRAIN or band.begins - before < _QUIET_SECONDS:
            continue
        ends = bands[place + 1].begins if place + 1 < len(bands) else math.inf
        seen = [one.again for one in evidence.samples if band.begins - 1 <= one.at <= ends]
        left.append(seen[-1] - seen[0] if seen else 0)
    if left:
        yield nothing(f"handled again behind {len(left)} drains", sum(left))


def _regions_go_on(evidence: Evidence, most: float) -> Iterable[Finding]:
    """What is at home in a region goes on there, cut off or not: the others must not hide that it stands still."""
    for region in evidence.plan.topology.regions:
        pulse = evidence.ledger.regions.get(region)
        longest = max((gap.seconds for gap in pulse.gaps), default=0.0) if pulse is not None else 0.0
        value = f"{longest:.1f} s" if pulse is not None else "nothing has ended there"
        good = pulse is not None and longest <= most
        yield holds(f"longest gap in throughput of {region}", good, value, f"<= {most:g} s")


def _gaps_with_a_quorum(evidence: Evidence) -> Iterator[Gap]:
    """Gaps without those times in which nothing could be stored, on purpose: what is left before and behind them."""
    lost = sorted((band.begins, band.healed) for band in evidence.bands if band.fault.kind is Kind.QUORUM_LOSS)
    for gap in evidence.end_gaps:
        begins = gap.begins
        for first, last in lost:
            if begins < last and first < gap.ends:
                if begins < first:
                    yield Gap(begins, first)
                begins = last
        if begins < gap.ends:
            yield Gap(begins, gap.ends)


def _undisturbed(evidence: Evidence, measured: Measured) -> Iterable[Finding]:
    """Where nothing goes wrong nothing comes again, nothing piles up, and nobody is called."""
    if evidence.plan.faults:
        return
    yield nothing("handled again without a fault", evidence.ledger.again)
    waiting = [one.outstanding + one.backlog for one in measured.end]
    depth, most = median(waiting) if waiting else math.inf, settled_depth(measured.base_rate)
    yield holds("queue depth at the end", depth <= most, f"{depth:g} wait", f"<= {most:g}")
    raised = sorted({one.alert for one in evidence.metering.raised})
    yield holds("alerts without a fault", not raised, ", ".join(raised) or "0", "0")


def _steady(measured: Measured) -> Iterable[Finding]:
    *earlier, last = [None, *(one.recovery_seconds for one in measured.recoveries)]
    first = next((seconds for seconds in earlier if seconds is not None), None)
    if first is None or last is None:
        value = "not seen" if last is None else "the only one"
        yield holds("the last recovery", False, value, "no worse than the first")
        return
    most = max(first * _STEADY_FACTOR, first + _STEADY_SECONDS)
    limit = f"<= {most:.1f} s; the first took {first:.1f} s"
    yield holds("the last recovery", last <= most, f"{last:.1f} s", limit)


def _brought(evidence: Evidence, _: Measured) -> Iterable[Finding]:
    return brought(evidence)


_CRITERIA: Final = (
    _messages,
    _throughput,
    _reconnects,
    _resources,
    _expected,
    _tried_again,
    _leave_nothing,
    _undisturbed,
    _brought,
)
