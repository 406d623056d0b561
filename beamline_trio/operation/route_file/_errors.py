"""What can be wrong with a file of routes, and with a message that its mapping cannot take."""

from __future__ import annotations

from .._errors import OperationError


class RouteFileError(OperationError):
    """A file of routes cannot be used.

    Attributes:
        where: the place in the file, as `routes[0].target.subject`; empty for the file as a whole.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where = where


class MappingError(Exception):
    """A message lacks what a mapping needs, or has it in another form. No retry can mend it."""
