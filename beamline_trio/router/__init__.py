"""Sources -> workers -> outcomes: routes from subjects to handlers."""

from ._router import Route as Route
from ._router import Router as Router
