"""The golden corpus: each file is a message, what came before it, and what must come of it.

`given` of a case, all optional:
    before, before_acks, before_results   what came before, with the second at which it came
    requests_before                       so many other requests of the same tenant, at once
    open                                  provider -> the failures that have opened its breaker
    after_seconds                         when the message comes
    last_try                              it will not be delivered again
    broken                                a part of the tenancy that raises
    nested                                the payload is so many opening brackets
    every other key                       a field of the tenancy

Must not know a router.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from examples.decision_router import Desk, ErrorCode, Later, Refusal, Tenancy
from examples.decision_router.fates import Refused, fate_of
from examples.decision_router.messages import to_json
from examples.decision_router.tenants import TENANTS

GOLDEN = Path(__file__).parent / "golden"
WALL_MS = 1_700_000_000_000
_TENANCY = {field.name for field in attrs.fields(Tenancy)}


def files(kind: str) -> list[Path]:
    """The cases of a kind: decide, ack, result."""
    return sorted((GOLDEN / kind).glob("*.json"))


def read(file: Path) -> dict[str, Any]:
    """A case."""
    case: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return case


def payload_of(case: dict[str, Any]) -> bytes:
    """The message of a case."""
    if "payload_of_bytes" in case:
        return b" " * int(case["payload_of_bytes"])
    if "nested" in case.get("given", {}):
        return b"[" * int(case["given"]["nested"])
    if "payload" in case:
        return str(case["payload"]).encode()
    return encoded(case["request"])


def encoded(message: Any) -> bytes:
    """A message as a client sends it."""
    return json.dumps(message).encode()


def prepared(given: dict[str, Any], tenant: str) -> Desk:
    """A desk to which has happened what is given."""
    desk = Desk(Tenancy(tenants=TENANTS, **{name: value for name, value in given.items() if name in _TENANCY}))
    for earlier in given.get("before", ()):
        desk.decide(encoded(earlier["request"]), earlier["after_seconds"], WALL_MS)
    for earlier in given.get("before_acks", ()):
        desk.workers.take_ack(encoded(earlier), 1.0)
    for earlier in given.get("before_results", ()):
        desk.workers.take_result(encoded(earlier), 1.0, WALL_MS)
    for provider, failure in given.get("open", {}).items():
        open_breaker(desk, "acme", provider, failure)
    for number in range(given.get("requests_before", 0)):
        desk.decide(encoded(request(number, tenant_id=tenant)), 0.0, WALL_MS)
    return desk


def request(number: int, **fields: Any) -> dict[str, Any]:
    """The number-th of many requests."""
    usual = {"version": "1", "tenant_id": "acme", "task": {"type": "chat", "payload": number}}
    return {**usual, "request_id": f"22222222-2222-4222-8222-{number:012x}", **fields}


def open_breaker(desk: Desk, tenant: str, provider: str, failure: str, now: float = 0.5) -> None:
    """Five failures in a row, as results or as acks, of jobs that another instance has given out."""
    for number in range(5):
        told = {"assignment_id": f"33333333-3333-5333-8333-{len(desk.workers.told):06x}{number:06x}"}
        told |= {"tenant_id": tenant, "provider_id": provider, "status": failure}
        if failure == "rejected":
            desk.workers.take_ack(encoded(told), now)
        else:
            desk.providers.settle(
                tenant, provider, told["assignment_id"], "timeout" if failure == "timeout" else "5xx", 0.1, now
            )


def outcome(kind: str, case: dict[str, Any]) -> dict[str, Any]:
    """What comes of a case, as the corpus writes it."""
    given = case.get("given", {})
    desk = prepared(given, case.get("request", {}).get("tenant_id", ""))
    payload, now = payload_of(case), float(given.get("after_seconds", 0.5))
    broken = given.get("broken")
    try:
        if broken is None:
            return _take(desk, kind, payload, now)
        with mock.patch.object(Tenancy, broken, side_effect=KeyError("a secret")):
            return _take(desk, kind, payload, now)
    except (Refusal, Later) as error:
        fate = fate_of(error, payload, last_try=bool(given.get("last_try")))
    if isinstance(fate, Refused):
        return {"outcome": "refused", "response": plain(fate.response)}
    return {"outcome": "postponed", "seconds": fate.seconds, "reason": fate.reason}


def plain(record: attrs.AttrsInstance) -> Any:
    """A message as JSON gives it back."""
    return json.loads(to_json(record))


def codes(outcomes: list[dict[str, Any]]) -> set[ErrorCode]:
    """The error codes of these outcomes."""
    return {ErrorCode(one["response"]["error"]["code"]) for one in outcomes if one["outcome"] == "refused"}


def _take(desk: Desk, kind: str, payload: bytes, now: float) -> dict[str, Any]:
    if kind == "ack":
        desk.workers.take_ack(payload, now)
        return {"outcome": "taken", "told": dict(desk.workers.told)}
    if kind == "result":
        usage = desk.workers.take_result(payload, now, WALL_MS)
        return {"outcome": "charged", "usage": plain(usage), "told": dict(desk.workers.told)}
    answer = desk.decide(payload, now, WALL_MS)
    said: dict[str, Any] = {"outcome": "answered", "response": plain(answer.response)}
    if answer.assignment is not None:
        said |= {"assignment": plain(answer.assignment), "assignment_subject": answer.assignment_subject}
    return said
