"""What the network tells of itself: its trace, and a tap on what applications send.

Must not render anything.
"""

from __future__ import annotations

from typing import Protocol


class TraceSink(Protocol):
    """Takes what happens, in order."""

    @property
    def stopped(self) -> bool:
        """Nothing is noted any more."""
        ...

    def add(self, host: str, kind: str, **fields: str | int | float | bool | None) -> None:
        """Note what happened now, at this host."""
        ...
