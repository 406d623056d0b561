"""Retrying a publish that has a PubAck: when, how often, and how long. Pure decisions; the loop is in `_publishing`.

Must not wait or send.
"""

from __future__ import annotations

import random
from typing import Any, Final, Literal

import attrs
import trio

from ..connection import ConnectionLostError, OptionsError, PendingTimeoutError
from ..connection import number as _number
from ..connection import one_of as _one_of
from ..protocol import frozen
from ._errors import APIError, NoStreamResponseError, PublishInProcessError

# One type checker widens a literal that is given to attrs.field() to str.
_EXPONENTIAL: Any = "exponential"
_SERVER_ERRORS: Final = 500


def _share(_: Any, field: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise OptionsError(f"{field.name} is {value!r}; it must be a number from 0 to less than 1")


@frozen(kw_only=True)
class PublishRetry:
    """How `js.publish` tries again. All attempts carry one message id, so that the stream stores the message once.

    Attributes:
        attempts: in all, the first included.
        backoff: `exponential` (doubled each time) or `linear` (one base more each time).
        base_seconds: before the second attempt.
        delay_max_seconds: the longest delay.
        jitter: each delay is drawn from this share around itself.
        attempt_timeout_seconds: without a PubAck for so long an attempt has failed. While there is no connection only
            `deadline_seconds` counts.
        deadline_seconds: for all attempts and delays together.
        duplicate_window_seconds: how long the stream remembers a message id, where the server does not let it be
            looked up; it is then assumed to be the server's default.
        duplicate_margin_seconds: no attempt is made so shortly before the end of that window, counted from the first
            attempt whose fate is unknown: behind it the message might be stored twice.
    """

    attempts: int = attrs.field(default=3, validator=_number(least=1, whole=True))
    backoff: Literal["exponential", "linear"] = attrs.field(
        default=_EXPONENTIAL, validator=_one_of("exponential", "linear")
    )
    base_seconds: float = attrs.field(default=0.1, validator=_number(least=0.001))
    delay_max_seconds: float = attrs.field(default=5.0, validator=_number(least=0.001))
    jitter: float = attrs.field(default=0.2, validator=_share)
    attempt_timeout_seconds: float = attrs.field(default=2.0, validator=_number(least=0.001))
    deadline_seconds: float = attrs.field(default=10.0, validator=_number(least=0.001))
    duplicate_window_seconds: float = attrs.field(default=120.0, validator=_number(least=0.1))
    duplicate_margin_seconds: float = attrs.field(default=1.0, validator=_number(least=0))

    def delay(self, failed: int, chance: random.Random) -> float:
        """Seconds to wait behind the attempt of this number (1 = the first)."""
        steps = 2 ** min(failed - 1, 64) if self.backoff == "exponential" else failed
        delay = min(self.base_seconds * steps, self.delay_max_seconds)
        return delay * (1 + self.jitter * (2 * chance.random() - 1))


def is_retryable(error: Exception) -> bool:
    """Whether another attempt may end better: no answer yet, no connection, no stream, or an error like HTTP's 5xx."""
    if isinstance(error, APIError):
        return error.code >= _SERVER_ERRORS or isinstance(error, PublishInProcessError)
    return isinstance(error, (trio.TooSlowError, ConnectionLostError, NoStreamResponseError))


def is_unknown(error: Exception) -> bool:
    """Whether the message may have been stored all the same."""
    if isinstance(error, ConnectionLostError):
        return error.sent == "maybe"
    if isinstance(error, PublishInProcessError):
        return True
    return isinstance(error, trio.TooSlowError) and not isinstance(error, PendingTimeoutError)
