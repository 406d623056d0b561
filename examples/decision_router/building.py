"""A choice -> the messages that tell it. Ids follow from the request's, so what is repeated is the same.

Must not decide.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from .errors import ErrorCode
from .messages import (
    AssignmentOptions,
    Context,
    DecideRequest,
    Decision,
    ErrorDetail,
    ErrorResponse,
    ExecAssignment,
    ExecResult,
    Executor,
    RetryOptions,
    UsageEvent,
)
from .policy import Policy
from .providers import Expectation
from .selection import Choice

DEADLINE_MS_MIN: Final = 5_000
DEADLINE_MS_MAX: Final = 60_000
# Ids of assignments and usage events are derived within it (RFC 4122, version 5).
_NAMESPACE: Final = uuid.UUID("6f1c0b1e-6d0a-5b7e-9a41-2f7d3c8e5b90")


def context_of_request(request: DecideRequest) -> Context:
    """Whose answer it is."""
    return Context(request_id=request.request_id, trace_id=request.trace_id)


def build_decision(
    policy: Policy, choice: Choice, expected: Expectation, session: str | None, expires_at_ms: int | None
) -> Decision:
    """What the client is told."""
    return Decision(
        provider_id=choice.provider.name,
        priority=choice.priority,
        expected_latency_ms=expected.latency_ms,
        expected_cost=expected.cost,
        reason=choice.reason,
        policy_id=policy.policy_id,
        sticky_key=session,
        fallback_used=True if choice.rule is not None else None,
        expires_at_ms=expires_at_ms,
    )


def build_error(code: ErrorCode, message: str, details: Mapping[str, Any] | None, context: Context) -> ErrorResponse:
    """What the client is told instead."""
    return ErrorResponse(error=ErrorDetail(code=code.value, message=message, details=details or None), context=context)


def build_assignment(request: DecideRequest, decision: Decision, retries: int | None) -> ExecAssignment:
    """The job for the provider's workers; `retries` is how many a fallback rule grants, None = as usual."""
    retry = RetryOptions() if retries is None else RetryOptions(max_attempts=retries + 1)
    return ExecAssignment(
        assignment_id=assignment_id_of(request.request_id),
        request_id=request.request_id,
        executor=Executor(provider_id=decision.provider_id),
        job=request.task,
        options=AssignmentOptions(
            priority=decision.priority, deadline_ms=deadline_ms(decision.expected_latency_ms), retry=retry
        ),
        correlation={} if request.trace_id is None else {"trace_id": request.trace_id},
        decision=decision,
        metadata=request.metadata,
        tenant_id=request.tenant_id,
    )


def build_usage(result: ExecResult, tenant_id: str | None, timestamp_ms: int) -> UsageEvent:
    """What the result is charged by."""
    return UsageEvent(
        usage_id=str(uuid.uuid5(_NAMESPACE, f"usage/{result.assignment_id}")),
        assignment_id=result.assignment_id,
        request_id=result.request_id,
        provider_id=result.provider_id,
        job_type=result.job_type,
        status=result.status,
        latency_ms=result.latency_ms,
        cost=result.cost,
        timestamp_ms=timestamp_ms,
        tenant_id=tenant_id,
        trace_id=result.trace_id,
    )


def assignment_id_of(request_id: str) -> str:
    """The id of the one assignment of a request."""
    return str(uuid.uuid5(_NAMESPACE, f"assignment/{request_id}"))


def deadline_ms(expected_latency_ms: float) -> int:
    """Five times what is expected, from 5 to 60 seconds."""
    return int(min(max(5 * expected_latency_ms, DEADLINE_MS_MIN), DEADLINE_MS_MAX))
