"""Whether each fault was brought: what it does is to be seen in the samples, or it has counted whom it met.

Without that, a fault that does nothing is what a run survives best. Each look is a pure function of what was seen. Must
not run or write anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ._conductor import Band, Evidence
from ._finding import Finding, holds
from ._recovery import base_span
from ._sampling import Sample
from ._scenario import Kind

_AWAY: Final = frozenset((Kind.SERVER_KILL, Kind.SERVER_STOP, Kind.SERVER_PAUSE, Kind.QUORUM_LOSS))
_LEAVES: Final = frozenset((Kind.ROUTER_DRAIN, Kind.ROUTER_KILL))
# What an instance had in hand when its way was cut goes on for a while, and what a watch has not heard is missed late.
_PARTITION_SECONDS: Final = 15.0
_REGION_CUT_SECONDS: Final = 30.0
# An instance that nothing reaches has less than so much of the deliveries of the base.
_STILL_SHARE: Final = 0.5
# Of so many messages that should have been met, one has been.
_MET_OF: Final = 20.0


def brought(evidence: Evidence) -> Iterable[Finding]:
    """The finding; none where nothing went wrong, or for too short a time to show."""
    looks = [(band, _was_brought(evidence, band)) for band in evidence.bands]
    judged = [(band, so) for band, so in looks if so is not None]
    if not judged:
        return
    wrong = [band for band, so in judged if not so]
    value = f"{len(judged) - len(wrong)} of {len(judged)}"
    if wrong:
        first = min(wrong, key=lambda band: band.begins)
        value += f"; nothing was seen of {first.fault.kind.value.replace('_', ' ')} at {first.begins:,.0f} s"
    yield holds("faults that were brought", not wrong, value, "all that last long enough to be seen")


def _was_brought(evidence: Evidence, band: Band) -> bool | None:
    """Whether this one was; None = it was too short for that, or is of a kind that shows in nothing."""
    topology, kind, seconds = evidence.plan.topology, band.fault.kind, band.healed - band.begins
    places = max(1, len(topology.regions))
    during = [one for one in evidence.samples if band.begins < one.at < band.healed]
    if kind in _AWAY:
        return any(one.up < topology.nodes * places for one in during) if during else None
    if kind in _LEAVES:
        return any(one.ready < topology.instances * places for one in during) if during else None
    if kind is Kind.REGION_CUT:
        return any(one.regions < places for one in during) if seconds >= _REGION_CUT_SECONDS else None
    if kind is Kind.PARTITION:
        return _stands_still(evidence, band, during) if seconds >= _PARTITION_SECONDS else None
    if band.met is not None and evidence.settings.rate * seconds * band.fault.share >= _MET_OF:
        return band.met > 0
    return None


def _stands_still(evidence: Evidence, band: Band, during: Sequence[Sample]) -> bool:
    """Whether the instance that nothing reaches has nearly nothing to do in the second half of that time."""
    names = list(evidence.restarts)
    place = names.index(band.fault.target) if band.fault.target in names else 0
    base = base_span(evidence.plan.base)
    before = [one for one in evidence.samples if base.begins <= one.at <= base.ends]
    return _deliveries(during[len(during) // 2 :], place) < _STILL_SHARE * _deliveries(before, place)


def _deliveries(samples: Sequence[Sample], place: int) -> float:
    """Deliveries a second to one of the instances; 0 where there is no room for one."""
    if len(samples) < 2:
        return 0.0
    first, last = samples[0], samples[-1]
    return (last.by_instance[place] - first.by_instance[place]) / (last.at - first.at)
