"""Errors of JetStream: one class per reaction of the caller, with the server's code as a field.

The numbers are those of nats-server's errors.json (2.15). Must not be raised for what another stage's error says.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ..protocol import NatsError, frozen


class JetStreamError(NatsError):
    """Base of the errors that JetStream adds."""


class APIError(JetStreamError):
    """The JetStream API, or a stream to a publish, answered with an error.

    Attributes:
        code: in the manner of HTTP.
        err_code: the server's own number, see errors.json of nats-server.
        description: the server's words.
        asked: what it answers, as `STREAM.INFO.ORDERS`; empty where that was a publish.
    """

    # The end of the text: what the caller can do about it.
    _next_step = ""

    def __init__(self, code: int, err_code: int, description: str, asked: str = "") -> None:
        to = f" to {asked}" if asked else ""
        super().__init__(f"JetStream says{to}: {description} (code {code}, err_code {err_code}){self._next_step}")
        self.code = code
        self.err_code = err_code
        self.description = description
        self.asked = asked


class StreamNotFoundError(APIError):
    """There is no such stream (10059)."""

    _next_step = "; create it with create_stream(), or check the name and the domain"


class StreamExistsError(APIError):
    """A stream of this name has another configuration (10058); update it, or take another name."""

    _next_step = "; use update_stream(), or take another name"


class ConsumerNotFoundError(APIError):
    """There is no such consumer (10014, 10149)."""

    _next_step = "; create it with create_consumer(), or check the name"


class ConsumerExistsError(APIError):
    """A consumer of this name has another configuration (10013, 10148); update it, or take another name."""

    _next_step = "; use update_consumer(), or take another name"


class MessageNotFoundError(APIError):
    """The stream has no such message, or no longer (10037, 10043)."""

    _next_step = "; it was deleted, has aged out, or was never stored: check the sequence and the subject"


class WrongLastSequenceError(APIError):
    """An expected sequence is not the last one (10071, 10164): somebody else was first. Nothing was stored."""

    _next_step = "; nothing was stored; somebody else was first: read again, and decide again"


class WrongLastMessageIdError(APIError):
    """The expected message id is not the last one (10070). Nothing was stored."""

    _next_step = "; nothing was stored; read again, and decide again"


class WrongStreamError(APIError):
    """The subject belongs to another stream than was expected (10060). Nothing was stored."""

    _next_step = "; nothing was stored; the subject belongs to another stream: check it, and expected_stream"


class PublishInProcessError(APIError):
    """An earlier attempt under this message id is on its way into the stream (10158): its fate is unknown as yet.

    A cluster says so to a retry between the proposal of the first attempt and its majority, as around a change of the
    stream's leader. The next attempt under the id is stored, or told that it is a duplicate.
    """

    _next_step = "; it may or may not be stored: publish it again under the same message id in a moment"


class JetStreamNotEnabledError(APIError):
    """The server, the account or the domain has no JetStream (10039, 10076, or nobody answers its API)."""


class APILevelError(APIError):
    """The server's JetStream is too old for what was asked (10185)."""


class NoStreamResponseError(JetStreamError):
    """No stream took a publish (status 503, also after the retries). Nothing was stored.

    Attributes:
        subject: where it went.
    """

    def __init__(self, subject: str, attempts: int) -> None:
        times = "once" if attempts == 1 else f"{attempts} times"
        super().__init__(
            f"no stream took the publish to {subject!r}, tried {times}: no stream has the subject, or its leader is "
            "being elected; create the stream, or check the subject"
        )
        self.subject = subject


class PublishUnknownError(JetStreamError):
    """A publish was tried again and failed, but an earlier attempt of it may have been stored.

    Attributes:
        subject: where it went.
        message_id: under which it can be published once more without being stored twice, inside the stream's
            duplicate window.
    """

    def __init__(self, subject: str, message_id: str | None, last: Exception) -> None:
        super().__init__(
            f"whether the publish to {subject!r} was stored is unknown: an attempt had no answer, and the last one "
            f"failed ({last}); publish it again with message_id={message_id!r} within the stream's duplicate window"
        )
        self.subject = subject
        self.message_id = message_id


class MessageSettledError(JetStreamError):
    """A message was acked, naked or terminated before, and is so once."""


class AckNotTakenError(JetStreamError):
    """Nobody took a double ack: the consumer is gone, or the message is no longer its own."""


class AcksPendingError(JetStreamError):
    """`acks_pending_max` acks wait for a connection, or for the server's confirmation. This one was not taken in."""


class ConsumerDeletedError(JetStreamError):
    """The consumer is gone, deleted or lost by its server, and pulls from it have ended."""


class PullRefusedError(JetStreamError):
    """The server refuses a pull for what it asks.

    Attributes:
        status: the server's status code.
        description: the server's words.
    """

    def __init__(self, status: int, description: str) -> None:
        super().__init__(f"the server refuses the pull: {description} (status {status}); change what is asked for")
        self.status = status
        self.description = description


@frozen
class FailedPublish:
    """A publish of a pipelined publisher that was not acknowledged: where it went, its message id, and why."""

    subject: str
    message_id: str | None
    error: Exception


class PublisherError(JetStreamError):
    """A pipelined publisher was left, and not everything it had published was stored.

    Attributes:
        failed: what was not stored, the first of them.
        unknown: what may have been stored, the first of them.
        failed_count: how many were not stored.
        unknown_count: how many may have been stored.
    """

    def __init__(
        self,
        failed: tuple[FailedPublish, ...],
        unknown: tuple[FailedPublish, ...],
        failed_count: int,
        unknown_count: int,
    ) -> None:
        first = (*failed, *unknown)[0]
        super().__init__(
            f"{failed_count} publishes failed and the fate of {unknown_count} is unknown; the first went to "
            f"{first.subject!r}: {first.error}; publish them again, the unknown ones under their message ids"
        )
        self.failed = failed
        self.unknown = unknown
        self.failed_count = failed_count
        self.unknown_count = unknown_count


_CLASSES: Final[Mapping[int, type[APIError]]] = MappingProxyType(
    {
        10013: ConsumerExistsError,
        10014: ConsumerNotFoundError,
        10037: MessageNotFoundError,
        10039: JetStreamNotEnabledError,
        10043: MessageNotFoundError,
        10058: StreamExistsError,
        10059: StreamNotFoundError,
        10060: WrongStreamError,
        10070: WrongLastMessageIdError,
        10071: WrongLastSequenceError,
        10076: JetStreamNotEnabledError,
        10148: ConsumerExistsError,
        10149: ConsumerNotFoundError,
        10158: PublishInProcessError,
        10164: WrongLastSequenceError,
        10185: APILevelError,
    }
)


def api_error(raw: object, asked: str = "") -> APIError:
    """The error in a reply of the API, of the class for its number; never raises."""
    fields: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    code, err_code = (value if isinstance(value := fields.get(key), int) else 0 for key in ("code", "err_code"))
    description = str(fields.get("description", "an error without words"))
    return _CLASSES.get(err_code, APIError)(code, err_code, description, asked)
