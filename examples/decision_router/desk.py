"""The desk: a DecideRequest comes in as bytes, and what is to be done about it comes out as a record.

    bytes -> validation -> tenancy -> identities -> rate -> policy -> selection -> building -> Answer
             a Refusal (permanent) or a Later (temporary) leaves it at any step

All is synchronous and takes the time as an argument; nothing is sent from here. What comes again is answered as it was
the first time. Must not know NATS.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any, Final, NoReturn

import attrs

from .building import build_assignment, build_decision, context_of_request
from .errors import ErrorCode, Later, Refusal, failures_as
from .identities import TTL_SECONDS, Identities
from .messages import DecideRequest, DecideResponse, Decision, ExecAssignment, to_json
from .policy import Policy
from .providers import Providers, TenantProviders
from .rates import PER_MINUTE, Rates
from .remembered import Remembered
from .selection import Choice, select
from .tenancy import Tenancy
from .validation import read_decide_request
from .workers import Assigned, Workers

ASSIGNMENT_SUBJECT: Final = "caf.exec.assign.v1"
# A request's own subject must be one that the workers' stream takes: a client shall not publish where it likes.
OWN_SUBJECT_PREFIX: Final = "caf.exec.assign.to."


@attrs.frozen
class Answer:
    """A request is decided: the response, and the assignment that is to go out behind it."""

    response: DecideResponse
    assignment: ExecAssignment | None
    assignment_subject: str


@attrs.frozen
class _Decided:
    decision: Decision
    retries: int | None


@attrs.define
class Desk:
    """What one instance of the decision router knows, and its decisions.

    Attributes:
        tenancy: the tenants; may be changed while it runs.
        workers: what has been assigned, and what is told of it.
        decided: decisions by their reason.
    """

    tenancy: Tenancy
    providers: Providers = attrs.field(factory=Providers)
    workers: Workers = attrs.field(default=attrs.Factory(lambda self: Workers(self.tenancy, self.providers), True))
    rates: Rates = attrs.field(factory=Rates)
    decided: Counter[str] = attrs.field(factory=Counter[str])
    _requests: Identities = attrs.field(factory=lambda: Identities("the request"), init=False)
    _decisions: Remembered[str, _Decided] = attrs.field(factory=lambda: Remembered(TTL_SECONDS), init=False)
    # (tenant, policy, session) -> provider
    _sessions: Remembered[tuple[str, str, str], str] = attrs.field(factory=lambda: Remembered(TTL_SECONDS), init=False)

    def decide(self, payload: bytes, now: float, wall_ms: int) -> Answer:
        """Decide a request.

        Args:
            now: seconds, of a clock that never goes back.
            wall_ms: the time of day, milliseconds since the epoch.

        Raises:
            Refusal: it is refused, for good.
            Later: it is above the tenant's rate, or something has failed that may go better.
        """
        with failures_as(ErrorCode.INTERNAL_VALIDATION_ERROR, "the validation"):
            request = read_decide_request(payload)
            self.tenancy.admit(request.tenant_id)
            content = fingerprint(request)
            self._requests.is_new(request.request_id, content, now)
        with failures_as(ErrorCode.INTERNAL, "the decision"):
            return self._decide_valid(request, content, now, wall_ms)

    def _decide_valid(self, request: DecideRequest, content: str, now: float, wall_ms: int) -> Answer:
        decided = self._decisions.get(request.request_id, now)
        if decided is None:
            self._keep_rate(request, now)
            decided = self._decide_new(request, now, wall_ms)
            self._requests.note(request.request_id, content, now)
            self._decisions.put(request.request_id, decided, now)
            self.decided[decided.decision.reason] += 1
        return _answer(request, decided)

    def _decide_new(self, request: DecideRequest, now: float, wall_ms: int) -> _Decided:
        _check_assignment_subject(request)
        if request.push_assignment:
            self.tenancy.admit_assignment(request.tenant_id)
        policy = self.tenancy.policy_of(request.tenant_id, request.policy_id)
        session = _session(policy, request)
        key = (request.tenant_id, policy.policy_id, session or "")
        sticky = None if session is None else self._sessions.get(key, now)
        market = TenantProviders(self.providers, request.tenant_id, now)
        choice = select(policy, request.request_id, request.task.type, request.constraints, sticky, market)
        expires_at_ms = None if session is None else self._keep_session(policy, choice, key, now, wall_ms)
        decision = build_decision(policy, choice, market.expected(choice.provider), session, expires_at_ms)
        decided = _Decided(decision, None if choice.rule is None else choice.rule.retry)
        self._assign(request, decided, market, now)
        return decided

    def _assign(self, request: DecideRequest, decided: _Decided, market: TenantProviders, now: float) -> None:
        """The provider has a job now, or none of ours."""
        assignment = _answer(request, decided).assignment
        if assignment is None:
            market.leave()
            return
        retry = assignment.options.retry
        market.begin(
            assignment.assignment_id, retry.max_attempts * (assignment.options.deadline_ms + retry.backoff_ms) / 1000
        )
        assigned = Assigned(request.tenant_id, decided.decision.provider_id, now)
        self.workers.note_assigned(assignment.assignment_id, assigned, now)

    def _keep_session(
        self, policy: Policy, choice: Choice, key: tuple[str, str, str], now: float, wall_ms: int
    ) -> int | None:
        """When the session may get another provider. A fallback does not become its provider."""
        if policy.sticky is not None and choice.reason in {"weighted", "best_score"}:
            self._sessions.put(key, choice.provider.name, now, ttl_seconds=policy.sticky.ttl_seconds)
        entry = self._sessions.entry(key, now)
        if entry is None or entry[1] != choice.provider.name:
            return None
        return wall_ms + round((entry[0] - now) * 1000)

    def _keep_rate(self, request: DecideRequest, now: float) -> None:
        tier = self.tenancy.tier_of(request.tenant_id)
        seconds = self.rates.wait(request.tenant_id, tier, request.request_id, now)
        if seconds > 0:
            raise Later(
                ErrorCode.INTERNAL,
                f"tenant {request.tenant_id!r} is above its tier's {PER_MINUTE[tier]} requests a minute; ask slower",
                seconds,
            )


def fingerprint(request: DecideRequest) -> str:
    """The same for what asks the same: without the trace, and however its JSON is written."""
    plain = json.loads(to_json(attrs.evolve(request, trace_id=None)))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _answer(request: DecideRequest, decided: _Decided) -> Answer:
    response = DecideResponse(decision=decided.decision, context=context_of_request(request))
    assignment = build_assignment(request, decided.decision, decided.retries) if request.push_assignment else None
    return Answer(response, assignment, request.assignment_subject or ASSIGNMENT_SUBJECT)


def _session(policy: Policy, request: DecideRequest) -> str | None:
    """The request's session, where the policy wants one to be kept and the request has one.

    Raises:
        Refusal: invalid_request.
    """
    if policy.sticky is None or not policy.sticky.enabled:
        return None
    value: Any = request.metadata.get(policy.sticky.session_key)
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, (str, int)) or not 1 <= len(text) <= 256:
        _refuse(
            f"metadata.{policy.sticky.session_key}", "is no session; give a text of 1 to 256 characters, or an integer"
        )
    return text


def _check_assignment_subject(request: DecideRequest) -> None:
    """Where its assignment goes must be for assignments.

    Raises:
        Refusal: invalid_request.
    """
    subject = request.assignment_subject
    if subject is None:
        return
    if not request.push_assignment:
        _refuse("assignment_subject", "is there without push_assignment; set that to true, or leave both out")
    tokens = subject.removeprefix(OWN_SUBJECT_PREFIX).split(".")
    plain = all(token and token.isascii() and not set(token) & set("*> ") for token in tokens)
    if subject != ASSIGNMENT_SUBJECT and not (plain and subject.startswith(OWN_SUBJECT_PREFIX)):
        _refuse("assignment_subject", f"is {subject!r}; it must begin with {OWN_SUBJECT_PREFIX!r} and have no wildcard")


def _refuse(field: str, why: str) -> NoReturn:
    raise Refusal(ErrorCode.INVALID_REQUEST, f"{field} {why}", {"field": field})
