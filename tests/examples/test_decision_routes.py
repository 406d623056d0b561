"""The decision router on NATS, in virtual time: what leaves, in which order, how often, and a message's fate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from beamline_trio.testing import World
from examples.decision_router import ErrorCode
from examples.decision_router.building import assignment_id_of
from examples.decision_router.streams import (
    ACK_SUBJECT,
    BACKPRESSURE_SUBJECT,
    DECIDE_SUBJECT,
    RESULT_SUBJECT,
    dead_letter_subject_of,
    reply_subject_of,
)
from tests.examples._corpus import encoded, files, payload_of, prepared, read, request
from tests.examples._decisions import ACKS, decisions, new_desk, run_instance

ASSIGN = "caf.exec.assign."
DECIDED = [file for file in files("decide") if read(file)["expect"]["outcome"] == "answered"]
REFUSED = [
    file
    for file in files("decide")
    if read(file)["expect"]["outcome"] == "refused" and not read(file).get("given", {}).get("last_try")
    if "payload_of_bytes" not in read(file)  # more than 1 MiB is refused by the server itself
]


# -------------------------------------------------------------------------------------------------- what leaves


@pytest.mark.parametrize("file", DECIDED, ids=lambda file: file.stem)
async def test_the_corpus_is_answered_on_the_wire(nats_world: World, file: Path) -> None:
    """A request of the corpus gets its response in its inbox, and its assignment under its own id; then its ack."""
    case = read(file)
    desk = prepared(case.get("given", {}), "")
    async with decisions(nats_world, desk) as app:
        await trio.sleep_until(float(case.get("given", {}).get("after_seconds", 0.5)) + 1.0)
        await app.ask(payload_of(case), inbox="_INBOX.app.1")
        await app.until_idle()
        (answer,) = app.seen("_INBOX.app.1")
        expected = case["expect"]
        got = answer.json["decision"]
        for name in ("provider_id", "priority", "reason", "sticky_key", "policy_id", "fallback_used"):
            assert got.get(name) == expected["response"]["decision"].get(name)
        assignments = app.seen(ASSIGN)
        if "assignment" in expected:
            (assignment,) = assignments
            assert assignment.subject == expected["assignment_subject"]
            assert assignment.json == expected["assignment"] | {"decision": got}
            assert assignment.headers["Nats-Msg-Id"] == assignment.json["assignment_id"]
        else:
            assert assignments == []
        assert await app.stored("DEAD_LETTERS") == 0


async def test_without_an_inbox_the_answer_goes_to_the_usual_subject(nats_world: World) -> None:
    """So it does where the request names what is no inbox: nobody has the router publish where it likes."""
    async with decisions(nats_world) as app:
        await app.ask(encoded(request(1)))
        for number, inbox in enumerate(
            ("$JS.API.STREAM.DELETE.DECIDE", "_INBOX.>", "_INBOX..x", "orders", ""), start=2
        ):
            await app.ask(encoded(request(number)), inbox=inbox)
        await app.until_idle()
        assert len(app.seen(reply_subject_of(DECIDE_SUBJECT))) == 6
        assert await app.stored("DECIDE") == 6


@pytest.mark.parametrize("instances", [1, 3])
async def test_the_response_goes_out_before_the_assignment_and_both_before_the_ack(
    nats_world: World, instances: int
) -> None:
    """Held on the trace of the server, for 200 requests that are worked on together, by one and by three instances."""
    async with decisions(nats_world, *(new_desk() for _ in range(instances))) as app:
        for number in range(200):
            await app.asked_for(number, push_assignment=True)
        await app.until_idle()
        acks = {acked_sequence(one.subject): place for place, one in acks_of(app.trace, "router-decide-consumer")}
        for number in range(200):
            request_id = request(number)["request_id"]
            (response,) = app.places("_INBOX.app.", request_id)
            (assignment,) = app.places(ASSIGN, request_id)
            assert response < assignment < acks[number + 1], number
        assert await app.stored("ASSIGNMENTS") == 200


def acks_of(trace: list[Any], durable: str) -> list[tuple[int, Any]]:
    """The acks (not the naks) of a durable, with their places."""
    return [
        (place, one)
        for place, one in enumerate(trace)
        if one.subject.startswith(ACKS) and f".{durable}." in one.subject and one.payload.startswith(b"+ACK")
    ]


def acked_sequence(subject: str) -> int:
    """The stream sequence in an ack subject of either layout."""
    tokens = subject.split(".")
    return int(tokens[5] if len(tokens) == 9 else tokens[7])


# ------------------------------------------------------------------------------------------------- exactly once


async def test_a_duplicate_makes_one_assignment(nats_world: World) -> None:
    """The same request again is acked and nothing more: soon, late, in other words, and to another instance."""
    async with decisions(nats_world, new_desk(), new_desk()) as app:
        for _ in range(3):
            await app.asked_for(1, push_assignment=True)
        await app.until_idle()
        await app.asked_for(1, push_assignment=True, trace_id="another")
        await app.until_idle()
        assert await app.stored("ASSIGNMENTS") == 1
        assert len({one.payload for one in app.seen("_INBOX.app.1")}) <= 2  # the trace is another
        assert await app.stored("DEAD_LETTERS") == 0


async def test_one_instance_answers_a_duplicate_once(nats_world: World) -> None:
    """Within the hour the same request is acked without work; its one answer has been given."""
    async with decisions(nats_world) as app:
        for _ in range(5):
            await app.asked_for(1, push_assignment=True)
            await app.until_idle()
        assert len(app.seen("_INBOX.app.1")) == 1
        assert len(app.seen(ASSIGN)) == 1


async def test_a_usage_event_comes_exactly_once_for_each_final_result(nats_world: World) -> None:
    """Of every status, however often the result is told and to whichever instance; success and failure alike."""
    statuses = ("success", "error", "timeout", "cancelled")
    async with decisions(nats_world, new_desk(), new_desk()) as app:
        for number in range(len(statuses)):
            await app.asked_for(number, push_assignment=True)
        await app.until_idle()
        assignments = sorted((one.json for one in app.seen(ASSIGN)), key=lambda one: one["request_id"])
        for assignment, status in zip(assignments, statuses, strict=True):
            for again in range(3):
                await app.tell_result(assignment, status, tenant_id="acme", timestamp=again)
                await trio.sleep(0.2)
        await app.until_idle()
        assert await app.stored("USAGE") == len(statuses)
        charged = {one["assignment_id"]: one for one in app.usage}
        for assignment, status in zip(assignments, statuses, strict=True):
            event = charged[assignment["assignment_id"]]
            assert (event["status"], event["tenant_id"]) == (status, "acme")
            assert event["provider_id"] == assignment["executor"]["provider_id"]


@pytest.mark.slow
async def test_usage_is_charged_once_over_kills_of_the_router(nats_world: World) -> None:
    """An instance that is killed at any moment, over and over, charges no result twice and leaves none out."""
    async with decisions(nats_world) as app, trio.open_nursery() as nursery:
        for number in range(60):
            await app.asked_for(number, push_assignment=True)
        await app.until_idle()
        assignments = [one.json for one in app.seen(ASSIGN)]
        scope = await nursery.start(run_instance, nats_world, new_desk(), "killed")
        chance = nats_world.random("kills")
        for assignment in assignments:
            await app.tell_result(assignment, tenant_id="acme")
            await trio.sleep(chance.uniform(0, 0.01))
            if chance.random() < 0.3:
                scope.cancel()
                scope = await nursery.start(run_instance, nats_world, new_desk(), f"killed-{assignment['request_id']}")
        await app.until_idle()
        assert await app.stored("USAGE") == 60
        assert {one["assignment_id"] for one in app.usage} == {one["assignment_id"] for one in assignments}
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------- the fate of a message


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
async def test_a_refused_message_is_answered_dead_lettered_then_acked(nats_world: World, file: Path) -> None:
    """In this order on the trace, at the first delivery, with the cause; each permanent case of the corpus."""
    case = read(file)
    async with decisions(nats_world, prepared(case.get("given", {}), "")) as app:
        await trio.sleep_until(float(case.get("given", {}).get("after_seconds", 0.5)))
        await app.ask(payload_of(case), inbox="_INBOX.app.1")
        await app.until_idle()
        (answer,) = app.seen("_INBOX.app.1")
        assert answer.json == case["expect"]["response"]
        (letter,) = app.seen(dead_letter_subject_of(DECIDE_SUBJECT))
        assert letter.payload == payload_of(case)
        assert letter.headers["Beamline-Subject"] == DECIDE_SUBJECT
        assert letter.headers["Beamline-Deliveries"] == "1"
        code = case["expect"]["response"]["error"]["code"]
        assert any(code in value for _, value in letter.headers.items())
        ((acked, _),) = acks_of(app.trace, "router-decide-consumer")
        assert app.trace.index(answer) < app.trace.index(letter) < acked
        assert app.seen(ASSIGN) == []


async def test_what_workers_tell_wrongly_is_dead_lettered_without_an_answer(nats_world: World) -> None:
    """Acks and results that are refused go to dead letters of their own; nobody waits for an answer to them."""
    async with decisions(nats_world, new_desk(result_tenants=["globex"])) as app:
        request_id = request(1)["request_id"]
        assignment = {
            "assignment_id": assignment_id_of(request_id), "request_id": request_id,
            "executor": {"provider_id": "large"}, "job": {"type": "chat"},
        }  # fmt: skip
        await app.tell_result(assignment, "success", tenant_id="acme")
        await app.tell_ack(assignment, "perhaps")
        await app.until_idle()
        (result,) = app.seen(dead_letter_subject_of(RESULT_SUBJECT))
        (ack,) = app.seen(dead_letter_subject_of(ACK_SUBJECT))
        assert any(ErrorCode.TENANT_FORBIDDEN in value for _, value in result.headers.items())
        assert any(ErrorCode.SCHEMA_VALIDATION_FAILED in value for _, value in ack.headers.items())
        assert app.usage == []


async def test_a_dead_letter_that_cannot_be_stored_keeps_the_message(nats_world: World) -> None:
    """Without its stream nothing is acked; when it is back the message is dead-lettered, once."""
    async with decisions(nats_world) as app:
        config = (await app.js.stream_info("DEAD_LETTERS")).config
        await app.js.delete_stream("DEAD_LETTERS")
        await app.ask(b'{"version": "2"}', inbox="_INBOX.app.1")
        await trio.sleep(1.5)
        assert acks_of(app.trace, "router-decide-consumer") == []
        await app.js.create_stream(config)
        await app.until_idle()
        assert await app.stored("DEAD_LETTERS") == 1


class _Down(dict[str, Any]):
    """Tenants that cannot be looked up."""

    def get(self, key: str, default: Any = None) -> Any:
        raise ConnectionError("the tenants' store is down")


async def test_what_fails_for_a_while_is_tried_again_and_answered_once(nats_world: World) -> None:
    """Naks with the route's delays (1, 2, 4 s, give or take a fifth), no answer in between; then the decision."""
    desk = new_desk()
    there, desk.tenancy.tenants = desk.tenancy.tenants, _Down()
    async with decisions(nats_world, desk) as app:
        await app.asked_for(1, push_assignment=True)
        await trio.sleep(2.0)  # two deliveries have failed
        assert app.seen("_INBOX.app.1") == []
        desk.tenancy.tenants = there
        await app.until_idle()
        (answer,) = app.seen("_INBOX.app.1")
        assert answer.json["ok"]
        assert await app.stored("DEAD_LETTERS") == 0
        naks = [one for one in app.seen(ACKS) if one.payload.startswith(b"-NAK")]
        delays = [json.loads(one.payload[5:])["delay"] / 1e9 for one in naks]
        assert [round(delay / expected, 1) for delay, expected in zip(delays, (1, 2), strict=True)] == pytest.approx(
            [1.0, 1.0], abs=0.2
        )


