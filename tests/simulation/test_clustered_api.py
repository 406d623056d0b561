"""What servers of a cluster answer to requests of the API, and what they keep: once, from who knows, wherever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from beamline_trio import Client, JetStream, OperationTimeoutError, Subscription
from beamline_trio.jetstream import ConsumerConfig
from beamline_trio.simulation import ServerConfig, SimulatedServer, World

from ._clustered_rig import ask, client, followers, leader, make, move, payloads, play, until


async def _send(nc: Client, what: str, body: object = None) -> None:
    """A request whose answers come to the subject `told`."""
    data = b"" if body is None else json.dumps(body).encode()
    await nc.publish(f"$JS.API.{what}", data, reply="told")


async def _all(sub: Subscription, seconds: float = 1.0) -> list[dict[str, Any]]:
    """What comes within some time."""
    found: list[dict[str, Any]] = []
    with trio.move_on_after(seconds):
        while True:
            found.append(json.loads((await sub.receive()).payload))
    return found


def _code(answer: dict[str, Any]) -> int:
    return int(answer.get("error", {}).get("err_code", 0))


async def _replicas(js: JetStream) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (await ask(js, "STREAM.INFO.S"))["cluster"]["replicas"]}


class TestOnce:
    @pytest.mark.parametrize("what", ["stream", "consumer"])
    def test_two_make_the_same_at_the_same_time(self, what: str) -> None:
        """The second one is answered by what the first one has made: it is another one, or the same one."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            if what == "stream":
                first = {"name": "S", "subjects": ["S.>"], "num_replicas": 3}
                subject, other, refusal = "STREAM.CREATE.S", {**first, "max_msgs": 3}, 10058
            else:
                await make(js)
                config = {"name": "D", "durable_name": "D", "ack_policy": "explicit"}
                first = {"stream_name": "S", "config": config, "action": "create"}
                other = {**first, "config": {**config, "max_ack_pending": 3}}
                subject, refusal = "CONSUMER.CREATE.S.D", 10148
            async with js.client.subscribe("told") as told:
                for body in (first, other, first):
                    await _send(js.client, subject, body)
                answers = await _all(told)
            assert sorted(map(_code, answers)) == [0, 0, refusal]
            assert {one["type"] for one in answers} == {f"io.nats.jetstream.api.v1.{what}_create_response"}

        play(scenario)

    def test_advisories(self) -> None:
        """What is made and deleted is told once, by its leader, of whichever server the listener is a client."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            names = "$JS.EVENT.ADVISORY.*.*.>"
            async with js.client.subscribe(names) as told:
                await make(js)
                await js.create_consumer("S", ConsumerConfig(durable_name="D"))
                await js.delete_consumer("S", "D")
                await js.delete_stream("S")
                said = [(one["type"].rpartition(".")[2], one["action"]) for one in await _all(told)]
            assert said == [
                ("stream_action", "create"),
                ("consumer_action", "create"),
                ("consumer_action", "delete"),
                ("stream_action", "delete"),
            ]

        play(scenario)

    def test_refusals(self) -> None:
        """What is not there, cannot be done or is of another level: each is answered once, with nats-server's code."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await make(js, "T")
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            await make(js, "W", retention="workqueue")
            await js.create_consumer("W", ConsumerConfig(durable_name="E"))
            config = {"name": "T", "subjects": ["T.>"], "num_replicas": 3}
            of_s = {"stream_name": "S"}
            durable = {"name": "D", "durable_name": "D", "ack_policy": "explicit"}
            async with js.client.subscribe("told") as told:
                for what, body, code in (
                    ("CONSUMER.INFO.Z.D", None, 10059),
                    ("CONSUMER.INFO.S.Z", None, 10014),
                    ("CONSUMER.DELETE.S.Z", None, 10014),
                    ("STREAM.DELETE.Z", None, 10059),
                    ("STREAM.DELETE.S", {"a": 1}, 10038),
                    ("CONSUMER.DELETE.S.D", {"a": 1}, 10038),
                    ("STREAM.MSG.DELETE.S", {"seq": 9}, 10057),
                    ("CONSUMER.NAMES.Z", None, 10059),
                    (
                        "CONSUMER.CREATE.S.D",
                        {"stream_name": "S", "config": {**durable, "deliver_policy": "new"}},
                        10012,
                    ),
                    ("CONSUMER.CREATE.S.E", {**of_s, "config": {**durable, "name": "E"}}, 10017),
                    ("CONSUMER.CREATE.W.D", {"stream_name": "W", "config": durable}, 10099),
                    ("STREAM.UPDATE.T", {**config, "subjects": ["S.a"]}, 10065),
                    ("STREAM.UPDATE.T", {**config, "storage": "memory"}, 10052),
                ):
                    await _send(js.client, what, body)
                    assert [(what, _code(one)) for one in await _all(told)] == [(what, code)]
                await _send(js.client, "STREAM.SNAPSHOT.S")  # the model has none
                assert [one["error"]["code"] for one in await _all(told)] == [501]
            for what in ("STREAM.INFO.S", "STREAM.NAMES", "CONSUMER.INFO.S.D"):
                level = {"Nats-Required-Api-Level": "99"}
                answer = json.loads((await js.client.request(f"$JS.API.{what}", headers=level)).payload)
                assert _code(answer) == 10185

        play(scenario)

    def test_lists_keep_their_shape(self) -> None:
        """A list that is refused has a page of nothing; one by a subject has the streams that it meets."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await make(js, "T")
            assert (await ask(js, "STREAM.NAMES", {"subject": "S.a"}))["streams"] == ["S"]
            nothing = {"total": 0, "offset": 0, "limit": 0}
            assert nothing.items() <= (await ask(js, "CONSUMER.NAMES.Z")).items()
            for server in servers[1:]:
                server.kill()
            await trio.sleep(22.0)
            assert nothing.items() <= (await ask(js, "STREAM.NAMES")).items()
            for what in ("STREAM.INFO.Z", "CONSUMER.INFO.S.Z"):  # nobody knows whether there is one
                assert _code(await ask(js, what)) == 10008

        play(scenario)

    def test_domain(self) -> None:
        """Everything can be asked for under the domain too; the infos say it, and the answer to the making does not."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            async def request(what: str, body: object = None) -> bytes:
                data = b"" if body is None else json.dumps(body).encode()
                return (await js.client.request(f"$JS.d.API.{what}", data)).payload

            config = {"name": "S", "subjects": ["S.>"], "num_replicas": 3, "allow_direct": True}
            assert "domain" not in json.loads(await request("STREAM.CREATE.S", config))
            assert json.loads(await request("STREAM.INFO.S"))["domain"] == "d"
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            await js.publish("S.a", b"x")
            assert await request("DIRECT.GET.S.S.a") == await request("DIRECT.GET.S", {"seq": 1}) == b"x"
            async with js.client.subscribe("told") as told:
                await js.client.publish("$JS.d.API.CONSUMER.MSG.NEXT.S.D", reply="told")
                assert (await told.receive()).payload == b"x"

        play(scenario, config=ServerConfig(jetstream_sync_interval_seconds=0.0, jetstream_domain="d"))

    def test_purge_does_what_it_is_told(self) -> None:
        """The newest are kept, and only those of the subject go: on all servers."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            for number in range(6):
                await js.publish("S.b" if number % 3 == 2 else "S.a", b"%d" % number)
            assert (await ask(js, "STREAM.PURGE.S", {"filter": "S.a", "keep": 1}))["purged"] == 3
            await trio.sleep(0.1)
            assert [payloads(server) for server in servers] == [[b"2", b"4", b"5"]] * 3

        play(scenario)


class TestNobodyThere:
    @pytest.mark.parametrize("how", ["stop", "kill"])
    def test_what_has_lost_its_only_server(self, how: str) -> None:
        """It is told of as offline, half a second late; lists miss it; it can be deleted.

        A server that was killed has told nobody: nothing is said until it has been missed for long enough.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await make(js, "One", 1)
            await move(js, servers[0], "S")
            gone = leader(servers, "One")
            while not gone.leads("S", "D"):
                await js.create_consumer("S", ConsumerConfig(durable_name="D", num_replicas=1))
                if not gone.leads("S", "D"):
                    await js.delete_consumer("S", "D")
            here = next(server for server in servers if server is not gone)
            async with client(world, here) as nc:
                there = JetStream(nc)
                getattr(gone, how)()
                killed_at = world.now()
                await until(lambda: any(server.leads() for server in servers))
                await until(lambda: any(server.leads("S") for server in servers))
                if how == "kill":
                    for what in ("STREAM.INFO.One", "CONSUMER.INFO.S.D"):
                        with pytest.raises(OperationTimeoutError):
                            await ask(there, what)
                    await trio.sleep_until(killed_at + 140)
                    with pytest.raises(OperationTimeoutError):
                        await ask(there, "STREAM.INFO.One")
                    await trio.sleep_until(killed_at + 260)
                for what, code in (("STREAM.INFO.One", 10118), ("CONSUMER.INFO.S.D", 10119)):
                    began_at = world.now()
                    assert _code(await ask(there, what)) == code
                    assert 0.5 <= world.now() - began_at < 0.6
                began_at = world.now()
                listed = await ask(there, "STREAM.LIST")
                assert ([one["config"]["name"] for one in listed["streams"]], listed["missing"]) == (["S"], ["One"])
                assert (await ask(there, "CONSUMER.LIST.S"))["missing"] == ["D"]
                assert world.now() - began_at < 0.1
                assert (await ask(there, "CONSUMER.DELETE.S.D"))["success"]
                assert (await ask(there, "STREAM.DELETE.One"))["success"]
                assert (await ask(there, "STREAM.NAMES"))["streams"] == ["S"]

        play(scenario)

    @pytest.mark.parametrize("inside", [True, False])
    def test_stream_without_a_majority_can_be_deleted(self, inside: bool) -> None:
        """The member that is left says that nobody leads, and that it is gone, whoever leads the meta group."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            members = [server for server in servers if server.streams]
            last, outside = members[2], next(server for server in servers if not server.streams)
            while last.leads() is not inside:
                leader(servers).step_down()
                await trio.sleep(0.5)
            async with client(world, outside) as nc:
                members[0].kill()
                members[1].kill()
                await trio.sleep(30.0)
                assert last.leads() is inside
                assert "leader" not in (await ask(JetStream(nc), "STREAM.INFO.S"))["cluster"]
                assert (last.monitoring("/healthz")[0], outside.monitoring("/healthz")[0]) == (503, 200)
                for what in ("CONSUMER.INFO.S.D", "STREAM.PURGE.S"):
                    assert _code(await ask(JetStream(nc), what)) == 10008
                assert (await ask(JetStream(nc), "STREAM.DELETE.S"))["success"]
                assert not last.streams

        play(scenario, servers=5)

    def test_server_that_starts_alone(self) -> None:
        """It waits ten seconds for a leader before it says that there is none."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            for server in servers:
                server.kill()
            servers[0].start()
            await trio.sleep(5.0)
            async with client(world, servers[0]) as nc, nc.subscribe("told") as told:
                await _send(nc, "STREAM.NAMES")
                assert await _all(told) == []
                await trio.sleep(5.0)
                await _send(nc, "STREAM.NAMES")
                assert list(map(_code, await _all(told))) == [10008]

        play(scenario)

    def test_leader_that_was_cut_off_remembers_no_request(self) -> None:
        """What the meta group's leader could not have decided is in nobody's way when it leads again."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            old = leader(servers)
            others = [server for server in servers if server is not old]
            async with client(world, old) as nc:
                hosts = [other.host for other in others]
                with world.network.partition(old.host, hosts):
                    await _send(nc, "STREAM.CREATE.S", {"name": "S", "num_replicas": 3})
                    await trio.sleep(0.1)
                    world.network.reset(old.host, hosts)  # the others do not hear the request later
                    await until(lambda: any(server.leads() for server in others))
                await until(lambda: not old.leads())
                await trio.sleep(3.0)
                while not old.leads():
                    leader(servers).step_down()
                    await trio.sleep(0.5)
                assert (await ask(JetStream(nc), "STREAM.CREATE.S", {"name": "S", "num_replicas": 3}))["did_create"]

        play(scenario)

    def test_lists_wait_four_seconds(self) -> None:
        """For who does not answer, and is not known to be gone."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, "One", 1)
            gone = leader(servers, "One")
            here = next(server for server in servers if server is not gone)
            async with client(world, here) as nc, nc.subscribe("told") as told:
                if gone.leads():
                    gone.step_down()
                    await trio.sleep(0.5)
                gone.pause()
                await _send(nc, "STREAM.LIST")
                assert await _all(told, 3.9) == []
                (listed,) = await _all(told, 0.2)
                assert listed["missing"] == ["One"]

        play(scenario)

    def test_list_of_a_server_alone_waits_for_nobody(self) -> None:
        """A cluster of one server has nobody else to ask."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, replicas=1)
            began_at = world.now()
            assert len((await ask(js, "STREAM.LIST"))["streams"]) == 1
            assert world.now() - began_at < 0.1

        play(scenario, servers=1)

    def test_follower_that_is_away_is_told_of(self) -> None:
        """It is not current: it lacks something, or nothing was heard of it for ten seconds;
        and offline, if it said so.

        A leader that was just elected has not heard of one that is gone, for no time at all.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await move(js, servers[0], "S")
            silent, dead = followers(servers, "S")
            since = (await ask(js, "STREAM.INFO.S"))["cluster"]["leader_since"]
            dead.stop()
            for _ in range(3):
                await js.publish("S.a", b"x")
            told = await _replicas(js)
            assert (told[dead.name]["current"], told[dead.name]["offline"], told[dead.name]["lag"]) == (False, True, 3)
            dead.start()
            await trio.sleep(5.0)
            silent.pause()
            await trio.sleep(11.0)
            told = await _replicas(js)
            assert (told[silent.name]["current"], told[dead.name]["current"]) == (False, True)
            assert told[silent.name]["active"] >= 10e9 > 2e9 > told[dead.name]["active"] > 0
            assert not {"lag", "offline"} & {*told[silent.name], *told[dead.name]}
            assert (await ask(js, "STREAM.INFO.S"))["cluster"]["leader_since"] == since

        play(scenario)

    def test_monitoring_tells_of_groups(self) -> None:
        """How many groups there are, beside the meta group; and of that who is there, as far as the server knows."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await make(js, "One", 1)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            first = leader(servers)
            dead, other = followers(servers)
            await trio.sleep(1.0)
            assert [json.loads(server.monitoring("/jsz")[1])["ha_assets"] for server in servers] == [2] * 3
            dead.stop()
            await trio.sleep(0.1)
            for server, current in (
                (first, {dead.name: True, other.name: True}),
                (other, {first.name: True, dead.name: False}),
            ):
                told = {
                    one["name"]: one for one in json.loads(server.monitoring("/jsz")[1])["meta_cluster"]["replicas"]
                }
                assert {name: one["current"] for name, one in told.items()} == current
                assert {name for name, one in told.items() if "offline" in one} == {dead.name}
            first.pause()
            await trio.sleep(3.0)  # less than an election, and more than two heartbeats
            (silent,) = [
                one
                for one in json.loads(other.monitoring("/jsz")[1])["meta_cluster"]["replicas"]
                if one["name"] == first.name
            ]
            assert not silent["current"]
            assert 2e9 < silent["active"] < 5e9

        play(scenario)


class TestPlaces:
    def test_streams_go_where_the_fewest_are(self) -> None:
        """Five streams of three servers, on five: each server has three of them. What is in memory is called so."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            for number in range(5):
                await make(js, f"S{number}", storage="memory")
            assert [len(server.streams) for server in servers] == [3] * 5
            await make(js, "F")
            for stream, memory, kind in (("S0", False, "M"), ("F", False, "F"), ("F", True, "M")):
                name = f"{kind}{memory}"
                config = ConsumerConfig(durable_name=name, mem_storage=memory)
                section = await ask(js, f"CONSUMER.INFO.{stream}.{(await js.create_consumer(stream, config)).name}")
                assert section["cluster"]["raft_group"].startswith(f"C-R3{kind}-")

        play(scenario, servers=5)

    def test_streams_go_where_servers_are(self) -> None:
        """A server that is gone gets no streams, though it has the fewest."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            servers[4].stop()
            await until(lambda: any(server.leads() for server in servers))
            for number in range(4):
                await make(js, f"S{number}")
            assert [len(server.streams) for server in servers[:4]] == [3] * 4

        play(scenario, servers=5)

    def test_consumers_go_where_servers_are(self) -> None:
        """A consumer of one replica is not placed on a server that is gone; one of three is led by one that is not."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await move(js, servers[0], "S")
            followers(servers, "S")[0].stop()
            await until(lambda: any(server.leads() for server in servers))
            for number in range(6):
                for replicas in (1, 3):
                    await js.create_consumer(
                        "S", ConsumerConfig(durable_name=f"{number}-{replicas}", num_replicas=replicas)
                    )

        play(scenario)


