"""Payload -> record, or a `Refusal`: the version first, then the schema, then the correlation ids.

Must not know tenants, policies or what came before.
"""

from __future__ import annotations

from typing import Any, cast, get_args

from .errors import ErrorCode, Refusal
from .messages import (
    VERSION,
    AckStatus,
    AssignmentAck,
    Constraints,
    Context,
    DecideRequest,
    ExecResult,
    ResultStatus,
    Task,
)
from .reading import Fields, read_object

_ACK_STATUSES: tuple[str, ...] = get_args(AckStatus)
_RESULT_STATUSES: tuple[str, ...] = get_args(ResultStatus)


def read_decide_request(payload: bytes) -> DecideRequest:
    """A DecideRequest.

    Raises:
        Refusal: PAYLOAD_TOO_SMALL, VERSION_UNSUPPORTED, SCHEMA_VALIDATION_FAILED or CORRELATION_FIELDS_INVALID.
    """
    fields = read_object(payload)
    if fields.values.get("version") != VERSION:
        _refuse_version(fields)
    task = _read_task(fields.object("task"))
    constraints = fields.optional_object("constraints")
    return DecideRequest(
        tenant_id=fields.text("tenant_id"),
        task=task,
        policy_id=fields.optional_text("policy_id"),
        constraints=Constraints(
            max_latency_ms=constraints.optional_number("max_latency_ms"),
            max_cost=constraints.optional_number("max_cost"),
        ),
        metadata=fields.optional_object("metadata").values,
        push_assignment=fields.flag("push_assignment"),
        assignment_subject=fields.optional_text("assignment_subject"),
        request_id=fields.uuid("request_id"),
        trace_id=fields.optional_trace("trace_id"),
    )


def read_assignment_ack(payload: bytes) -> AssignmentAck:
    """An AssignmentAck. Workers are not asked for a version.

    Raises:
        Refusal: PAYLOAD_TOO_SMALL, SCHEMA_VALIDATION_FAILED or CORRELATION_FIELDS_INVALID.
    """
    fields = read_object(payload)
    return AssignmentAck(
        status=cast("AckStatus", fields.one_of("status", _ACK_STATUSES)),
        provider_id=fields.optional_text("provider_id"),
        tenant_id=fields.optional_text("tenant_id"),
        assignment_id=fields.uuid("assignment_id"),
        request_id=fields.optional_uuid("request_id"),
        trace_id=fields.optional_trace("trace_id"),
    )


def read_exec_result(payload: bytes) -> ExecResult:
    """An ExecResult. Workers are not asked for a version.

    Raises:
        Refusal: PAYLOAD_TOO_SMALL, SCHEMA_VALIDATION_FAILED or CORRELATION_FIELDS_INVALID.
    """
    fields = read_object(payload)
    return ExecResult(
        status=cast("ResultStatus", fields.one_of("status", _RESULT_STATUSES)),
        provider_id=fields.text("provider_id"),
        job_type=fields.object("job").text("type"),
        latency_ms=fields.number("latency_ms"),
        cost=fields.number("cost"),
        tenant_id=fields.optional_text("tenant_id"),
        timestamp=fields.values.get("timestamp"),
        assignment_id=fields.uuid("assignment_id"),
        request_id=fields.uuid("request_id"),
        trace_id=fields.optional_trace("trace_id"),
    )


def context_of(payload: bytes) -> Context:
    """Whose answer it is, as far as a message that was refused tells."""
    try:
        fields = read_object(payload)
    except Refusal:
        return Context(request_id=None)
    return Context(request_id=_or_none(fields, "request_id"), trace_id=_or_none(fields, "trace_id"))


def _or_none(fields: Fields, name: str) -> str | None:
    try:
        return fields.optional_text(name)
    except Refusal:
        return None


def _read_task(fields: Fields) -> Task:
    payload: Any = fields.values.get("payload")
    reference = fields.optional_text("payload_ref")
    if payload is None and reference is None:
        fields.wrong("payload", "there, or task.payload_ref")
    return Task(type=fields.text("type"), payload=payload, payload_ref=reference)


def _refuse_version(fields: Fields) -> None:
    version = fields.values.get("version")
    has = "missing" if version is None else repr(version)[:40]
    raise Refusal(
        ErrorCode.VERSION_UNSUPPORTED,
        f'version is {has}; this router takes "{VERSION}"',
        {"supported": [VERSION]},
    )
