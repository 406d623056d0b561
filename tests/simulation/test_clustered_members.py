"""Servers that were away while groups decided: they are members of what there is, and what they lacked they get."""

from __future__ import annotations

import contextlib
import json

import attrs
import pytest
import trio

from beamline_trio import JetStream, NatsError
from beamline_trio.jetstream import ConsumerConfig
from beamline_trio.simulation import ServerConfig, SimulatedServer, World
from beamline_trio.simulation._server._raft import _member

from ._clustered_rig import ask, client, followers, leader, make, move, payloads, play, until

_NEXT = "$JS.API.CONSUMER.MSG.NEXT.S.D"


class TestAway:
    def test_consumer_that_was_made_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another consumer of the same name, with another group: who was away takes part in the new one."""
        monkeypatch.setattr(_member, "LOG_MAX", 8)

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            away = next(server for server in followers(servers, "S", "D") if server is not servers[0])
            away.stop()
            for _ in range(8):
                await js.delete_consumer("S", "D")
                await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            await js.publish("S.a", b"x")
            away.start()
            await trio.sleep(5.0)
            section = (await ask(js, "CONSUMER.INFO.S.D"))["cluster"]
            assert [one["current"] for one in section["replicas"]] == [True, True]

        play(scenario)

    def test_what_was_changed_and_removed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A snapshot of the meta group: what is gone goes, what is new comes, and what was changed is as it is now."""
        monkeypatch.setattr(_member, "LOG_MAX", 8)

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            for name in ("Kept", "Gone", "Anew"):
                await make(js, name)
            for name in ("D", "Gone"):
                await js.create_consumer("Kept", ConsumerConfig(durable_name=name))
            alone = ConsumerConfig(durable_name="Alone", num_replicas=1)
            while not servers[2].leads("Kept", "Alone"):
                await js.create_consumer("Kept", alone)
                if not servers[2].leads("Kept", "Alone"):
                    await js.delete_consumer("Kept", "Alone")
            await js.publish("Anew.a", b"before")
            away = servers[2]
            away.step_down()
            for stream, consumer in (("Kept", ""), ("Gone", ""), ("Anew", ""), ("Kept", "D"), ("Kept", "Gone")):
                await move(js, servers[0], stream, consumer)
            away.pause()  # until it is dead it may be placed on
            for name in ("Gone", "Anew"):
                await js.delete_stream(name)
            await js.delete_consumer("Kept", "Gone")
            for name in ("Anew", "New"):
                with contextlib.suppress(NatsError):  # if the one that is away should lead it first
                    await make(js, name)
            for name in ("New", "Newer"):
                with contextlib.suppress(NatsError):
                    await js.create_consumer("Kept", ConsumerConfig(durable_name=name))
            await trio.sleep(10.0)
            away.kill()
            with contextlib.suppress(NatsError):  # the one that leads it is away
                await js.update_consumer("Kept", attrs.evolve(alone, max_ack_pending=7))
            for most in range(1, 9):
                await js.update_consumer("Kept", ConsumerConfig(durable_name="D", max_ack_pending=most))
            away.start()
            await trio.sleep(5.0)
            assert (await js.consumer_info("Kept", "Alone")).config.max_ack_pending == 7
            assert len({json.loads(one.monitoring("/jsz")[1])["ha_assets"] for one in servers}) == 1
            assert {one.name: [*one.messages] for one in away.streams} == {"Kept": [], "Anew": [], "New": []}
            for consumer in ("", "D", "New"):
                await move(js, away, "Kept", consumer)
            assert (await js.stream_info("Kept")).state.consumer_count == 4
            assert (await js.consumer_info("Kept", "D")).config.max_ack_pending == 8

        play(scenario)

    def test_consumer_waits_for_its_stream(self) -> None:
        """Its server has lost messages that are acknowledged, and the others are silent for long: it waits for them.

        It would not know of the messages that they have otherwise, and hand out what is acknowledged.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D", num_replicas=1))
            only, others = leader(servers, "S", "D"), followers(servers, "S", "D")
            await js.publish("S.a", b"0")
            await trio.sleep(5.0)  # from now on the books are synced before the messages are
            (message,) = await consumer.fetch(1)
            await message.ack_sync()
            await trio.sleep(0.5)
            await js.publish("S.a", b"1")
            (message,) = await consumer.fetch(1)
            await message.ack_sync()
            await trio.sleep(4.7)
            for server in others:
                server.pause()
            only.crash()
            only.start()
            await trio.sleep(20.0)
            assert not only.leads("S", "D")
            for server in others:
                server.resume()
            await until(lambda: only.leads("S", "D"))
            async with client(world, only) as nc:
                there = JetStream(nc)
                assert (await there.consumer_info("S", "D")).ack_floor.stream_seq == 2
                assert await (await there.consumer("S", "D")).fetch(1, expires_seconds=1.0) == []

        play(scenario, config=ServerConfig(jetstream_sync_interval_seconds=5.0))

    def test_consumer_that_waits_for_its_stream_and_is_led_elsewhere(self) -> None:
        """It waits no longer: there is one leader, when the stream is there too."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            first = leader(servers, "S")
            late, other = followers(servers, "S")
            await move(js, other, "S", "D")
            async with client(world, other) as nc:
                there = JetStream(nc)
                consumer = await there.consumer("S", "D")
                with world.network.partition(first.host, late.host):
                    await there.publish("S.a", b"x")
                    await (await consumer.fetch(1))[0].ack_sync()
                    await ask(there, "CONSUMER.LEADER.STEPDOWN.S.D", {"placement": {"preferred": late.name}})
                    await until(lambda: not other.leads("S", "D"))
                    await trio.sleep(0.5)
                    assert not late.leads("S", "D")
                    late.pause()
                    await until(lambda: any(one.leads("S", "D") for one in servers))
                late.resume()
                await until(lambda: payloads(late) == [b"x"])
                await trio.sleep(2.0)
                leader(servers, "S", "D")

        play(scenario)

    def test_consumer_reads_what_came_as_a_snapshot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is led where the stream lacks messages that nobody was given yet: it hands them out when they come."""
        monkeypatch.setattr(_member, "LOG_MAX", 8)

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            first = leader(servers, "S")
            late, other = followers(servers, "S")
            async with client(world, other) as nc, nc.subscribe("pulls") as pulls:
                there = JetStream(nc)
                with world.network.partition(first.host, late.host):
                    world.network.reset(first.host, late.host)
                    for number in range(30):
                        await there.publish("S.a", b"%d" % number)
                    await move(there, late, "S", "D")
                    await nc.publish(_NEXT, b'{"batch":31,"expires":9000000000}', reply="pulls")
                    await trio.sleep(0.1)
                    assert payloads(late) == []
                await until(lambda: len(payloads(late)) == 30)
                assert late.leads("S", "D")
                await there.publish("S.a", b"30")
                with trio.fail_after(1.0):
                    got = [(await pulls.receive()).payload for _ in range(31)]
                assert got == [b"%d" % number for number in range(31)]
                assert (await there.consumer_info("S", "D")).num_pending == 0

        play(scenario)

    @pytest.mark.parametrize("where", ["stream", "consumer"])
    def test_books_in_memory_are_new_when_all_servers_were_down(self, where: str) -> None:
        """A consumer in memory, or of a stream in memory, begins again: it has no pulls and nothing acknowledged."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, storage="memory" if where == "stream" else "file")
            config = ConsumerConfig(durable_name="D", mem_storage=where == "consumer")
            consumer = await js.create_consumer("S", config)
            await js.publish("S.a", b"x")
            await (await consumer.fetch(1))[0].ack_sync()
            assert (await js.consumer_info("S", "D")).delivered.consumer_seq == 1
            async with js.client.subscribe("pulls") as pulls:
                await js.client.publish(_NEXT, b'{"expires":90000000000}', reply="pulls")
                await trio.sleep(0.5)
                for server in servers:
                    server.kill()
                for server in servers:
                    server.start()
                await until(lambda: any(server.leads("S", "D") for server in servers), 60.0)
                with trio.move_on_after(1.0):
                    raise AssertionError((await pulls.receive()).headers)
            async with client(world, servers[0]) as nc:
                there = JetStream(nc)
                assert (await there.consumer_info("S", "D")).delivered.consumer_seq == 0
                again = await (await there.consumer("S", "D")).fetch(1, expires_seconds=1.0)
                assert [message.metadata.delivered for message in again] == ([] if where == "stream" else [1])

        play(scenario)


