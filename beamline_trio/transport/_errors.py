"""Why a server could not be reached. One class per thing the operator would do next; each names the address.

Must not know NATS operations.
"""

from __future__ import annotations

from ..protocol import NatsError


class ConnectError(NatsError, OSError):
    """A server could not be reached, or what answered is no usable NATS server.

    Attributes:
        address: the server, without credentials.
    """

    def __init__(self, message: str, *, address: str) -> None:
        super().__init__(message)
        self.address = address


class ServerUnreachableError(ConnectError):
    """Nothing accepted a TCP connection: refused, no route, host down."""


class NameResolutionError(ConnectError):
    """The host name has no address."""


class TLSError(ConnectError):
    """TLS failed or does not match: bad certificate, no TLS on the other side, or TLS wanted by one side only."""


class AddressError(NatsError, ValueError):
    """A server's URL cannot be used. Nothing was dialled."""
