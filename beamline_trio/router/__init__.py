"""Sources -> workers -> outcomes: routes from subjects to handlers."""

from ._router import DURATION_BOUNDS_SECONDS as DURATION_BOUNDS_SECONDS
from ._router import OUTCOMES as OUTCOMES
from ._router import Route as Route
from ._router import Router as Router