class TestGoing:
    @pytest.mark.parametrize(
        "how, told", [("stop", "Server Shutdown"), ("lame_duck", ""), ("delete", "Consumer Deleted")]
    )
    def test_those_who_wait_are_told(self, how: str, told: str) -> None:
        """Why their pull is over, in nats-server's words: not by a lame duck; the next leader comes before or after."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            first = leader(servers, "S", "D")
            other = followers(servers, "S", "D")[0]
            async with client(world, first), client(world, other) as nc, nc.subscribe("pulls") as pulls:
                await nc.publish(_NEXT, b'{"expires":5000000000}', reply="pulls")
                await trio.sleep(0.2)
                if how == "delete":
                    await JetStream(nc).delete_consumer("S", "D")
                else:
                    getattr(first, how)()
                await trio.sleep(10.0)
                said = []
                with trio.move_on_after(1.0):
                    while True:
                        said.append((await pulls.receive()).headers.description)
                next_one = [] if how == "delete" else ["Leadership Change"]
                assert said == [told] * bool(told) + next_one

        play(scenario)

    def test_what_is_undecided_when_its_leader_ends_is_not_sent(self) -> None:
        """A server is stopped while a delivery is not known to a majority: who waits is told, and gets nothing."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            await js.publish("S.a", b"x")
            first = leader(servers, "S", "D")
            async with client(world, first) as nc, nc.subscribe("pulls") as pulls:
                for server in followers(servers, "S", "D"):
                    server.pause()
                await nc.publish(_NEXT, b'{"batch":2,"expires":90000000000}', reply="pulls")
                await trio.sleep(0.5)
                first.stop()
                with trio.fail_after(1.0):
                    told = await pulls.receive()
                assert (told.payload, told.headers.description) == (b"", "Server Shutdown")
                assert "Nats-Pending-Messages" in told.headers

        play(scenario)

    def test_deliveries_are_counted_on(self) -> None:
        """The third delivery says so, whoever made the first two."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D", ack_wait_seconds=1.0))
            await js.publish("S.a", b"x")
            for number in (1, 2):
                assert [one.metadata.delivered for one in await consumer.fetch(1, expires_seconds=3.0)] == [number]
            await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D")
            await trio.sleep(0.5)
            assert [one.metadata.delivered for one in await consumer.fetch(1, expires_seconds=3.0)] == [3]

        play(scenario)

    def test_what_was_given_up_is_known_to_the_next_leader(self) -> None:
        """It waits for no acknowledgement of that, and hands it out no more."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            config = ConsumerConfig(durable_name="D", max_deliver=1, ack_wait_seconds=1.0)
            consumer = await js.create_consumer("S", config)
            await js.publish("S.a", b"x")
            await consumer.fetch(1)
            assert await consumer.fetch(1, expires_seconds=3.0) == []
            await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D")
            await until(lambda: any(server.leads("S", "D") for server in servers))
            assert (await js.consumer_info("S", "D")).num_ack_pending == 0
            assert await consumer.fetch(1, expires_seconds=1.0) == []

        play(scenario)

    def test_a_pull_that_a_leader_has_left_is_over_there(self) -> None:
        """Who was told of the next leader hears nothing more, when its time is up."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            async with js.client.subscribe("pulls") as pulls:
                await js.client.publish(_NEXT, b'{"expires":2000000000}', reply="pulls")
                await trio.sleep(0.2)
                await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D")
                assert (await pulls.receive()).headers.description == "Leadership Change"
                with trio.move_on_after(5.0):
                    raise AssertionError((await pulls.receive()).headers.description)

        play(scenario)

    def test_what_the_last_consumer_had_kept_goes_with_it(self) -> None:
        """A stream of interest lets go, on all servers, what only a consumer needed that is deleted."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, retention="interest")
            for name in ("D", "E"):
                await js.create_consumer("S", ConsumerConfig(durable_name=name))
            for number in range(3):
                await js.publish("S.a", b"%d" % number)
            for message in await (await js.consumer("S", "D")).fetch(2):
                await message.ack_sync()
            await js.delete_consumer("S", "E")
            await trio.sleep(0.2)
            assert [payloads(server) for server in servers] == [[b"2"]] * 3

        play(scenario)

    def test_unused_consumer_goes_when_the_meta_group_leads_again(self) -> None:
        """While nobody decides it stays; its server asks again until it is gone."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(name="E", num_replicas=1))
            only = leader(servers, "S", "E")
            others = [server for server in servers if server is not only]
            for server in others:
                server.pause()
            await trio.sleep(20.0)
            for server in others:
                server.resume()
            await until(lambda: any(server.leads() for server in servers))
            await trio.sleep(3.0)
            async with client(world, only) as nc:
                assert await JetStream(nc).consumer_names("S") == []

        play(scenario)


class TestLeadsAgain:
    def test_what_was_never_decided_is_in_nobodys_way(self) -> None:
        """A leader of a consumer had proposed things before another one came: it waits for none when it leads again."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            old, others = leader(servers, "S", "D"), followers(servers, "S", "D")
            async with client(world, old) as near, near.subscribe("in.*") as told:
                with world.network.partition(old.host, [other.host for other in others]):
                    for number in range(50):
                        await near.publish(_NEXT, b'{"expires":60000000000}', reply=f"in.{number}")
                    await until(lambda: any(other.leads("S", "D") for other in others))
                await trio.sleep(5.0)
                await move(JetStream(near), old, "S", "D")
                await near.publish(_NEXT, b'{"no_wait":true}', reply="in.last")
                with trio.fail_after(1.0):
                    message = await told.receive()
                assert (message.subject, message.headers.status) == ("in.last", 404)

        play(scenario)
