"""A survey finds what both servers have, and leaves them as they were."""

from __future__ import annotations

import attrs
import pytest
import trio

from beamline_trio import ConsumerConfig, JetStream, Message, StreamConfig, open_client
from beamline_trio.operation.check import RouteNeeds, Severity, Target, find_problems, survey_server
from beamline_trio.server_process import Server, open_server
from beamline_trio.testing import EitherServer

LIMIT_SECONDS = 15.0
CONSUMER = ConsumerConfig(durable_name="billing", filter_subject="orders.*", ack_wait_seconds=30.0)
NEEDS = RouteNeeds(
    name="bill",
    subject="orders.*",
    stream="ORDERS",
    consumer=CONSUMER,
    dead_letter="dlq.orders",
    targets=(Target(pattern="bills.*", stored=True), Target(pattern="news", stored=False)),
)


@pytest.mark.nats_config(jetstream=True)
async def test_what_is_there_and_what_is_not(nats: EitherServer) -> None:
    """On an empty server everything is missing; what the findings ask for makes them go; nothing else was made."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=nats.dialer()) as nc:
            js = JetStream(nc)
            survey = await survey_server(nc, [NEEDS])
            errors = [one.what for one in find_problems([NEEDS], survey) if one.severity is Severity.ERROR]
            assert len(errors) == 3
            assert await js.stream_names() == []

            await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.*",)))
            await js.create_stream(StreamConfig(name="REST", subjects=("dlq.>", "bills.*")))
            await js.create_consumer("ORDERS", attrs.evolve(CONSUMER, backoff_seconds=(1.0, 2.0), max_deliver=5))
            survey = await survey_server(nc, [NEEDS])
            assert survey.takers == {"dlq.orders": ("REST",), "bills.*": ("REST",)}
            found = [one for one in find_problems([NEEDS], survey) if one.route]
            assert [one.severity for one in found] == [Severity.ERROR, Severity.WARNING]
            assert "backoff" in found[0].what

            await js.delete_consumer("ORDERS", "billing")
            assert [one for one in find_problems([NEEDS], await survey_server(nc, [NEEDS])) if one.route] == []
            assert await js.consumer_names("ORDERS") == []


async def test_a_server_without_jetstream(nats: EitherServer) -> None:
    """It is said once for a route that needs it, and a core route needs none."""
    core = RouteNeeds(name="price", subject="price.get")
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=nats.dialer()) as nc:
            survey = await survey_server(nc, [NEEDS, core])
            found = [one for one in find_problems([NEEDS, core], survey) if one.route]
            assert [(one.route, one.severity) for one in found] == [("bill", Severity.ERROR)]
            assert survey.server


USERS = """
authorization { users: [
  {user: all, password: x}
  {user: some, password: x, permissions: {
    publish: ["$SYS.REQ.USER.INFO", "$JS.API.>", "dlq.>"], subscribe: ["_INBOX.>", "price.* prices"]}}
  {user: none, password: x, permissions: {publish: "a", subscribe: "_INBOX.>"}}
]}
"""


async def test_permissions_are_found_without_trying_them(nats_server_executable: object) -> None:
    """What the server tells of the user decides; who may not even ask is told so."""
    core = RouteNeeds(name="price", subject="price.get", queue_group="prices")
    async with open_server(jetstream=True, config=USERS) as server:
        with trio.fail_after(LIMIT_SECONDS):
            async with open_client(server.url, user="all", password="x") as nc:
                js = JetStream(nc)
                await js.create_stream(StreamConfig(name="ORDERS", subjects=("orders.*",)))
                await js.create_stream(StreamConfig(name="REST", subjects=("dlq.>", "bills.*")))
                assert find_problems([NEEDS, core], await survey_server(nc, [NEEDS, core])) == ()
            changes = await _changes(server, "some", [NEEDS, core])
            assert changes == [
                "allow it: publish '$JS.ACK.ORDERS.billing.>'",
                "allow it: publish 'bills.*'",
                "allow it: publish 'news'",
                "set allow_responses for the user, or allow: publish '_INBOX.>'",
            ]
            changes = await _changes(server, "none", [NEEDS, core])
            assert set(changes) == {"allow it to the user of this check, or check with another one"}


async def _changes(server: Server, user: str, needs: list[RouteNeeds]) -> list[str]:
    async with open_client(server.url, user=user, password="x") as nc:
        return [one.change for one in find_problems(needs, await survey_server(nc, needs))]


async def test_an_answer_without_permissions(nats: EitherServer) -> None:
    """Somebody else who answers there is not believed: permissions are unknown, and that is told."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_client(nats.url, dialer=nats.dialer()) as nc, trio.open_nursery() as nursery:
            if nats.simulated:  # the real server keeps this subject for itself

                async def answer(_: Message) -> bytes:
                    return b"[]"

                await nursery.start(nc.serve, "$SYS.REQ.USER.INFO", answer)
            survey = await survey_server(nc, [])
            assert (survey.permissions is None) == nats.simulated
            assert bool(survey.unanswered) == nats.simulated
            nursery.cancel_scope.cancel()
