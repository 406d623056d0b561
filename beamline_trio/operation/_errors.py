"""What can go wrong around a program that runs a client: ports, extras, configuration.

A bad option is an `OptionsError`, as it is without this package.
"""

from __future__ import annotations


class OperationError(Exception):
    """Base of what `beamline_trio.operation` raises of its own."""


class ListenError(OperationError, OSError):
    """The HTTP server cannot listen there.

    Attributes:
        host: the address it was to listen on.
        port: the port.
    """

    def __init__(self, message: str, *, host: str, port: int) -> None:
        super().__init__(message)
        self.host = host
        self.port = port


class PortInUseError(ListenError):
    """Somebody else listens on the port."""
