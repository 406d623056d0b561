"""What happened to a router, for programs: records of transitions, never of single messages; `nc.events()` gives them.

Must not know what brings them about.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..connection import StageEvent
from ..protocol import frozen

BreakerStateName: TypeAlias = Literal["closed", "open", "half_open"]
BackpressureLevelName: TypeAlias = Literal["inactive", "warning", "active"]


@frozen
class BreakerChanged(StageEvent):
    """A circuit breaker of a route opened, turned half open, or closed; `key` is that of its messages, as text."""

    route: str
    key: str
    before: BreakerStateName
    after: BreakerStateName


@frozen
class TenantOverflow(StageEvent):
    """A tenant has more than its part of a route's queue, and had not before; `tenant` as text."""

    route: str
    tenant: str


@frozen
class RouteStopped(StageEvent):
    """A route has lost its durable, and takes no more messages; the others of its router go on."""

    route: str
    reason: str


@frozen
class BackpressureChanged(StageEvent):
    """A router is pressed harder, or less: its new level, and the numbers behind it."""

    router: str
    level: BackpressureLevelName
    pending: int
    in_flight: int
    p95_seconds: float


@frozen
class IntakePaused(StageEvent):
    """Too many messages failed, and the router takes no more for so many seconds."""

    router: str
    messages: int
    failures: int
    pause_seconds: float


@frozen
class IntakeResumed(StageEvent):
    """The router takes messages again."""

    router: str
