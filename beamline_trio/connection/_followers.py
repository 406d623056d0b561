"""What a stage built on the client needs of the connection's turns: to be told of them, in the step they happen in.

Must not raise or wait: the connection is in the middle of a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ..protocol import ServerError


class Follower(Protocol):
    """Follows a connection: appended to `Connection.followers`, and removed from there when it has ended."""

    def link_up(self) -> Iterable[bytes]:
        """A link is up: the frames that go behind the replayed interests and before everything that is pending.

        They belong to this link: what of them is unwritten when it dies is forgotten, so that the next `link_up` says
        what the next link needs.
        """
        ...

    def link_down(self) -> None:
        """The link is lost."""
        ...

    def publish_refused(self, error: ServerError, subject: bytes) -> bool:
        """The server refuses a publish to a subject (empty: it does not say which) that no caller waits for.

        True = it was a frame of this follower's own, from `link_up` or put as a control, and no publish of a user's.
        """
        ...

    def given_up(self, frame: bytes, error: Callable[[], Exception]) -> None:
        """A publish that was accepted has expired or was dropped, before it was written; the error says why."""
        ...

    def handed_over(self, frame: bytes, place: int) -> None:
        """A publish that was pending goes out by the present link, where this is its place (`Coverage`)."""
        ...

    def closed(self) -> None:
        """The client is closed."""
        ...
