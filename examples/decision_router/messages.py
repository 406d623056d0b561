"""The messages of version 1 as records, and how one becomes JSON. Fields that are None are left out.

Reading one is validation.py's; here is nothing that can fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

VERSION: Final = "1"

Reason: TypeAlias = Literal["weighted", "sticky", "fallback", "best_score"]
AckStatus: TypeAlias = Literal["accepted", "rejected", "error"]
ResultStatus: TypeAlias = Literal["success", "error", "timeout", "cancelled"]


# ------------------------------------------------------------------------------------------------------ what comes


@attrs.frozen(kw_only=True)
class Task:
    """What is to be done: its payload, or where the payload lies."""

    type: str
    payload: Any = None
    payload_ref: str | None = None


@attrs.frozen(kw_only=True)
class Constraints:
    """What the client can bear."""

    max_latency_ms: float | None = None
    max_cost: float | None = None


@attrs.frozen(kw_only=True)
class DecideRequest:
    """Which provider shall do this task?

    Attributes:
        request_id: a UUID; the same request may come again under it, another may not.
        policy_id: one of the tenant's policies; None = its first.
        metadata: the client's own; a sticky policy finds its session key there.
        push_assignment: send the job to the workers too.
        assignment_subject: where to, instead of the usual subject.
    """

    request_id: str
    tenant_id: str
    task: Task
    version: str = VERSION
    trace_id: str | None = None
    policy_id: str | None = None
    constraints: Constraints = Constraints()
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    push_assignment: bool = False
    assignment_subject: str | None = None


@attrs.frozen(kw_only=True)
class AssignmentAck:
    """A worker has taken a job, or has not."""

    assignment_id: str
    status: AckStatus
    request_id: str | None = None
    provider_id: str | None = None
    tenant_id: str | None = None
    trace_id: str | None = None


@attrs.frozen(kw_only=True)
class ExecResult:
    """How a job ended. Every status is final."""

    assignment_id: str
    request_id: str
    status: ResultStatus
    provider_id: str
    job_type: str
    latency_ms: float
    cost: float
    trace_id: str | None = None
    tenant_id: str | None = None
    timestamp: Any = None


# ----------------------------------------------------------------------------------------------------- what goes out


@attrs.frozen(kw_only=True)
class Decision:
    """The answer. `expires_at_ms` is when the session may get another provider; milliseconds since the epoch."""

    provider_id: str
    priority: int
    expected_latency_ms: float
    expected_cost: float
    reason: Reason
    policy_id: str | None = None
    sticky_key: str | None = None
    fallback_used: bool | None = None
    expires_at_ms: int | None = None


@attrs.frozen(kw_only=True)
class Context:
    """Which request an answer is to; `request_id` is None where it could not be read."""

    request_id: str | None
    trace_id: str | None = None


@attrs.frozen(kw_only=True)
class DecideResponse:
    """The request is decided."""

    decision: Decision
    context: Context
    ok: bool = True


@attrs.frozen(kw_only=True)
class ErrorDetail:
    """Why not: a code of ErrorCode, a sentence, and the same for programs."""

    code: str
    message: str
    details: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class ErrorResponse:
    """The request is refused."""

    error: ErrorDetail
    context: Context
    ok: bool = False


@attrs.frozen(kw_only=True)
class Executor:
    """Who shall do a job."""

    provider_id: str
    channel: str = "nats"


@attrs.frozen(kw_only=True)
class RetryOptions:
    """How often a worker may try."""

    max_attempts: int = 2
    backoff_ms: int = 200


@attrs.frozen(kw_only=True)
class AssignmentOptions:
    """How a job is to be done."""

    priority: int
    deadline_ms: int
    retry: RetryOptions = RetryOptions()


@attrs.frozen(kw_only=True)
class ExecAssignment:
    """A job for the workers of a provider. Its id follows from the request's, so a repeated one is the same."""

    assignment_id: str
    request_id: str
    executor: Executor
    job: Task
    options: AssignmentOptions
    correlation: Mapping[str, str]
    decision: Decision
    metadata: Mapping[str, Any]
    tenant_id: str
    version: str = VERSION


@attrs.frozen(kw_only=True)
class UsageEvent:
    """What a result is charged by. Its id follows from the assignment's."""

    usage_id: str
    assignment_id: str
    request_id: str
    provider_id: str
    job_type: str
    status: ResultStatus
    latency_ms: float
    cost: float
    timestamp_ms: int
    tenant_id: str | None = None
    trace_id: str | None = None
    version: str = VERSION


def to_json(record: attrs.AttrsInstance) -> bytes:
    """A message as it goes out: compact ASCII, without what is None. A client's own JSON in it stays as it came."""
    return json.dumps(_plain(record), separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(value: Any) -> Any:
    if not attrs.has(type(value)):
        return value
    pairs = ((field.name, _plain(getattr(value, field.name))) for field in attrs.fields(type(value)))
    # A context always has its request_id.
    return {
        name: one for name, one in pairs if one is not None or (name == "request_id" and isinstance(value, Context))
    }
