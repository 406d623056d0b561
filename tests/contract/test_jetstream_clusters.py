"""Three servers that share streams: who answers, what is said of it, and what comes when its leader is gone.

Each test runs on real servers and on simulated ones; what they say is the same but for names, numbers and times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from beamline_trio import Client, JetStream, NatsError, NoRespondersError, OperationTimeoutError, open_client
from beamline_trio.jetstream import ConsumerConfig, StreamConfig
from beamline_trio.simulation import World

from ._replicated import ReplicatedServer, open_replicated

pytestmark = pytest.mark.timeout(120)

# Two elections, of which one may fail.
_LED_SECONDS = 40.0
_POLL_SECONDS = 0.05
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.fixture
async def replicated(server_side: Path | World) -> AsyncGenerator[Sequence[ReplicatedServer]]:
    """Three servers with JetStream."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(open_replicated(server_side))


@asynccontextmanager
async def _client(server: ReplicatedServer) -> AsyncGenerator[Client]:
    async with open_client(
        server.url, dialer=server.dialer, ignore_discovered=True, operation_timeout_seconds=1.5
    ) as nc:
        yield nc


async def _ask(nc: Client, what: str, body: object = None) -> dict[str, Any]:
    data = b"" if body is None else json.dumps(body).encode()
    reply: dict[str, Any] = json.loads((await nc.request(f"$JS.API.{what}", data)).payload)
    return reply


async def _make(nc: Client, **fields: Any) -> JetStream:
    js = JetStream(nc)
    await js.create_stream(StreamConfig(name="S", subjects=("s.>",), num_replicas=3, **fields))
    await js.create_consumer("S", ConsumerConfig(durable_name="D", ack_policy="explicit"))
    await trio.sleep(0.3)
    return js


async def _section(nc: Client, what: str = "STREAM.INFO.S") -> dict[str, Any]:
    """The section `cluster` of an info, as soon as somebody answers with a leader."""
    with trio.fail_after(_LED_SECONDS):
        while True:
            try:
                section: dict[str, Any] = (await _ask(nc, what)).get("cluster", {})
            except NatsError:
                section = {}
            if section.get("leader"):
                return section
            await trio.sleep(_POLL_SECONDS)


def _named(servers: Sequence[ReplicatedServer], name: str) -> ReplicatedServer:
    return next(server for server in servers if server.name == name)


def _other(servers: Sequence[ReplicatedServer], *names: str) -> ReplicatedServer:
    return next(server for server in servers if server.name not in names)


async def _until_caught_up(nc: Client) -> None:
    """All followers have everything."""
    with trio.fail_after(_LED_SECONDS):
        while True:
            if all(one["current"] and "lag" not in one for one in (await _section(nc))["replicas"]):
                return
            await trio.sleep(_POLL_SECONDS)


def _shape(section: dict[str, Any]) -> dict[str, Any]:
    """What is the same on both sides: fields in their order, and how many of what."""
    replicas = section.get("replicas", [])
    return {
        "fields": list(section),
        "replicas": [[name for name in one if name != "lag"] for one in replicas],
        "current": [one["current"] for one in replicas],
    }


async def test_infos_have_a_section_of_the_cluster(replicated: Sequence[ReplicatedServer]) -> None:
    """The leader, since when, and its followers with their ids; of one replica only the leader is told."""
    async with _client(replicated[0]) as nc:
        js = await _make(nc)
        await js.publish("s.a", b"x")
        await js.create_stream(StreamConfig(name="One", subjects=("one.>",)))
        for what, kind in (("STREAM.INFO.S", "S"), ("CONSUMER.INFO.S.D", "C")):
            section = (await _ask(nc, what))["cluster"]
            assert _shape(section) == {
                "fields": [
                    "name", "raft_group", "leader", "leader_since", "system_account", "traffic_account", "replicas",
                ],
                "replicas": [["name", "current", "active", "peer"]] * 2,
                "current": [True, True],
            }  # fmt: skip
            assert section["raft_group"].startswith(f"{kind}-R3F-")
            assert len(section["raft_group"]) == len("S-R3F-12345678")
            assert {section["leader"], *(one["name"] for one in section["replicas"])} == {"c-1", "c-2", "c-3"}
        alone = (await _ask(nc, "STREAM.INFO.One"))["cluster"]
        assert list(alone) == ["name", "leader"]