async def test_what_fails_on_every_try_is_refused_on_the_last(nats_world: World) -> None:
    """Four deliveries; then the error response, the dead letter and the ack, and nothing about the inside."""
    desk = new_desk()
    desk.tenancy.tenants = _Down()
    async with decisions(nats_world, desk) as app:
        await app.asked_for(1)
        await app.until_idle()
        (answer,) = app.seen("_INBOX.app.1")
        assert answer.json["error"]["code"] == ErrorCode.INTERNAL
        assert b"store is down" not in answer.payload
        (letter,) = app.seen(dead_letter_subject_of(DECIDE_SUBJECT))
        assert letter.headers["Beamline-Deliveries"] == "4"
        assert answer.at == pytest.approx(7.0, abs=1.5)
        info = await app.js.consumer_info("DECIDE", "router-decide-consumer")
        assert (info.num_ack_pending, info.num_pending) == (0, 0)


@pytest.mark.slow
async def test_a_burst_above_the_rate_is_spread_and_not_lost(nats_world: World) -> None:
    """250 requests at once of a tenant with 100 a minute: all are answered, within two minutes and a little."""
    async with decisions(nats_world) as app:
        for number in range(250):
            await app.asked_for(number, tenant_id="globex")
        await app.until_idle(200.0)
        answers = app.seen("_INBOX.app.")
        assert len(answers) == 250
        assert all(one.json["ok"] for one in answers)
        minutes = [sum(one.at < limit for one in answers) for limit in (30.0, 90.0, 150.0)]
        assert minutes == [100, 200, 250]
        assert await app.stored("DEAD_LETTERS") == 0


