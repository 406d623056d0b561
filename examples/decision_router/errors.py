"""Why a message is not done as asked: the error codes, and the two exceptions of the domain.

`Refusal` is permanent: the client is told, the message is dead-lettered, then acked. `Later` is temporary: the message
comes again. Must not know NATS.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Generator, Mapping
from typing import Any


class ErrorCode(enum.StrEnum):
    """What an `ErrorResponse` says. The upper-case ones are given at intake, before anything is decided."""

    UNAUTHORIZED = "unauthorized"
    INVALID_REQUEST = "invalid_request"
    POLICY_NOT_FOUND = "policy_not_found"
    DECISION_FAILED = "decision_failed"
    INTERNAL = "internal"
    SCHEMA_VALIDATION_FAILED = "SCHEMA_VALIDATION_FAILED"
    VERSION_UNSUPPORTED = "VERSION_UNSUPPORTED"
    CORRELATION_FIELDS_INVALID = "CORRELATION_FIELDS_INVALID"
    TENANT_FORBIDDEN = "TENANT_FORBIDDEN"
    IDEMPOTENCY_VIOLATION = "IDEMPOTENCY_VIOLATION"
    PAYLOAD_TOO_SMALL = "PAYLOAD_TOO_SMALL"
    INTERNAL_VALIDATION_ERROR = "INTERNAL_VALIDATION_ERROR"


class Refusal(Exception):  # noqa: N818  # an answer, not a failure
    """The message is refused, and will always be.

    Attributes:
        code: of ErrorCode.
        message: what is wrong, the value, and what would be right.
        details: the same for programs: the field, the limit.
    """

    def __init__(self, code: ErrorCode, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = dict(details or {})


class Later(Exception):  # noqa: N818  # an answer, not a failure
    """Not now.

    Attributes:
        code: what the client is told when no try is left.
        message: why.
        seconds: how long to wait; None = as long as the route's retry says.
    """

    def __init__(self, code: ErrorCode, message: str, seconds: float | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.seconds = seconds


@contextlib.contextmanager
def failures_as(code: ErrorCode, what: str) -> Generator[None]:
    """What is neither `Refusal` nor `Later` is a bug, or something that is down: another try may go better."""
    try:
        yield
    except (Refusal, Later):
        raise
    except Exception as error:
        # The client is told the kind only: the text may have what is not the client's to know.
        raise Later(code, f"{what} failed with {type(error).__name__}; ask again, under the same id") from error