async def test_peers_are_called_by_the_hash_of_their_names(replicated: Sequence[ReplicatedServer]) -> None:
    """Eight digits of base 62, out of the SHA-256 of the server's name."""
    async with _client(replicated[0]) as nc:
        await _make(nc)
        for one in (await _ask(nc, "STREAM.INFO.S"))["cluster"]["replicas"]:
            digest = hashlib.sha256(one["name"].encode()).digest()
            assert one["peer"] == "".join(_BASE62[byte % 62] for byte in digest[:8])


async def test_a_stream_that_is_there_is_found_again(replicated: Sequence[ReplicatedServer]) -> None:
    """Who makes the same stream again is answered as who made it first, but for `did_create`."""
    async with _client(replicated[0]) as nc:
        await _make(nc)
        config = {"name": "S", "subjects": ["s.>"], "num_replicas": 3}
        again = await _ask(nc, "STREAM.CREATE.S", config)
        assert again["type"] == "io.nats.jetstream.api.v1.stream_create_response"
        assert list(again) == ["type", "config", "created", "state", "cluster", "ts"]
        other = await _ask(nc, "STREAM.CREATE.S", {**config, "max_msgs": 3})
        assert other["error"]["err_code"] == 10058
        overlap = await _ask(nc, "STREAM.CREATE.T", {"name": "T", "subjects": ["s.a"], "num_replicas": 3})
        assert overlap["error"]["err_code"] == 10065
        many = await _ask(nc, "STREAM.CREATE.F", {"name": "F", "num_replicas": 5})
        assert many["error"]["err_code"] == 10005


async def test_lists_have_what_all_leaders_say(replicated: Sequence[ReplicatedServer]) -> None:
    """Whoever leads it: each stream and consumer stands in the lists with its state."""
    async with _client(replicated[0]) as nc:
        js = await _make(nc)
        for number in range(4):
            await js.create_stream(StreamConfig(name=f"T{number}", subjects=(f"t{number}.>",), num_replicas=1))
            await js.publish(f"t{number}.a", b"x")
        await js.publish("s.a", b"x")
        listed = await _ask(nc, "STREAM.LIST")
        assert list(listed) == ["type", "total", "offset", "limit", "streams"]
        assert {one["config"]["name"]: one["state"]["messages"] for one in listed["streams"]} == {
            "S": 1, "T0": 1, "T1": 1, "T2": 1, "T3": 1,
        }  # fmt: skip
        assert [one["name"] for one in (await _ask(nc, "CONSUMER.LIST.S"))["consumers"]] == ["D"]
        assert (await _ask(nc, "CONSUMER.NAMES.S"))["consumers"] == ["D"]
        account = await _ask(nc, "INFO")
        assert (account["streams"], account["consumers"]) == (5, 1)
        assert (await _ask(nc, "STREAM.INFO.Z"))["error"]["err_code"] == 10059
        assert (await _ask(nc, "CONSUMER.INFO.S.Z"))["error"]["err_code"] == 10014


async def test_lead_moves_when_it_is_told_to(replicated: Sequence[ReplicatedServer]) -> None:
    """A stream and a consumer that step down have another leader some hundredths of a second later."""
    async with _client(replicated[0]) as nc:
        js = await _make(nc)
        for what, info in (
            ("STREAM.LEADER.STEPDOWN.S", "STREAM.INFO.S"),
            ("CONSUMER.LEADER.STEPDOWN.S.D", "CONSUMER.INFO.S.D"),
        ):
            before = (await _section(nc, info))["leader"]
            told = await _ask(nc, what)
            assert list(told) == ["type", "success"]
            await trio.sleep(0.5)
            assert (await _section(nc, info))["leader"] != before
        assert (await js.publish("s.a", b"x")).sequence == 1
        assert (await _ask(nc, "STREAM.LEADER.STEPDOWN.Z"))["error"]["err_code"] == 10059


