"""Why a server could not be reached. One class per thing the operator would do next; each names the address.

Must not know NATS operations.
"""

from __future__ import annotations

import os

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


class WebSocketError(ConnectError):
    """The other side accepted the connection, but did not speak WebSocket with us."""


class TLSFilesError(TLSError):
    """A file given for TLS cannot be used.

    Attributes:
        field: of TLSFiles: ca_file, cert_file or key_file.
        filename: the file.
        reason: why, in words.
    """

    def __init__(self, field: str, filename: str | os.PathLike[str] | None, reason: str, *, beside: str = "") -> None:
        name = os.fspath(filename) if filename is not None else None
        super().__init__(f"{field} is {name!r}{beside}: {reason}", address="")
        self.field = field
        self.filename = name
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])  # OSError would add its own words for a filename


class TLSFilesNotFoundError(TLSFilesError, FileNotFoundError):
    """A file given for TLS is not there."""


class AddressError(NatsError, ValueError):
    """A server's URL cannot be used. Nothing was dialled."""
