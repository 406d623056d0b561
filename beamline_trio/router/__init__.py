"""Sources -> workers -> outcomes: routes from subjects to handlers."""

from ._backpressure import Backpressure as Backpressure
from ._backpressure import BackpressureLevel as BackpressureLevel
from ._backpressure import BackpressureStatus as BackpressureStatus
from ._breaker import Breaker as Breaker
from ._breaker import BreakerState as BreakerState
from ._events import BackpressureChanged as BackpressureChanged
from ._events import BreakerChanged as BreakerChanged
from ._events import IntakePaused as IntakePaused
from ._events import IntakeResumed as IntakeResumed
from ._idempotence import Claim as Claim
from ._idempotence import Idempotence as Idempotence
from ._idempotence import IdempotenceStatistics as IdempotenceStatistics
from ._idempotence import MemoryIdempotence as MemoryIdempotence
from ._kill_switch import KillSwitch as KillSwitch
from ._router import DURATION_BOUNDS_SECONDS as DURATION_BOUNDS_SECONDS
from ._router import OUTCOMES as OUTCOMES
from ._router import Route as Route
from ._router import Router as Router
