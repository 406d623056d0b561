"""Streams with replicas on the servers of a simulated cluster: what a PubAck promises, and who answers when."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest
import trio

from beamline_trio import JetStream, NatsError, NoRespondersError
from beamline_trio.jetstream import APIError, ConsumerConfig, PublishInProcessError, StreamConfig
from beamline_trio.simulation import ServerConfig, SimulatedServer, World, run
from beamline_trio.simulation._server._raft import _member

from ._clustered_rig import ask, client, followers, leader, make, payloads, play, until


class TestStreams:
    @pytest.mark.parametrize("replicas", [1, 3, 5])
    def test_each_replica_has_what_was_published(self, replicas: int) -> None:
        """As many servers as the stream has replicas have its messages, whichever server the client is at.

        With the leader's time: a message is of one age everywhere.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, replicas=replicas)
            for number in range(5):
                assert (await js.publish("S.a", b"%d" % number)).sequence == number + 1
            await trio.sleep(0.1)
            having = [payloads(server) for server in servers if payloads(server)]
            assert having == [[b"0", b"1", b"2", b"3", b"4"]] * replicas
            stored = [stream.messages for server in servers for stream in server.streams if payloads(server)]
            assert stored == stored[:1] * replicas

        play(scenario, servers=5, at=4)

    def test_info_says_who_leads_and_who_follows(self) -> None:
        """The section `cluster` is nats-server's, and for one replica only the leader is named."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await make(js, "One", 1)
            await trio.sleep(0.2)
            section = (await ask(js, "STREAM.INFO.S"))["cluster"]
            assert section["name"] == "c"
            assert section["raft_group"].startswith("S-R3F-")
            assert section["leader"] == leader(servers, "S").name
            names = {one["name"] for one in section["replicas"]}
            assert names | {section["leader"]} == {"c-1", "c-2", "c-3"}
            assert all(one["current"] and "lag" not in one for one in section["replicas"])
            alone = (await ask(js, "STREAM.INFO.One"))["cluster"]
            assert alone == {"name": "c", "leader": leader(servers, "One").name}

        play(scenario)

    def test_more_replicas_than_servers_are_refused(self) -> None:
        """nats-server has no suitable peers then (10005)."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            with pytest.raises(APIError, match="no suitable peers for placement"):
                await make(js, replicas=5)

        play(scenario)

    def test_streams_are_listed_and_changed_and_deleted(self) -> None:
        """What the meta group's leader answers: lists of all leaders' infos, updates, purges and deletes."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await make(js, "One", 1)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            for number in range(4):
                await js.publish("S.a", b"%d" % number)
            listed = await ask(js, "STREAM.LIST")
            assert [one["config"]["name"] for one in listed["streams"]] == ["One", "S"]
            assert [one["state"]["messages"] for one in listed["streams"]] == [0, 4]
            assert [one["name"] for one in (await ask(js, "CONSUMER.LIST.S"))["consumers"]] == ["D"]
            assert (await ask(js, "STREAM.CREATE.S", {"name": "S", "subjects": ["S.>"], "num_replicas": 3}))[
                "type"
            ] == ("io.nats.jetstream.api.v1.stream_create_response")
            changed = StreamConfig(name="S", subjects=("S.>",), num_replicas=3, max_msgs=2)
            assert (await js.update_stream(changed)).config.max_msgs == 2
            await js.delete_message("S", 4)
            await trio.sleep(0.1)
            assert [payloads(server) for server in servers] == [[b"2"]] * 3
            assert await js.purge_stream("S") == 1
            await js.delete_consumer("S", "D")
            await js.delete_stream("S")
            await js.delete_stream("One")
            assert await js.stream_names() == []
            assert [server.streams for server in servers] == [()] * 3

        play(scenario)

    def test_making_is_answered_once(self) -> None:
        """Whoever leads later does not say again that the stream or the consumer is there."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            async with js.client.subscribe("told") as told:
                body = json.dumps({"name": "S", "num_replicas": 3}).encode()
                await js.client.publish("$JS.API.STREAM.CREATE.S", body, reply="told")
                assert json.loads((await told.receive()).payload)["did_create"]
                body = json.dumps({"stream_name": "S", "config": {"durable_name": "D", "name": "D"}}).encode()
                await js.client.publish("$JS.API.CONSUMER.CREATE.S.D", body, reply="told")
                assert json.loads((await told.receive()).payload)["name"] == "D"
                for _ in range(3):
                    await ask(js, "STREAM.LEADER.STEPDOWN.S")
                    await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D")
                    await trio.sleep(0.5)
                with trio.move_on_after(1.0):
                    raise AssertionError(f"told again: {(await told.receive()).payload!r}")

        play(scenario)

    def test_direct_gets_follow_the_configuration(self) -> None:
        """The leader answers them as soon as the stream allows them, and no longer than that."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.publish("S.a", b"x")
            with pytest.raises(NoRespondersError):
                await js.client.request("$JS.API.DIRECT.GET.S.S.a")
            config = StreamConfig(name="S", subjects=("S.>",), num_replicas=3, allow_direct=True)
            await js.update_stream(config)
            await trio.sleep(0.1)
            assert (await js.client.request("$JS.API.DIRECT.GET.S.S.a")).payload == b"x"

        play(scenario)

    def test_age_and_limits_hold_on_every_replica(self) -> None:
        """What expires or makes room goes everywhere, by the leader's time."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, max_age_seconds=5.0, max_msgs=3)
            for number in range(5):
                await js.publish("S.a", b"%d" % number)
            await trio.sleep(0.1)
            assert [payloads(server) for server in servers] == [[b"2", b"3", b"4"]] * 3
            await trio.sleep(3.0)
            await ask(js, "STREAM.LEADER.STEPDOWN.S")  # the next leader looks at the ages too
            await trio.sleep(3.0)
            assert [payloads(server) for server in servers] == [[]] * 3

        play(scenario)