async def test_what_has_one_server_stays_there(replicated: Sequence[ReplicatedServer]) -> None:
    """A stream and a consumer of one replica are told to step down, confirm it, and lead on."""
    async with _client(replicated[0]) as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="S", subjects=("s.>",), num_replicas=1))
        await js.create_consumer("S", ConsumerConfig(durable_name="D"))
        for what, info in (
            ("STREAM.LEADER.STEPDOWN.S", "STREAM.INFO.S"),
            ("CONSUMER.LEADER.STEPDOWN.S.D", "CONSUMER.INFO.S.D"),
        ):
            before = (await _ask(nc, info))["cluster"]["leader"]
            assert (await _ask(nc, what))["success"]
            assert (await _ask(nc, info))["cluster"]["leader"] == before
        assert (await js.publish("s.a", b"x")).sequence == 1


@pytest.mark.parametrize("how", ["step down", "kill"])
async def test_a_pull_that_waits_is_told_of_the_next_leader(replicated: Sequence[ReplicatedServer], how: str) -> None:
    """The next leader ends it with 409 Leadership Change, without a count of what it did not get."""
    async with _client(replicated[0]) as nc:
        await _make(nc)
        lead = (await _section(nc, "CONSUMER.INFO.S.D"))["leader"]
    async with _client(_other(replicated, lead)) as nc, nc.subscribe("pulls") as pulls:
        await nc.publish("$JS.API.CONSUMER.MSG.NEXT.S.D", b'{"batch":5,"expires":90000000000}', reply="pulls")
        await trio.sleep(0.5)
        if how == "kill":
            _named(replicated, lead).kill()
        else:
            await _ask(nc, "CONSUMER.LEADER.STEPDOWN.S.D")
        with trio.fail_after(_LED_SECONDS):
            told = await pulls.receive()
        assert (told.headers.status, told.headers.description) == (409, "Leadership Change")
        assert not list(told.headers)


async def test_a_pull_that_is_over_is_told_of_no_leader(replicated: Sequence[ReplicatedServer]) -> None:
    """Whoever was told that the time is up hears nothing of the next leader."""
    async with _client(replicated[0]) as nc, nc.subscribe("pulls") as pulls:
        await _make(nc)
        await nc.publish("$JS.API.CONSUMER.MSG.NEXT.S.D", b'{"batch":5,"expires":500000000}', reply="pulls")
        with trio.fail_after(_LED_SECONDS):
            assert (await pulls.receive()).headers.status == 408
        await trio.sleep(0.5)
        before = (await _section(nc, "CONSUMER.INFO.S.D"))["leader"]
        await _ask(nc, "CONSUMER.LEADER.STEPDOWN.S.D")
        await trio.sleep(0.5)
        assert (await _section(nc, "CONSUMER.INFO.S.D"))["leader"] != before
        with trio.move_on_after(1.0):
            raise AssertionError(f"told again: {(await pulls.receive()).headers}")


async def test_a_pull_of_a_consumer_that_is_deleted_is_told_so(replicated: Sequence[ReplicatedServer]) -> None:
    """409 Consumer Deleted, without a count of what it did not get."""
    async with _client(replicated[0]) as nc, nc.subscribe("pulls") as pulls:
        await _make(nc)
        await nc.publish("$JS.API.CONSUMER.MSG.NEXT.S.D", b'{"batch":5,"expires":90000000000}', reply="pulls")
        await trio.sleep(0.5)
        await _ask(nc, "CONSUMER.DELETE.S.D")
        with trio.fail_after(_LED_SECONDS):
            told = await pulls.receive()
        assert (told.headers.status, told.headers.description) == (409, "Consumer Deleted")
        assert not list(told.headers)


