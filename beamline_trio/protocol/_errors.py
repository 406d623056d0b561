"""The errors of the wire: what a caller did wrong before a byte left, and what the bytes of a server mean.

One class per reaction of the caller, with fields instead of text to parse. Errors that are about a connection's
life (lost, closed, timed out) belong to `connection`, those about reaching a server to `transport`.

Must not import anything but the standard library's value types.
"""

from __future__ import annotations


class NatsError(Exception):
    """Base of every error that this library raises on purpose."""


class MissingExtraError(NatsError, ImportError):
    """A library of an extra is not installed; the text has the command that installs it."""


class ProtocolError(NatsError):
    """The bytes of the peer break the protocol and framing is lost: the connection has to be rebuilt."""


class InvalidSubjectError(NatsError, ValueError):
    """A subject, queue group or reply subject cannot be put on the wire. Nothing was sent."""


class InvalidHeaderError(NatsError, ValueError):
    """A header name or value cannot be put on the wire. Nothing was sent."""


class PayloadTooLargeError(NatsError, ValueError):
    """Headers and payload together exceed what the server takes. Nothing was sent.

    Attributes:
        size: headers and payload in bytes.
        limit: the server's `max_payload` in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"payload is {size} bytes with its headers, the server takes {limit} (max_payload); "
            "split it, or raise max_payload on the server"
        )
        self.size = size
        self.limit = limit


class ServerError(NatsError):
    """The server answered with `-ERR`.

    Attributes:
        text: the server's words, without quotes.
        closes: whether the server drops the connection after this error.
    """

    def __init__(self, text: str, *, closes: bool = False) -> None:
        super().__init__(f"the server says: {text}")
        self.text = text
        self.closes = closes


class PermissionsError(ServerError):
    """The server refuses a subject to this user.

    Attributes:
        operation: `"publish"` or `"subscription"`.
        subject: the subject that was refused; empty when it is the reply subject that was.
        reply: the reply subject that a publish may not ask for, or None.
        queue_group: the queue group of a refused subscription, or None.
        sid: the subscription the server names (after a reload of its configuration), or None.
    """

    def __init__(
        self,
        text: str,
        *,
        operation: str,
        subject: str,
        reply: str | None = None,
        queue_group: str | None = None,
        sid: str | None = None,
    ) -> None:
        super().__init__(text)
        self.operation = operation
        self.subject = subject
        self.reply = reply
        self.queue_group = queue_group
        self.sid = sid


class AuthorizationError(ServerError):
    """The server does not accept the credentials (or no longer does); it closes the connection."""

    def __init__(self, text: str, *, address: str = "") -> None:
        super().__init__(text, closes=True)
        self.address = address
        where = f" (server {address})" if address else ""
        self.args = (
            f"the server says: {text}{where}; check user and password, token, nkey or creds, "
            "given as options or in the server's URL, and whether they have expired",
        )