async def test_an_assignment_that_no_stream_takes_is_not_acked(nats_world: World) -> None:
    """While the workers' stream is away the request waits; the client has its answer once or more, always the same."""
    async with decisions(nats_world) as app:
        config = (await app.js.stream_info("ASSIGNMENTS")).config
        await app.js.delete_stream("ASSIGNMENTS")
        await app.asked_for(1, push_assignment=True)
        await trio.sleep(3.0)
        assert acks_of(app.trace, "router-decide-consumer") == []
        await app.js.create_stream(config)
        await app.until_idle()
        assert await app.stored("ASSIGNMENTS") == 1
        answers = {one.payload for one in app.seen("_INBOX.app.1")}
        assert len(answers) == 1
        assert json.loads(answers.pop())["ok"]


# ------------------------------------------------------------------------------------------- acks, status, outages


async def test_a_rejected_assignment_counts_against_its_provider(nats_world: World) -> None:
    """Five rejections in a row: the sixth request goes to the fallback for 429."""
    desk = new_desk()
    async with decisions(nats_world, desk) as app:
        for number in range(40):
            await app.asked_for(number, push_assignment=True)
        await app.until_idle()
        large = [one.json for one in app.seen(ASSIGN) if one.json["executor"]["provider_id"] == "large"]
        for assignment in large[:5]:
            await app.tell_ack(assignment, "rejected")
        await app.until_idle()
        assert desk.workers.told["ack_rejected"] == 5
        number = next(n for n in range(100, 200) if not provider_is_small(n))
        await app.asked_for(number)
        await app.until_idle()
        (answer,) = app.seen(f"_INBOX.app.{number}")
        assert (answer.json["decision"]["provider_id"], answer.json["decision"]["priority"]) == ("small", 20)


