"""A finding: whether a criterion holds, with its numbers in words. Pure.

Must not judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from ._limits import Mark

_LISTED_MAX: Final = 5


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


def holds(name: str, good: bool, value: str, limit: str) -> Finding:
    """A criterion that holds or fails."""
    return Finding(name=name, mark=Mark.OK if good else Mark.FAIL, value=value, limit=limit)


def nothing(name: str, count: int, which: Sequence[int] = ()) -> Finding:
    """A criterion that there is none of something; `which` are named, the first few of them."""
    listed = f" ({', '.join(str(one) for one in which[:_LISTED_MAX])}{', ...' if count > _LISTED_MAX else ''})"
    return holds(name, not count, f"{count}{listed if which else ''}", "0")