async def test_without_a_leader_nobody_listens(replicated: Sequence[ReplicatedServer]) -> None:
    """While a stream has no leader its publishers and pulls have no responders, and its infos get no answer."""
    async with _client(replicated[0]) as nc:
        await _make(nc)
        lead = (await _section(nc))["leader"]
    async with _client(_other(replicated, lead)) as nc:
        _named(replicated, lead).kill()
        await trio.sleep(1.0)
        with pytest.raises(NoRespondersError):
            await nc.request("s.a", b"x")
        with pytest.raises(OperationTimeoutError):
            await nc.request("$JS.API.STREAM.INFO.S")
        section = await _section(nc)
        assert section["leader"] != lead
        for _ in range(2):  # who was just elected has never heard of it, and does not begin to count
            gone = next(one for one in section["replicas"] if one["name"] == lead)
            assert (gone["current"], gone["active"]) == (False, 0)
            await trio.sleep(1.5)
            section = await _section(nc)


async def test_what_was_confirmed_stays_and_is_a_duplicate(replicated: Sequence[ReplicatedServer]) -> None:
    """The next leader has what the last one confirmed, knows its message ids, and goes on behind it."""
    async with _client(replicated[0]) as nc:
        js = await _make(nc)
        for number in range(10):
            await js.publish("s.a", b"%d" % number, message_id=f"m{number}")
        lead = (await _section(nc))["leader"]
    async with _client(_other(replicated, lead)) as nc:
        _named(replicated, lead).kill()
        await trio.sleep(1.0)
        assert (await _section(nc))["leader"] != lead
        js = JetStream(nc)
        again = await js.publish("s.a", b"7", message_id="m7")
        assert (again.duplicate, again.sequence) == (True, 8)
        assert (await js.publish("s.a", b"10", message_id="m10")).sequence == 11
        await _named(replicated, lead).start()
        await _until_caught_up(nc)


async def test_acks_and_counts_outlive_the_leader_of_a_consumer(replicated: Sequence[ReplicatedServer]) -> None:
    """What is acknowledged does not come again, and what comes again is counted on."""
    async with _client(replicated[0]) as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="S", subjects=("s.>",), num_replicas=3))
        consumer = await js.create_consumer(
            "S", ConsumerConfig(durable_name="D", ack_policy="explicit", ack_wait_seconds=4.0)
        )
        for number in range(4):
            await js.publish("s.a", b"%d" % number)
        first = await consumer.fetch(3)
        await first[0].ack_sync()
        lead = (await _section(nc, "CONSUMER.INFO.S.D"))["leader"]
    async with _client(_other(replicated, lead)) as nc:
        _named(replicated, lead).kill()
        await trio.sleep(1.0)
        await _section(nc, "CONSUMER.INFO.S.D")
        await _section(nc)
        await trio.sleep(5.0)
        there = await JetStream(nc).consumer("S", "D")
        again: dict[bytes, int] = {}
        with trio.fail_after(_LED_SECONDS):
            while len(again) < 3:
                for message in await there.fetch(5, expires_seconds=1.0):
                    again[message.payload] = message.metadata.delivered
                    await message.ack_sync()
        assert again == {b"1": 2, b"2": 2, b"3": 1}


