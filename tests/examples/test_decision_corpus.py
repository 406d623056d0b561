"""The decision router's golden corpus: every message and every error code, to the letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.decision_router import Desk, ErrorCode, Later, Refusal, Tenancy
from examples.decision_router.fates import Refused, fate_of
from examples.decision_router.messages import to_json
from examples.decision_router.tenants import TENANTS
from tests.examples._corpus import WALL_MS, codes, files, outcome, read, request

CASES = [(kind, file) for kind in ("decide", "ack", "result") for file in files(kind)]
REASONS = {"weighted", "sticky", "fallback", "best_score"}
# The codes that tell what is wrong with a field.
NAMING = {
    ErrorCode.SCHEMA_VALIDATION_FAILED, ErrorCode.VERSION_UNSUPPORTED, ErrorCode.CORRELATION_FIELDS_INVALID,
    ErrorCode.POLICY_NOT_FOUND, ErrorCode.INVALID_REQUEST,
}  # fmt: skip
FIELDS = (
    "version", "request_id", "tenant_id", "task", "trace_id", "policy_id", "constraints", "metadata",
    "push_assignment", "assignment_subject",
)  # fmt: skip
KEYS = (*FIELDS, "type", "payload", "status", "job", "assignment_id", "provider_id", "latency_ms", "cost")
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=300) | st.lists(st.integers(), max_size=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)
ANYTHING = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("kind, file", CASES, ids=[f"{kind}/{file.stem}" for kind, file in CASES])
def test_what_comes_of_a_message(kind: str, file: Path) -> None:
    """Each case of the corpus: what its message is answered with, or refused or postponed for."""
    case = read(file)
    assert outcome(kind, case) == case["expect"], case["law"]


def test_the_corpus_has_every_code_and_every_reason() -> None:
    """Each error code is refused with somewhere, and each reason is decided by, as is each of the priorities."""
    expected = [read(file)["expect"] for _, file in CASES]
    assert codes(expected) == set(ErrorCode)
    decisions = [one["response"]["decision"] for one in expected if one["outcome"] == "answered"]
    assert {decision["reason"] for decision in decisions} == REASONS
    assert {decision["priority"] for decision in decisions} == {100, 50, 25, 20}


def test_each_case_states_a_law_of_its_own() -> None:
    """Two cases that say the same are one too many, and one that says nothing is not understood."""
    laws = [read(file)["law"] for _, file in CASES]
    assert all(law.endswith(".") for law in laws)
    assert len(set(laws)) == len(laws)


@given(ANYTHING)
def test_no_payload_is_a_bug(payload: bytes) -> None:
    """Whatever comes is decided or refused with an answer that can be sent; nothing of it is an internal error."""
    desk = Desk(Tenancy(tenants=TENANTS))
    for take in (
        lambda: desk.decide(payload, 0.0, WALL_MS),
        lambda: desk.workers.take_ack(payload, 0.0),
        lambda: desk.workers.take_result(payload, 0.0, WALL_MS),
    ):
        try:
            take()
        except Refusal as refusal:
            fate = fate_of(refusal, payload, last_try=False)
            assert isinstance(fate, Refused)
            assert json.loads(to_json(fate.response))["ok"] is False
        except Later as later:
            raise AssertionError(later.message) from later


@given(st.sampled_from(FIELDS), SCALARS)
def test_one_wrong_field_is_named(field: str, value: object) -> None:
    """A request with one field replaced is decided, or refused with a code that names the field or the policy."""
    desk = Desk(Tenancy(tenants=TENANTS))
    asked = request(1, push_assignment=True, trace_id="t", policy_id="default") | {field: value}
    refused: list[Refusal] = []
    try:
        desk.decide(json.dumps(asked).encode(), 0.0, WALL_MS)
    except Refusal as refusal:
        refused.append(refusal)
    for one in refused:
        assert one.code in NAMING
        assert field in one.message or field.removesuffix("_id") in one.message
