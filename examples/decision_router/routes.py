"""The routes: what comes from the streams goes to the desk, and what it says becomes the outcome of the message.

    decide    the response, behind it the assignment (PubAck), then the ack
    acks      nothing goes out
    results   the usage event (PubAck), then the ack
    refused   the error response, the dead letter (PubAck), then the ack; of workers' messages only the dead letter
    later     a nak with its delay; on the last try it is refused

Must not decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import attrs
import trio

from beamline_trio import JetStreamMessage, Message
from beamline_trio.router import Backpressure, DeadLetter, MemoryIdempotence, Middleware, Publish, Retry, Router

from .desk import Answer, Desk, fingerprint
from .duplicates import once
from .errors import Later, Refusal
from .fates import Postponed, fate_of
from .identities import TTL_SECONDS
from .messages import to_json
from .streams import (
    ACK_SUBJECT,
    BACKPRESSURE_SUBJECT,
    DECIDE_SUBJECT,
    RESULT_SUBJECT,
    USAGE_SUBJECT,
    dead_letter_subject_of,
    reply_subject_of,
)
from .tenancy import Tenancy
from .tenants import TENANTS
from .validation import read_assignment_ack, read_decide_request, read_exec_result

T = TypeVar("T")
Outcome: TypeAlias = list[Publish] | Retry | DeadLetter

# A stream keeps no reply subject, so a client that wants its answer in an inbox names it here.
REPLY_TO: Final = "Reply-To"
RETRY: Final = Retry(max_deliver=4)
THRESHOLDS: Final = Backpressure()


def make_router(desk: Desk, middleware: Sequence[Middleware] = ()) -> Router:
    """The router over a desk, with middleware around all its handlers.

    Several instances share the durables; what each of them knows is its own.
    """
    store = MemoryIdempotence(TTL_SECONDS, claim_seconds=TTL_SECONDS)
    router = Router(
        "decisions",
        version="1.0.0",
        backpressure=THRESHOLDS,
        middleware=middleware,
    )

    @router.route(
        DECIDE_SUBJECT,
        stream="DECIDE",
        durable="router-decide-consumer",
        concurrency=16,
        retry=RETRY,
        dead_letter=dead_letter_subject_of(DECIDE_SUBJECT),
        middleware=[once(store, key_of_request)],
    )
    async def decide(message: JetStreamMessage) -> Outcome:
        try:
            answer = desk.decide(message.payload, trio.current_time(), stored_ms(message))
        except (Refusal, Later) as error:
            return _not_done(error, message, reply_to(message))
        return effects_of(answer, reply_to(message))

    @router.route(
        ACK_SUBJECT,
        stream="RESULTS",
        durable="router-acks",
        retry=RETRY,
        dead_letter=dead_letter_subject_of(ACK_SUBJECT),
        middleware=[once(store, key_of_ack)],
    )
    async def acks(message: JetStreamMessage) -> Outcome:
        try:
            desk.workers.take_ack(message.payload, trio.current_time())
        except (Refusal, Later) as error:
            return _not_done(error, message)
        return []

    @router.route(
        RESULT_SUBJECT,
        stream="RESULTS",
        durable="router-results",
        concurrency=16,
        retry=RETRY,
        dead_letter=dead_letter_subject_of(RESULT_SUBJECT),
        middleware=[once(store, key_of_result)],
    )
    async def results(message: JetStreamMessage) -> Outcome:
        try:
            usage = desk.workers.take_result(message.payload, trio.current_time(), stored_ms(message))
        except (Refusal, Later) as error:
            return _not_done(error, message)
        return [Publish(USAGE_SUBJECT, to_json(usage), headers={"Nats-Msg-Id": usage.usage_id})]

    @router.route(BACKPRESSURE_SUBJECT)
    async def backpressure(message: Message) -> bytes:
        status = router.guards.meter.status
        metrics = {"pending": status.pending, "in_flight": status.in_flight, "p95_seconds": status.p95_seconds}
        return json.dumps(
            {"level": status.level.value, "metrics": metrics, "thresholds": attrs.asdict(THRESHOLDS)}
        ).encode()

    return router


def effects_of(answer: Answer, reply: str) -> list[Publish]:
    """The response first; the assignment under its own id, so that a stream takes it once."""
    effects = [Publish(reply, to_json(answer.response), confirm="server")]
    if answer.assignment is not None:
        headers = {"Nats-Msg-Id": answer.assignment.assignment_id}
        effects.append(Publish(answer.assignment_subject, to_json(answer.assignment), headers=headers))
    return effects


def reply_to(message: Message) -> str:
    """Where the answer goes: the inbox that the request names, else the usual subject.

    What is no inbox is not taken: a client shall not have anything published where it likes.
    """
    inbox = message.headers.get(REPLY_TO, "") or ""
    plain = inbox.isascii() and inbox.isprintable() and all(inbox.split(".")) and not set(inbox) & set("*> ")
    return inbox if plain and inbox.startswith("_INBOX.") else reply_subject_of(message.subject)


def stored_ms(message: JetStreamMessage) -> int:
    """When the stream stored the message: the same at each delivery, and so is what is made of it."""
    return message.metadata.timestamp_ns // 1_000_000


def key_of_request(message: Message) -> str | None:
    """The id and the content: the same again is a duplicate, another content under the id is the desk's to refuse."""
    request = _read(read_decide_request, message)
    return None if request is None else f"decide/{request.request_id}/{fingerprint(request)}"


def key_of_ack(message: Message) -> str | None:
    """An assignment, and whether it was taken."""
    ack = _read(read_assignment_ack, message)
    return None if ack is None else f"ack/{ack.assignment_id}/{ack.status}"


def key_of_result(message: Message) -> str | None:
    """An assignment, and how it ended."""
    result = _read(read_exec_result, message)
    return None if result is None else f"result/{result.assignment_id}/{result.status}"


def _read(read: Callable[[bytes], T], message: Message) -> T | None:
    """The record, or None of what is refused: it has no key, and comes to the desk."""
    try:
        return read(message.payload)
    except Refusal:
        return None


def _not_done(error: Refusal | Later, message: JetStreamMessage, reply: str | None = None) -> Retry | DeadLetter:
    """Given up with an answer where somebody waits for one, or asked for again."""
    fate = fate_of(error, message.payload, last_try=message.metadata.delivered >= RETRY.max_deliver)
    if isinstance(fate, Postponed):
        return Retry(fate.seconds, fate.reason)
    answer = [] if reply is None else [Publish(reply, to_json(fate.response), confirm="server")]
    return DeadLetter(fate.reason, effects=answer)


router = make_router(Desk(Tenancy(tenants=TENANTS)))
