"""The books of a run: one per hop, one leg per message, when it was sent and how it ended.

A leg is written by whoever sends, at the moment in which the client tells the message's fate.

Must not judge.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from ...connection import ConnectionLostError, State

DIED: Final = "written to a link that died before its confirmation"
WITHDRAWN: Final = "withdrawn at the end, before it was written"


class Hop(enum.StrEnum):
    """Where a leg leads."""

    TO_ROUTER = "publisher to router"
    TO_RECEIVER = "router to receiver"


class Fate(enum.StrEnum):
    """How a leg ended: by the server's PONG, by a reply, by an error, or with a link that died; or not yet."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    ANSWERED = "answered"
    FAILED = "failed"
    UNKNOWN = "unknown"


@attrs.define
class Leg:
    """One message on one hop.

    Attributes:
        is_request: whether a reply ends it; otherwise the server's PONG.
        began_at: when the client was given it. `ended_at`: when the client told its fate. Both in trio's time.
        server: the server process on which it was confirmed or answered.
        reason: why it failed.
    """

    is_request: bool
    began_at: float
    fate: Fate = Fate.OPEN
    ended_at: float = float("inf")
    server: str = ""
    reason: str = ""

    def succeeded(self, now: float, server: str) -> None:
        """The PONG or the reply came."""
        self.fate = Fate.ANSWERED if self.is_request else Fate.CONFIRMED
        self.ended_at = now
        self.server = server

    def failed(self, now: float, error: Exception | str) -> None:
        """The client raised an error, or the reply is one. A lost link leaves open whether it arrived."""
        self.ended_at = now
        if isinstance(error, ConnectionLostError) and error.sent == "maybe":
            self.fate = Fate.UNKNOWN
            self.reason = DIED
        else:
            self.fate = Fate.FAILED
            self.reason = error if isinstance(error, str) else type(error).__name__

    def withdrawn(self, now: float, state: State) -> None:
        """The sender was cancelled. Without a connection the message had not been written, and is taken back;
        with one its fate stays open.
        """
        if state is not State.CONNECTED:
            self.failed(now, WITHDRAWN)


class Book:
    """One hop's legs, by message id.

    Attributes:
        repeated: ids that were begun again: somebody received a message twice.
    """

    def __init__(self) -> None:
        self.legs: dict[int, Leg] = {}
        self.repeated: list[int] = []

    def begin(self, identifier: int, now: float, *, is_request: bool) -> Leg:
        """A new leg."""
        leg = Leg(is_request, now)
        if identifier in self.legs:
            self.repeated.append(identifier)
        self.legs[identifier] = leg
        return leg

    def count(self, fate: Fate) -> int:
        """How many legs ended so."""
        return sum(leg.fate is fate for leg in self.legs.values())