def provider_is_small(number: int) -> bool:
    """Whether the request draws the smaller of the default policy."""
    return new_desk().decide(encoded(request(number)), 0.0, 0).response.decision.provider_id == "small"


async def test_the_backpressure_is_told_on_request(nats_world: World) -> None:
    """Level, metrics and thresholds."""
    async with decisions(nats_world) as app:
        told = json.loads((await app.nc.request(BACKPRESSURE_SUBJECT)).payload)
        assert told["level"] == "inactive"
        assert told["metrics"] == {"pending": 0, "in_flight": 0, "p95_seconds": 0.0}
        assert told["thresholds"]["pending"] == 1000
        assert (told["thresholds"]["p95_seconds"], told["thresholds"]["in_flight"]) == (5.0, 500)


async def test_every_request_has_one_fate_over_an_outage(nats_world: World) -> None:
    """The router is cut off for ten seconds in the middle of 100 requests, good and bad.

    Each is answered, and always the same; each good one has one assignment, each bad one one dead letter.
    """
    async with decisions(nats_world) as app, trio.open_nursery() as nursery:
        nursery.start_soon(_cut_off, nats_world)
        for number in range(100):
            fields: dict[str, Any] = {"push_assignment": True} if number % 4 else {"version": "2"}
            await app.asked_for(number, **fields)
            await trio.sleep(0.05)
        await app.until_idle()
        answers = {number: set[bytes]() for number in range(100)}
        for one in app.seen("_INBOX.app."):
            answers[int(one.subject.rpartition(".")[2])].add(one.payload)
        assert {len(payloads) for payloads in answers.values()} == {1}
        assert await app.stored("ASSIGNMENTS") == 75
        assert await app.stored("DEAD_LETTERS") == 25


async def _cut_off(world: World) -> None:
    await trio.sleep(2.0)
    with world.network.partition("router-0", "a"):
        await trio.sleep(10.0)