async def test_how_long_a_message_may_still_take_outlives_the_leader_of_a_consumer(
    replicated: Sequence[ReplicatedServer],
) -> None:
    """A message in progress, and one that is to come later, do not come at once because another one leads."""
    async with _client(replicated[0]) as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="S", subjects=("s.>",), num_replicas=3))
        consumer = await js.create_consumer(
            "S", ConsumerConfig(durable_name="D", ack_policy="explicit", ack_wait_seconds=4.0)
        )
        for text in (b"in progress", b"later", b"neither"):
            await js.publish("s.a", text)
        began = trio.current_time()
        in_progress, later, _ = await consumer.fetch(3)
        await later.nak(9.0)
        await trio.sleep(3.0)
        await in_progress.in_progress()
        await nc.flush()
        await trio.sleep(0.2)
        await _ask(nc, "CONSUMER.LEADER.STEPDOWN.S.D")
        await trio.sleep(0.5)
        came: dict[bytes, float] = {}
        with trio.fail_after(_LED_SECONDS):
            while len(came) < 3:
                for message in await consumer.fetch(5, expires_seconds=1.0):
                    came[message.payload] = trio.current_time() - began
                    assert message.metadata.delivered == 2
                    await message.ack_sync()
        assert list(came) == [b"neither", b"in progress", b"later"]
        assert came[b"in progress"] >= 6.9
        assert came[b"later"] >= 8.9


async def test_without_a_majority_there_is_silence_and_then_10008(replicated: Sequence[ReplicatedServer]) -> None:
    """One of three servers left: publishes are not confirmed; when it knows that nobody leads it says so."""
    async with _client(replicated[0]) as nc:
        await _make(nc)
        lead = (await _section(nc))["leader"]
    async with _client(_named(replicated, lead)) as nc:
        for server in replicated:
            if server.name != lead:
                server.kill()
        with pytest.raises(OperationTimeoutError):
            await nc.request("s.a", b"x")
        await trio.sleep(22.0)  # until a leader without a majority gives up
        for what in ("STREAM.NAMES", "INFO", "STREAM.LIST"):
            assert (await _ask(nc, what))["error"] == {
                "code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable",
            }  # fmt: skip
        await _until_candidate(nc, lead)


async def _until_candidate(nc: Client, server: str) -> None:
    """A server that has led says how old its knowledge is, of itself too, until it stands for election: then nothing.

    So one answer is no evidence against anybody: the first has old numbers of all, and the last none of the others.
    """
    with trio.fail_after(_LED_SECONDS):
        while True:
            section = (await _ask(nc, "STREAM.INFO.S"))["cluster"]
            assert "leader" not in section
            told = {one["name"]: (one["current"], one["active"]) for one in section["replicas"]}
            assert sorted(told) == ["c-1", "c-2", "c-3"]
            current, active = told.pop(server)
            if active < 5e9:
                assert (current, *told.values()) == (True, (False, 0), (False, 0))
                return
            assert all(not current and active > 10e9 for current, active in told.values()) or not any(
                active for _, active in told.values()
            )
            await trio.sleep(_POLL_SECONDS)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_who_shuts_down_is_offline_and_who_is_killed_is_not(
    replicated: Sequence[ReplicatedServer], how: str
) -> None:
    """The first has said so. What nobody else has is offline with it, and else its infos get no answer, for minutes."""
    async with _client(replicated[0]) as nc:
        js = await _make(nc)
        await js.create_stream(StreamConfig(name="One", subjects=("one.>",)))
        await JetStream(nc).create_consumer("One", ConsumerConfig(durable_name="D"))
        only = (await _section(nc, "STREAM.INFO.One"))["leader"]
    async with _client(_other(replicated, only)) as nc:
        if how == "stop":
            await _named(replicated, only).stop()
        else:
            _named(replicated, only).kill()
        await trio.sleep(10.0)  # until there is another leader of the meta group
        gone = next(one for one in (await _section(nc))["replicas"] if one["name"] == only)
        assert ("offline" in gone) is (how == "stop")
        for what, code in (("STREAM.INFO.One", 10118), ("CONSUMER.INFO.One.D", 10119)):
            if how == "stop":
                assert (await _ask(nc, what))["error"]["err_code"] == code
            else:
                with pytest.raises(OperationTimeoutError):
                    await _ask(nc, what)
