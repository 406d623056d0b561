"""What workers tell: acks and results of assignments, what they say about a provider, and what is charged.

All is synchronous and takes the time as an argument; nothing is sent from here. Must not know NATS.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import attrs

from .building import assignment_id_of, build_usage
from .errors import ErrorCode, Refusal, failures_as
from .identities import TTL_SECONDS, Identities
from .messages import AssignmentAck, ExecResult, UsageEvent
from .policy import Failure
from .providers import Providers
from .remembered import Remembered
from .tenancy import Tenancy
from .validation import read_assignment_ack, read_exec_result

# That somebody has cancelled a job says nothing bad about its provider.
_FAILURE_OF_RESULT: Final[dict[str, Failure | None]] = {
    "success": None, "error": "5xx", "timeout": "timeout", "cancelled": None,
}  # fmt: skip
_FAILURE_OF_ACK: Final[dict[str, Failure | None]] = {"accepted": None, "rejected": "429", "error": "5xx"}


@attrs.frozen
class Assigned:
    """Who was given a job, and when."""

    tenant: str
    provider: str
    at: float


@attrs.define
class Workers:
    """What one instance of the decision router is told by workers.

    Attributes:
        told: acks and results by their status; `unknown_provider` of those whose provider no policy has.
    """

    tenancy: Tenancy
    providers: Providers
    told: Counter[str] = attrs.field(factory=Counter[str])
    _acks: Identities = attrs.field(factory=lambda: Identities("the ack of assignment"), init=False)
    _results: Identities = attrs.field(factory=lambda: Identities("the result of assignment"), init=False)
    _assigned: Remembered[str, Assigned] = attrs.field(factory=lambda: Remembered(TTL_SECONDS), init=False)

    def note_assigned(self, assignment_id: str, assigned: Assigned, now: float) -> None:
        """A job is given out."""
        self._assigned.put(assignment_id, assigned, now)

    def take_ack(self, payload: bytes, now: float) -> AssignmentAck:
        """A worker has taken a job, or has not, which is a failure of its provider.

        Raises:
            Refusal: it is refused, for good.
            Later: something has failed that may go better.
        """
        with failures_as(ErrorCode.INTERNAL_VALIDATION_ERROR, "the validation"):
            ack = read_assignment_ack(payload)
        with failures_as(ErrorCode.INTERNAL, "taking the ack"):
            self._note_ack(ack, now)
        return ack

    def _note_ack(self, ack: AssignmentAck, now: float) -> None:
        assigned = self._correlated(ack.assignment_id, ack.request_id, ack.provider_id, now)
        tenant = ack.tenant_id or (None if assigned is None else assigned.tenant)
        self.tenancy.admit_result(tenant)
        if self._acks.is_new(ack.assignment_id, ack.status, now):
            self._acks.note(ack.assignment_id, ack.status, now)
            self.told[f"ack_{ack.status}"] += 1
            provider = ack.provider_id or (None if assigned is None else assigned.provider)
            failure = _FAILURE_OF_ACK[ack.status]
            if failure is not None:
                self._judge(tenant, provider, ack.assignment_id, failure, 0.0, now)

    def take_result(self, payload: bytes, now: float, wall_ms: int) -> UsageEvent:
        """A job has ended: what it is charged by. The same result again gives the same event, and counts once.

        Raises:
            Refusal: it is refused, for good.
            Later: something has failed that may go better.
        """
        with failures_as(ErrorCode.INTERNAL_VALIDATION_ERROR, "the validation"):
            result = read_exec_result(payload)
        with failures_as(ErrorCode.INTERNAL, "taking the result"):
            return build_usage(result, self._note_result(result, now), wall_ms)

    def _note_result(self, result: ExecResult, now: float) -> str | None:
        """Whose result it is, where that is known."""
        assigned = self._correlated(result.assignment_id, result.request_id, result.provider_id, now)
        tenant = result.tenant_id or (None if assigned is None else assigned.tenant)
        self.tenancy.admit_result(tenant)
        if self._results.is_new(result.assignment_id, result.status, now):
            self._results.note(result.assignment_id, result.status, now)
            self.told[f"result_{result.status}"] += 1
            failure = _FAILURE_OF_RESULT[result.status]
            self._judge(tenant, result.provider_id, result.assignment_id, failure, result.latency_ms / 1000, now)
            self._learn(tenant, result)
        return tenant

    def _judge(
        self, tenant: str | None, provider: str | None, assignment_id: str, failure: Failure | None, seconds: float,
        now: float,
    ) -> None:  # fmt: skip
        """Tell the breaker; of a provider that no policy has none is kept."""
        if tenant is None or provider is None or self.tenancy.provider_of(tenant, provider) is None:
            self.told["unknown_provider"] += 1
            return
        self.providers.settle(tenant, provider, assignment_id, failure, seconds, now)

    def _learn(self, tenant: str | None, result: ExecResult) -> None:
        provider = None if tenant is None else self.tenancy.provider_of(tenant, result.provider_id)
        if tenant is not None and provider is not None and result.status == "success":
            self.providers.learn(tenant, provider, result.latency_ms, result.cost)

    def _correlated(
        self, assignment_id: str, request_id: str | None, provider: str | None, now: float
    ) -> Assigned | None:
        """The assignment, where this instance has made it and still knows.

        Raises:
            Refusal: CORRELATION_FIELDS_INVALID: it contradicts what comes back.
        """
        if request_id is not None and assignment_id_of(request_id) != assignment_id:
            _refuse("request_id", f"the assignment of request {request_id} is not {assignment_id}")
        assigned = self._assigned.get(assignment_id, now)
        if assigned is not None and provider not in {None, assigned.provider}:
            _refuse("provider_id", f"{assignment_id} was assigned to {assigned.provider}, not to {provider}")
        return assigned


def _refuse(field: str, message: str) -> None:
    raise Refusal(ErrorCode.CORRELATION_FIELDS_INVALID, message, {"field": field})
