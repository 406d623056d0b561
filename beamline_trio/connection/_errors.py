"""Errors about the life of a connection. They inherit trio's where the meaning is the same.

One class per reaction of the caller; facts are fields.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import trio

from ..protocol import NatsError
from ..transport import ConnectError

Sent: TypeAlias = Literal["no", "maybe"]


class ClientClosedError(NatsError, trio.ClosedResourceError):
    """The client was closed (by leaving `open_client`, or drained); it does nothing any more."""


class ConnectionLostError(NatsError, trio.BrokenResourceError):
    """The link to the server was lost under an operation, or there is none and no more attempts are made.

    Attributes:
        reason: why, in words.
        sent: `"maybe"` when the operation had been written and its fate is unknown, `"no"` when it never left.
    """

    def __init__(self, reason: str, *, sent: Sent) -> None:
        fate = "it may or may not have arrived" if sent == "maybe" else "nothing was sent"
        super().__init__(f"connection lost: {reason}; {fate}")
        self.reason = reason
        self.sent = sent


class OperationTimeoutError(NatsError, trio.TooSlowError):
    """The server did not answer within `operation_timeout_seconds`; whether the operation arrived is unknown."""


class PendingTimeoutError(NatsError, trio.TooSlowError):
    """The connection was not restored within `pending_timeout_seconds`; the operation was never sent."""


class PendingFullError(NatsError):
    """The queue for operations without a connection is full: its policy refused this operation, or dropped it.

    It was not sent.
    """


class TooManyRequestsError(NatsError):
    """`requests_inflight_max` requests are waiting for their replies. Nothing was sent."""


class ConnectTimeoutError(ConnectError, trio.TooSlowError):
    """A server did not finish dial, TLS, INFO, CONNECT and PONG within `connect_timeout_seconds`."""


class CredentialsError(ConnectError):
    """The credentials for an attempt could not be got: a file is unreadable or no such file, or a callback failed.

    Attributes:
        filename: the file, or None.
    """

    def __init__(self, message: str, *, address: str, filename: str | None = None) -> None:
        super().__init__(message, address=address)
        if filename is not None:
            self.filename = filename

    def __str__(self) -> str:
        return str(self.args[0])  # OSError would add its own words for a filename


class CredentialsNotFoundError(CredentialsError, FileNotFoundError):
    """The file of the credentials is not there. The first connect raises it; a reconnect tries again."""


class NotNatsServerError(ConnectError):
    """Something accepted the connection that does not speak NATS."""


class HandshakeError(ConnectError):
    """A NATS server closed the connection, or answered with an error, before it was established."""


class NoServersError(ConnectError):
    """None of several servers could be reached.

    Attributes:
        errors: one error per server, in the order they were tried.
    """

    def __init__(self, errors: tuple[NatsError, ...]) -> None:
        super().__init__(
            f"none of {len(errors)} servers could be reached: " + " | ".join(str(error) for error in errors),
            address="",
        )
        self.errors = errors


def closed_under(*, written: bool) -> ClientClosedError:
    """The error of an operation that waited when the client was closed."""
    if written:
        return ClientClosedError(
            "the client was closed before the server's answer to this operation came; it may or may not have arrived: "
            "await it inside open_client, or repeat it with the next client, a js.publish under the same message_id"
        )
    return ClientClosedError(
        "the client was closed while this operation waited to be sent; nothing was sent: await it inside open_client, "
        "or repeat it with the next client"
    )


class OptionsError(NatsError, ValueError):
    """An option has a value that cannot work; the text names the key, the value and the bound."""


class InternalError(NatsError):
    """A background task of the client failed on a bug of this library. Its cause is the traceback to report."""
