"""What a stage built on the client needs of the connection's turns: to be told of them, in the step they happen in.

Must not raise or wait: the connection is in the middle of a turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Follower(Protocol):
    """Follows a connection: appended to `Connection.followers`, and removed from there when it has ended."""

    def link_up(self) -> Iterable[bytes]:
        """A link is up: the frames that go behind the replayed interests and before everything that is pending.

        They belong to this link: what of them is unwritten when it dies is forgotten, so that the next `link_up` says
        what the next link needs.
        """

    def link_down(self) -> None:
        """The link is lost."""

    def closed(self) -> None:
        """The client is closed."""