class TestKept:
    def test_what_no_consumer_of_a_work_queue_wants_stays(self) -> None:
        """For who may come: whoever leads, and whoever else comes and goes."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, retention="workqueue")
            await js.create_consumer("S", ConsumerConfig(durable_name="A", filter_subjects=("S.a",)))
            await js.publish("S.b", b"b")
            await ask(js, "STREAM.LEADER.STEPDOWN.S")
            await trio.sleep(1.0)
            await js.delete_consumer("S", "A")
            await trio.sleep(0.5)
            assert [payloads(server) for server in servers] == [[b"b"]] * 3

        play(scenario)

    def test_what_no_consumer_wants_is_not_kept_for_interest(self) -> None:
        """A stream of interest confirms it and goes on: the next message has the next sequence."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, retention="interest")
            await js.create_consumer("S", ConsumerConfig(durable_name="A", filter_subjects=("S.a",)))
            assert [(await js.publish(f"S.{name}", b"x")).sequence for name in "aba"] == [1, 2, 3]
            await trio.sleep(0.1)
            assert [payloads(server) for server in servers] == [[b"x", b"x"]] * 3

        play(scenario)

    def test_stream_without_acks_answers_nobody(self) -> None:
        """Neither who publishes first, nor who does so again under an id that is not decided yet."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, no_ack=True)
            async with js.client.subscribe("told") as told:
                for _ in range(2):
                    await js.client.publish("S.a", b"x", reply="told", headers={"Nats-Msg-Id": "m"})
                assert await _all(told) == []
            assert [payloads(server) for server in servers] == [[b"x"]] * 3

        play(scenario)

    def test_what_is_stored_is_told_of_once(self) -> None:
        """The journal has a message once, of its leader, however many replicas there are."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.publish("S.a", b"x", headers={"Sim-Id": "p/1"})
            await trio.sleep(0.5)
            assert [(one.server, one.sequence) for one in world.journal.stored] == [(leader(servers, "S").name, 1)]

        play(scenario)

    def test_slow_disk_writes_one_after_the_other(self) -> None:
        """What comes while it writes waits for it, also when it is fast again; nothing is confirmed before."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, replicas=1)
            only = leader(servers, "S")
            async with client(world, only) as nc, trio.open_nursery() as nursery:
                began_at, confirmed = world.now(), []

                async def publish() -> None:
                    await JetStream(nc).publish("S.a", b"x")
                    confirmed.append(round(world.now() - began_at, 1))

                for seconds in (1.0, 1.0, 0.0):
                    only.disk_seconds = seconds
                    nursery.start_soon(publish)
                    await trio.sleep(0.2)
            assert confirmed == [1.0, 2.0, 2.0]

        play(scenario)