class TestPubAcks:
    def test_pub_ack_waits_for_a_majority(self) -> None:
        """A leader whose followers are paused stores nothing and confirms nothing; one that comes back is enough."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            first, second = followers(servers, "S")
            async with client(world, leader(servers, "S")) as nc:
                first.pause()
                second.pause()
                with pytest.raises(NatsError):
                    await nc.request("S.a", b"x")
                assert payloads(leader(servers, "S")) == []
                first.resume()
                assert (await JetStream(nc).publish("S.a", b"y")).sequence == 2

        play(scenario)

    def test_attempt_under_an_id_that_is_not_decided_is_refused(self) -> None:
        """The leader proposes an id once: until that is decided it answers 10158, and then that it is a duplicate."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            others = followers(servers, "S")
            async with client(world, leader(servers, "S")) as nc:
                near = JetStream(nc)
                await near.publish("S.a", b"before", message_id="zero")
                for server in others:
                    server.pause()
                with pytest.raises(NatsError, match="no reply"):
                    await near.publish("S.a", b"first", message_id="one")
                for _ in range(2):
                    with pytest.raises(PublishInProcessError, match="in process"):
                        await near.publish("S.a", b"again", message_id="one")
                for server in others:
                    server.resume()
                await trio.sleep(0.5)
                assert (await near.publish("S.a", b"late", message_id="one")).duplicate
                assert payloads(leader(servers, "S")) == [b"before", b"first"]

        play(scenario)

    def test_attempt_that_was_never_decided_is_in_nobodys_way(self) -> None:
        """What a leader had proposed before another one came is forgotten: there, and here when it leads again."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            old, others = leader(servers, "S"), followers(servers, "S")
            async with client(world, old) as near, client(world, others[0]) as far:
                with world.network.partition(old.host, [other.host for other in others]):
                    with pytest.raises(NatsError, match="no reply"):
                        await JetStream(near).publish("S.a", b"cut off", message_id="one")
                    await until(lambda: any(other.leads("S") for other in others))
                    assert not (await JetStream(far).publish("S.a", b"other")).duplicate
                await until(lambda: payloads(old) == [b"other"])
                await ask(js, "STREAM.LEADER.STEPDOWN.S", {"placement": {"preferred": old.name}})
                await until(lambda: old.leads("S"))
                assert not (await JetStream(near).publish("S.a", b"again", message_id="one")).duplicate
            await trio.sleep(0.5)
            assert [payloads(server) for server in servers] == [[b"other", b"again"]] * 3

        play(scenario)

    def test_what_a_server_could_not_propose_is_in_nobodys_way(self) -> None:
        """A message that reaches a server as it ceases to lead is not proposed there, nor remembered."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            follower = followers(servers, "S")[0]
            process: Any = follower._process
            process.jetstream.streams["S"].receive(b"S.a", b"", b"NATS/1.0\r\nNats-Msg-Id: one\r\n\r\n", b"late")
            await ask(js, "STREAM.LEADER.STEPDOWN.S", {"placement": {"preferred": follower.name}})
            await until(lambda: follower.leads("S"))
            assert not (await js.publish("S.a", b"again", message_id="one")).duplicate
            assert payloads(follower) == [b"again"]

        play(scenario)

    @pytest.mark.parametrize("seed", range(4))
    def test_what_was_confirmed_outlives_its_leader(self, seed: int) -> None:
        """The leader dies with its machine; what it has confirmed is on the next one, and a repeat is a duplicate."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            first = leader(servers, "S")
            other = followers(servers, "S")[0]
            async with client(world, other) as nc:
                there = JetStream(nc)
                for number in range(20):
                    await there.publish("S.a", b"%d" % number, message_id=f"m{number}")
                first.crash()
                await until(lambda: any(server.leads("S") for server in servers))
                assert leader(servers, "S") is not first
                assert (await there.publish("S.a", b"7", message_id="m7")).duplicate
                assert payloads(leader(servers, "S")) == [b"%d" % number for number in range(20)]
                first.start()
                await trio.sleep(3.0)
                assert payloads(first) == payloads(leader(servers, "S"))

        play(scenario, seed=seed)

    def test_new_leader_comes_after_an_election(self) -> None:
        """While nobody leads a stream a publish has no responders; after four to nine seconds, mostly, it has.

        Whether or not it was configured anew before, which all members take.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.update_stream(StreamConfig(name="S", subjects=("S.>",), num_replicas=3, max_msgs=9))
            await trio.sleep(0.1)
            first = leader(servers, "S")
            async with client(world, followers(servers, "S")[0]) as nc:
                first.kill()
                began_at = world.now()
                await trio.sleep(0.5)
                with pytest.raises(NoRespondersError):
                    await nc.request("S.a", b"x")
                await until(lambda: any(server.leads("S") for server in servers))
                assert 3.0 <= world.now() - began_at <= 20.0

        play(scenario)

    def test_step_down_takes_some_hundredths_of_a_second(self) -> None:
        """A leader that is told to steps down hands over at once; the infos name another one."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await trio.sleep(0.2)
            first = leader(servers, "S")
            assert (await ask(js, "STREAM.LEADER.STEPDOWN.S"))["success"]
            await trio.sleep(0.1)
            assert leader(servers, "S") is not first
            assert (await ask(js, "STREAM.INFO.S"))["cluster"]["leader"] == leader(servers, "S").name
            assert (await js.publish("S.a", b"x")).sequence == 1

        play(scenario)

    def test_step_down_prefers_whom_it_is_told(self) -> None:
        """The server that the request names leads next, if it has everything; the meta group's lead moves too."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            await trio.sleep(0.3)
            wanted = followers(servers, "S")[1]
            placement = {"placement": {"preferred": wanted.name}}
            for what, consumer in (("STREAM.LEADER.STEPDOWN.S", ""), ("CONSUMER.LEADER.STEPDOWN.S.D", "D")):
                if not wanted.leads("S", consumer):
                    assert (await ask(js, what, placement))["success"]
                await trio.sleep(0.2)
                assert wanted.leads("S", consumer)
            first = leader(servers)
            first.step_down()
            await trio.sleep(0.2)
            assert leader(servers) is not first
            assert (await ask(js, "STREAM.NAMES"))["streams"] == ["S"]

        play(scenario)

    @pytest.mark.parametrize("how", ["stop", "lame_duck"])
    def test_server_that_ends_in_order_hands_over(self, how: str) -> None:
        """What it leads has another leader at once, without an election's time."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            first = leader(servers, "S")
            async with client(world, followers(servers, "S")[0]) as nc:
                await trio.sleep(0.3)
                getattr(first, how)()
                await trio.sleep(0.3)
                assert leader(servers, "S") is not first
                assert (await JetStream(nc).publish("S.a", b"x")).sequence == 1

        play(scenario)

    def test_slow_disks_delay_pub_acks(self) -> None:
        """With two of three disks slow, nothing is confirmed before one of them has it."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            for server in servers[:2]:
                server.disk_seconds = 1.0
            began_at = world.now()
            await js.publish("S.a", b"x")
            assert 1.0 <= world.now() - began_at < 1.1

        play(scenario)


