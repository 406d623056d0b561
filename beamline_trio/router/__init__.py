"""Sources -> workers -> outcomes: routes from subjects to handlers."""

from ._idempotence import Claim as Claim
from ._idempotence import Idempotence as Idempotence
from ._idempotence import IdempotenceStatistics as IdempotenceStatistics
from ._idempotence import MemoryIdempotence as MemoryIdempotence
from ._router import DURATION_BOUNDS_SECONDS as DURATION_BOUNDS_SECONDS
from ._router import OUTCOMES as OUTCOMES
from ._router import Route as Route
from ._router import Router as Router
