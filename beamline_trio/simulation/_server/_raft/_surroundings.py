"""What a member needs of the world around it: time, its peers, a disk, and the state machine it is there for.

Protocols only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .._surroundings import Timer
from ._messages import Message


class Surroundings(Protocol):
    """The world of one member."""

    def now(self) -> float:
        """The time in seconds."""
        ...

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> Timer:
        """Call back after some time."""
        ...

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call back at the end of this event."""
        ...

    def reaches(self, peer: str) -> bool:
        """Whether there is a way to a peer now."""
        ...

    def send(self, peer: str, message: Message) -> bool:
        """Send to a peer; False when there is no way to it now. It may be lost all the same."""
        ...

    def write(self, done: Callable[[], object]) -> None:
        """Bring to the disk what was appended, and call back when it is there: at once, or later."""
        ...

    def apply(self, index: int, data: bytes) -> None:
        """An entry is committed: the state machine takes it."""
        ...

    def snapshot(self) -> bytes:
        """The state machine as it is."""
        ...

    def restore(self, data: bytes) -> None:
        """The state machine is this now."""
        ...

    def leader_changed(self) -> None:
        """The member leads, or no longer, or knows another leader or none."""
        ...