class TestRestarts:
    @pytest.mark.parametrize("storage", ["file", "memory"])
    def test_server_that_comes_back_catches_up(self, storage: str) -> None:
        """What was published meanwhile reaches a server a heartbeat after its routes stand again."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, storage=storage)
            away = next(server for server in followers(servers, "S") if server is not servers[0])
            await js.publish("S.a", b"before")
            away.kill()
            for number in range(10):
                await js.publish("S.a", b"%d" % number)
            away.start()
            await trio.sleep(4.0)
            assert payloads(away) == [b"before", *(b"%d" % number for number in range(10))]

        play(scenario)

    def test_nobody_is_preferred_after_a_restart(self) -> None:
        """Who should have led first has no advantage any more: there is a leader after an election's time."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            for server in servers:
                server.kill()
            for server in servers:
                server.start()
            await trio.sleep(3.5)
            assert not any(server.leads("S", consumer) for server in servers for consumer in ("", "D"))
            await until(lambda: any(server.leads("S") for server in servers))
            await until(lambda: any(server.leads("S", "D") for server in servers))

        play(scenario)

    def test_stream_in_memory_is_empty_when_all_its_servers_were_down(self) -> None:
        """Its making, and what its groups have voted, are on disk; what was stored is not."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, storage="memory")
            await js.publish("S.a", b"x", message_id="m")
            for server in servers:
                server.kill()
            for server in servers:
                server.start()
            await until(lambda: any(server.leads("S") for server in servers), 60.0)
            async with client(world, servers[0]) as nc:
                again = await JetStream(nc).publish("S.a", b"y", message_id="m")
            assert (again.sequence, again.duplicate) == (1, False)

        play(scenario)

    @pytest.mark.parametrize("how", ["kill", "crash", "stop"])
    def test_nothing_keeps_a_process_that_has_ended(self, how: str) -> None:
        """The connections that it had are remembered, and it is not: hours of restarts take no more memory."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            server = followers(servers, "S")[0]
            async with client(world, server) as nc:
                await JetStream(nc).publish("S.a", b"x")
                ended = weakref.ref(server._process)
                getattr(server, how)()
                await trio.sleep(1.0)
                server.start()
                await trio.sleep(30.0)
            gc.collect()
            assert ended() is None
            assert any(record.state == "over" for record in world.network.connections())

        play(scenario)

    def test_server_with_a_new_disk_catches_up(self) -> None:
        """A server whose store was deleted hears from the others what it should have, and gets it."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            for number in range(10):
                await js.publish("S.a", b"%d" % number)
            away = next(server for server in followers(servers, "S") if server is not servers[0])
            away.kill()
            away.wipe()
            away.start()
            await trio.sleep(5.0)
            assert payloads(away) == [b"%d" % number for number in range(10)]

        play(scenario)

    @pytest.mark.parametrize("interval", [0.0, 5.0], ids=["synced", "not synced"])
    def test_server_that_was_away_for_long_gets_the_state(
        self, interval: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a snapshot, which a power failure does not take: messages, and the ids that make a repeat a duplicate."""
        monkeypatch.setattr(_member, "LOG_MAX", 8)

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            away = next(server for server in followers(servers, "S") if server is not servers[0])
            away.kill()
            for number in range(30):
                await js.publish("S.a", b"%d" % number, message_id=f"m{number}")
                await trio.sleep(0.5)  # what is not synced yet is kept in the log
            away.start()
            await trio.sleep(3.0)
            away.crash()
            away.start()
            await trio.sleep(3.0)
            assert payloads(away) == [b"%d" % number for number in range(30)]
            await ask(js, "STREAM.LEADER.STEPDOWN.S", {"placement": {"preferred": away.name}})
            await trio.sleep(0.2)
            assert leader(servers, "S") is away
            assert (await js.publish("S.a", b"7", message_id="m7")).duplicate

        play(scenario, config=ServerConfig(jetstream_sync_interval_seconds=interval))

    @pytest.mark.parametrize("interval", [0.0, 120.0], ids=["synced", "not synced"])
    def test_without_sync_a_power_failure_of_all_loses_what_was_confirmed(self, interval: float) -> None:
        """That is nats-server's default; with `sync_interval: always` nothing is lost.

        The ids go as the messages do: a repeat of what is lost is stored. And so for each power failure.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            for number in range(2):
                async with client(world, leader(servers, "S")) as nc:
                    confirmed = await JetStream(nc).publish("S.a", b"x", message_id="m")
                assert confirmed.duplicate == (number > 0 and not interval)
                for server in servers:
                    server.crash()
                for server in servers:
                    server.start()
                await until(lambda: any(server.leads("S") for server in servers), 60.0)
                assert payloads(leader(servers, "S")) == ([] if interval else [b"x"])

        play(scenario, config=ServerConfig(jetstream_sync_interval_seconds=interval))


class TestNoLeader:
    def test_without_a_majority_the_api_says_that_it_is_unavailable(self) -> None:
        """Silence first, then 10008 from who knows that nobody leads; in the end the stream has no responders.

        Who tells of a group without a leader names all of its members, itself too, as nats-server does.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            last = leader(servers, "S")
            async with client(world, last) as nc:
                there = JetStream(nc)
                for server in servers:
                    if server is not last:
                        server.kill()
                with pytest.raises(NatsError):
                    await nc.request("S.a", b"x")
                assert (await ask(there, "STREAM.INFO.S"))["cluster"]["leader"] == last.name
                await trio.sleep(22.0)
                assert (await ask(there, "STREAM.NAMES"))["error"]["err_code"] == 10008
                section = (await ask(there, "STREAM.INFO.S"))["cluster"]
                assert "leader" not in section
                assert {one["name"] for one in section["replicas"]} == {server.name for server in servers}
                with pytest.raises(NoRespondersError):
                    await nc.request("S.a", b"x")

        play(scenario)

    def test_stream_whose_servers_are_down_is_offline(self) -> None:
        """The meta group's leader knows that nobody is there who could answer."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, replicas=1)
            only = leader(servers, "S")
            async with client(world, next(server for server in servers if server is not only)) as nc:
                only.stop()
                await until(lambda: any(server.leads() for server in servers))
                assert (await ask(JetStream(nc), "STREAM.INFO.S"))["error"]["err_code"] == 10118
                only.start()
                await trio.sleep(3.0)
                assert (await JetStream(nc).publish("S.a", b"x")).sequence == 1

        play(scenario)

    def test_partitioned_leader_confirms_nothing(self) -> None:
        """The leader is cut off with its client; the others go on, and what it took alone is gone when it is back.

        Not even then: what was decided in the place of that is the answer to somebody else.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            old = leader(servers, "S")
            others = followers(servers, "S")
            async with client(world, old) as near, client(world, others[0]) as far, near.subscribe("acks") as acks:
                cut = world.network.partition(old.host, [other.host for other in others])
                cut.start()
                for _ in range(3):
                    await near.publish("S.a", b"lost", reply="acks")
                await until(lambda: any(server.leads("S") for server in others))
                assert (await JetStream(far).publish("S.a", b"kept")).sequence == 1
                cut.stop()
                await trio.sleep(20.0)
                assert [payloads(server) for server in servers] == [[b"kept"]] * 3
                with trio.move_on_after(1.0) as waiting:
                    await acks.receive()
                assert waiting.cancelled_caught

        play(scenario)


class TestRefusals:
    def test_names_that_groups_would_not_know(self) -> None:
        """A server of a cluster with JetStream is called like its host, and its cluster has a name."""

        async def scenario(world: World) -> None:
            with pytest.raises(ValueError, match="set name='a'"):
                await world.start_server("a", ServerConfig(jetstream=True, cluster="c", name="b"))
            with pytest.raises(ValueError, match="name the cluster"):
                await world.start_server("b", ServerConfig(jetstream=True, name="b"), routes=["a"])
            with pytest.raises(ValueError, match="has no name"):
                await world.start_server("d", ServerConfig(jetstream=True, cluster="c"))

        run(scenario, seed=1)
