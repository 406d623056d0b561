"""What must hold of who can be reached: readiness, requests, what is remembered, the quorum, and the alerts.

Each criterion is a pure function of what was seen. Must not run or write anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from . import _limits as limits
from ._alerting import Raised
from ._conductor import Evidence
from ._finding import Finding, holds
from ._limits import Mark
from ._plan import Span
from ._requests import DEADLINE_SECONDS
from ._sampling import Sample
from ._scenario import Kind

# It asks every 100 ms, and whoever looks at the instances waits for an answer for up to a second.
_BALANCER_SECONDS: Final = 2.0


def available(evidence: Evidence) -> Iterator[Finding]:
    """All findings of it."""
    for criterion in (_ready, _alive, _balanced, _answered, _remembered, _quorum_holds, _quorum, _alerts):
        yield from criterion(evidence)


# Instances


def _ready(evidence: Evidence) -> Iterable[Finding]:
    if not evidence.scenario.expectations.always_ready:
        return
    unready, looks, least = evidence.unready, evidence.readiness_looks, evidence.ready_least or 0
    value = f"{len(unready)} in {looks:,} looks, {least} ready at the least"
    good = bool(looks and not unready and least)
    yield holds("moments without an instance that is ready", good, value, "0, looked at every 100 ms")


def _alive(evidence: Evidence) -> Iterable[Finding]:
    """A process that nobody has ended runs; one that ends by itself is started again, and told."""
    for what, counts in (
        ("instances that ended by themselves", evidence.deaths),
        ("drains that did not end with exit code 0", evidence.bad_drains),
    ):
        if counts:
            found = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
            yield holds(what, not found, found or "0", "0")


def _balanced(evidence: Evidence) -> Iterable[Finding]:
    """What was asked for and is not there is told: it is not as if it had held."""
    if evidence.balancer is not None:
        asked, refused = evidence.balancer
        always = evidence.scenario.expectations.always_ready
        # Where readiness may be missing, as without a quorum, the load balancer may say so; else it may not.
        wrong = refused if always else len(list(_unserved_though_ready(evidence)))
        value = f"{refused} of {asked} times it had none"
        limit = "0" if always else f"none while an instance is ready, give or take {_BALANCER_SECONDS:g} s"
        yield holds("load balancer finds a ready instance", bool(asked and not wrong), value, limit)
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


def _answered(evidence: Evidence) -> Iterable[Finding]:
    """Requests are answered, each with its caller's retry."""
    seen = evidence.requests
    if seen is None:
        yield from _not_judged("requests that were answered", evidence.scenario.requests_per_second, evidence)
        return
    share = (seen.asked - seen.failed) / seen.asked if seen.asked else 0.0
    value = f"{share:.2%} of {seen.asked:,}, {seen.again:,} of them at a later attempt"
    good = bool(seen.asked and not seen.failed)
    yield holds("requests that were answered", good, value, f"100 %, each within {DEADLINE_SECONDS:g} s")


def _remembered(evidence: Evidence) -> Iterable[Finding]:
    """What was done is known to every instance, and to those that were started since."""
    seen = evidence.repeats
    if seen is None:
        yield from _not_judged("what was done is remembered over restarts", evidence.scenario.once_per_second, evidence)
        return
    twice = evidence.ledger.stored_twice
    known = "" if seen.recognised is None else f", {seen.recognised:,} recognised"
    enough = seen.recognised is None or seen.recognised >= seen.repeated
    value = f"{seen.repeated:,} messages came again{known}, {twice} done twice"
    limit = "0 done twice" if seen.recognised is None else "all recognised, 0 done twice"
    yield holds("what was done is remembered over restarts", bool(seen.repeated and enough and not twice), value, limit)


def _not_judged(name: str, per_second: float, evidence: Evidence) -> Iterable[Finding]:
    """A load of another kind has no such messages: what a scenario says of them has not been seen then."""
    if per_second:
        value = f"not judged: the load {evidence.settings.load!r} has none"
        yield Finding(name=name, mark=Mark.WARN, value=value, limit="leave --load out")


# The quorum


def _quorum_holds(evidence: Evidence) -> Iterable[Finding]:
    """Whatever happens to one server: but for what is to take the quorum, and for a while behind it."""
    topology, kinds = evidence.plan.topology, (Kind.QUORUM_LOSS, Kind.REGION_CUT)
    if topology.nodes < 2:
        return
    bands = [band for band in evidence.bands if band.fault.kind in kinds]
    taken = [(band.begins, band.healed + limits.RECONNECT_SECONDS) for band in bands]
    lacking = [one for one in evidence.samples if not (one.quorum and one.enough)]
    wrong = [one for one in lacking if not any(begins <= one.at <= ends for begins, ends in taken)]
    value = f"missing in {len(wrong)} looks" + (f", first at {wrong[0].at:,.0f} s" if wrong else "")
    limit = f"none: {topology.quorum} of {topology.nodes} servers run, and each group has a leader"
    yield holds("quorum holds", bool(evidence.samples and not wrong), value, limit)


def _quorum(evidence: Evidence) -> Iterable[Finding]:
    """The loss of the quorum shows while it lasts, and not behind it."""
    for band in evidence.bands:
        if band.fault.kind is not Kind.QUORUM_LOSS:
            continue
        during = [one for one in evidence.samples if band.begins < one.at < band.healed]
        behind = [one for one in evidence.samples if one.at > band.healed + limits.RECONNECT_SECONDS]
        seen, back = any(not one.quorum for one in during), bool(behind) and behind[0].quorum
        value = f"{'seen' if seen else 'not seen'}, {'back' if back else 'not back'}"
        yield holds("loss of the quorum is seen, and its return", seen and back, value, "seen, back")
        if evidence.watching:
            yield _quorum_in_readiness(during, behind)


def _quorum_in_readiness(during: Sequence[Sample], behind: Sequence[Sample]) -> Finding:
    """Instances that watch their cluster are not ready without a quorum, and are again with one."""
    least, after = min((one.ready for one in during), default=-1), behind[0].ready if behind else 0
    value = f"{least} ready at the least, {after} again"
    return holds("readiness tells of the quorum", not least and bool(after), value, "0, and some again")


# Alerts


def _alerts(evidence: Evidence) -> Iterable[Finding]:
    """Each is raised in its phase, is over by the end of the run, and is not raised for anything else."""
    spans = {span.name: span for span in evidence.plan.spans}
    for phase, alert in evidence.scenario.expectations.alerts.items():
        raised = [one for one in evidence.metering.raised if one.alert == alert]
        yield _alert(alert, spans[phase], raised)


def _alert(alert: str, span: Span, raised: Sequence[Raised]) -> Finding:
    inside = [one for one in raised if span.begins <= one.begins <= span.ends]
    elsewhere = len(raised) - len(inside)
    value = "not raised"
    if inside:
        first = inside[0]
        until = f"over at {first.ends:,.0f} s" if first.ends is not None else "not over"
        value = f"raised at {first.begins:,.0f} s, {until}"
    value += f", {elsewhere} times elsewhere" if elsewhere else ""
    good = bool(inside) and not elsewhere and all(one.ends is not None for one in inside)
    limit = f"raised in the phase {span.name!r} alone, and over"
    return holds(f"alert {alert}", good, value, limit)
