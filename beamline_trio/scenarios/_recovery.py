"""Samples and faults -> how long each recovery took, and what throughput was. Pure.

Must not wait.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import attrs

from ._plan import PlannedFault, Span
from ._sampling import Sample

# Recovered: so much of the base's throughput, and no more than so many seconds of it in the streams.
THROUGHPUT_SHARE: Final = 0.95
SETTLED_SECONDS: Final = 0.5
# Whoever looks may see a burst that has just begun.
SETTLED_MIN: Final = 5.0
_WINDOW_SECONDS: Final = 5.0
# A fault that begins so soon behind another leaves no time to recover between them.
AT_ONCE_SECONDS: Final = 5.0


@attrs.frozen(kw_only=True)
class Recovery:
    """What came of a fault.

    Attributes:
        fault: which.
        healed_at: when it, and what overlapped it, was taken back.
        reconnect_seconds: from then until every client had its link, and every instance was ready; None = not before
            the next fault, or the end.
        recovery_seconds: from then until all that had waited was done, and throughput was that of the base; None =
            not before the next fault, or the end.
        watched_seconds: from then until the next fault; inf = there is none, and the run has ended.
        reconnect_waited_seconds: from then until every client had its link, and every instance was ready, be it behind
            later faults; inf = they never had. waited_seconds: likewise until it had recovered.
        depth_max: messages that waited, at the most.
    """

    fault: PlannedFault
    healed_at: float
    reconnect_seconds: float | None
    recovery_seconds: float | None
    watched_seconds: float
    reconnect_waited_seconds: float
    waited_seconds: float
    depth_max: int


def throughput(samples: Sequence[Sample], begins: float, ends: float) -> float:
    """Messages that ended in a second, between two moments; 0 where there is no room for one."""
    inside = [sample for sample in samples if begins <= sample.at <= ends]
    if len(inside) < 2:
        return 0.0
    return (inside[-1].ended - inside[0].ended) / (inside[-1].at - inside[0].at)


def base_throughput(samples: Sequence[Sample], base: Span) -> float:
    """That of the base."""
    span = base_span(base)
    return throughput(samples, span.begins, span.ends)


def base_span(base: Span) -> Span:
    """The base without its first tenth, in which everything begins."""
    return Span(base.name, base.begins + (base.ends - base.begins) / 10, base.ends)


def settled_depth(base: float) -> float:
    """So many messages wait where all is well, at this throughput."""
    return max(base * SETTLED_SECONDS, SETTLED_MIN)


def recoveries(
    samples: Sequence[Sample], faults: Sequence[tuple[PlannedFault, float]], base: float, instances: int = 1
) -> list[Recovery]:
    """What came of each fault that was followed by a time without one.

    Of faults that overlap, or follow each other at once, recovery begins when the last of them is healed.

    Args:
        samples: of the run.
        faults: each with the moment at which it was healed, by their beginning.
        base: throughput without faults.
        instances: of the router, over all regions.
    """
    found: list[Recovery] = []
    for fault, healed_at in faults:
        until, healed = math.inf, healed_at
        for other, other_healed_at in faults:
            if other.begins >= healed + AT_ONCE_SECONDS:
                until = min(until, other.begins)
            elif other_healed_at > fault.begins:
                healed = max(healed, other_healed_at)
        first = bisect_left(samples, fault.begins, key=_moment)
        last = bisect_left(samples, until, key=_moment)
        found.append(_recovery(fault, healed, samples[first:last], samples[last:], base, instances))
    return found


def _moment(sample: Sample) -> float:
    return sample.at


def _recovery(
    fault: PlannedFault,
    healed_at: float,
    samples: Sequence[Sample],
    later: Sequence[Sample],
    base: float,
    instances: int,
) -> Recovery:
    after = [sample for sample in samples if sample.at >= healed_at]
    connected = _connected_at(after, instances)
    back = connected if connected is not None else _connected_at(later, instances)
    recovered = _recovered_at(after, base)
    over = recovered if recovered is not None else _recovered_at(later, base)
    return Recovery(
        fault=fault,
        healed_at=healed_at,
        reconnect_seconds=None if connected is None else connected - healed_at,
        recovery_seconds=None if recovered is None else recovered - healed_at,
        watched_seconds=math.inf if not later else max(0.0, samples[-1].at - healed_at) if samples else 0.0,
        reconnect_waited_seconds=math.inf if back is None else back - healed_at,
        waited_seconds=math.inf if over is None else over - healed_at,
        depth_max=max((sample.outstanding + sample.backlog for sample in samples), default=0),
    )


def _connected_at(samples: Sequence[Sample], instances: int) -> float | None:
    """The first moment at which every client has its link, and so many instances are ready."""
    return next((sample.at for sample in samples if sample.connected and sample.ready >= instances), None)


def _recovered_at(samples: Sequence[Sample], base: float) -> float | None:
    """The first moment at which little waits, and from which throughput is that of the base."""
    settled = settled_depth(base)
    for index, sample in enumerate(samples):
        if sample.outstanding + sample.backlog > settled:
            continue
        ends = next((later for later in samples[index:] if later.at >= sample.at + _WINDOW_SECONDS), samples[-1])
        seconds = ends.at - sample.at
        if seconds and (ends.ended - sample.ended) / seconds >= THROUGHPUT_SHARE * base - 1 / seconds:
            return sample.at
    return None
