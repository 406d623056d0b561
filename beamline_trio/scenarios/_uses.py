"""What one server or one instance of the router uses: looked at now and then, and summed up for a report.

What cannot be seen of one is None: simulated servers and instances share one process, and so its memory.

Must not measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

import attrs


@attrs.frozen(kw_only=True)
class Use:
    """What one uses at a moment.

    Attributes:
        tasks: of trio.
        memory_bytes: resident.
        connections: of a server those of clients to it; of an instance its own.
    """

    tasks: int | None = None
    memory_bytes: int | None = None
    connections: int | None = None


@attrs.frozen
class UseSample:
    """What all of them use at a moment, seconds since the start of the run."""

    at: float
    nodes: Mapping[str, Use]
    instances: Mapping[str, Use]


MEASURES: Final = tuple(field.name for field in attrs.fields(Use))


def summary_of(uses: Sequence[tuple[float, Use]], base_ends: float, end_begins: float) -> dict[str, Any]:
    """Of each measure that is known: the median in the base, the most, and the median at the end.

    Args:
        uses: of one server or instance, each with its moment.
        base_ends: until then it is the base.
        end_begins: from then on it is the end.
    """
    found: dict[str, Any] = {}
    for name in MEASURES:
        values = [(at, value) for at, use in uses if (value := getattr(use, name)) is not None]
        if values:
            found[name] = {
                "base": _median([value for at, value in values if at <= base_ends]),
                "most": max(value for _, value in values),
                "end": _median([value for at, value in values if at >= end_begins]),
            }
    return found


def _median(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None
