"""A JetStream API on the toy server: fixed answers, and what was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests._memory import ToyServer

Answer = dict[str, Any] | None


def answer(server: ToyServer, subject: str, *answers: Answer) -> None:
    """Requests to a subject get these answers in turn, then the last one for ever; None is silence."""
    left = list(answers)

    def take(_payload: bytes) -> bytes | None:
        one = left.pop(0) if len(left) > 1 else left[0]
        return None if one is None else json.dumps(one).encode()

    server.services[subject.encode()] = take


def serve(server: ToyServer, subject: str, function: Callable[[Any], Answer]) -> None:
    """Requests to a subject are answered by a function of their JSON."""

    def take(payload: bytes) -> bytes | None:
        one = function(json.loads(payload) if payload else None)
        return None if one is None else json.dumps(one).encode()

    server.services[subject.encode()] = take


def asked(server: ToyServer, subject: str) -> list[Any]:
    """The JSON of every request to a subject."""
    return [
        json.loads(operation.payload) if operation.payload else None
        for operation in server.record
        if operation.verb in ("PUB", "HPUB") and operation.args[0].decode() == subject
    ]


def headers_to(server: ToyServer, subject: str) -> list[bytes | None]:
    """The header block of every publish to a subject."""
    return [
        operation.header
        for operation in server.record
        if operation.verb in ("PUB", "HPUB") and operation.args[0].decode() == subject
    ]


def error(code: int, err_code: int, description: str = "no") -> dict[str, Any]:
    """An error answer, with the sequence that the server puts beside it."""
    return {"error": {"code": code, "err_code": err_code, "description": description}, "stream": "S", "seq": 0}


def stored(sequence: int = 1, **fields: Any) -> dict[str, Any]:
    """A PubAck."""
    return {"stream": "S", "seq": sequence, **fields}
