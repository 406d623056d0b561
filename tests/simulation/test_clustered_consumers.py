"""Consumers with replicas: what was handed out and acknowledged is known to a majority before anybody sees it."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
import trio

from beamline_trio import JetStream, NatsError
from beamline_trio.jetstream import Consumer, ConsumerConfig
from beamline_trio.simulation import ServerConfig, SimulatedServer, World

from ._clustered_rig import ask, client, followers, leader, make, payloads, play, until


async def _filled(js: JetStream, count: int = 10, **fields: object) -> Consumer:
    await make(js)
    consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D", **fields))  # type: ignore[arg-type]
    for number in range(count):
        await js.publish("S.a", b"%d" % number, headers={"Sim-Id": f"p/{number}"})
    await trio.sleep(0.1)
    return consumer


def _leads(servers: list[SimulatedServer]) -> bool:
    return any(server.leads("S", "D") for server in servers)


class TestBooks:
    @pytest.mark.parametrize("how", ["kill", "crash", "stop", "step down"])
    @pytest.mark.parametrize("seed", range(3))
    def test_acks_outlive_their_leader(self, how: str, seed: int) -> None:
        """What was acknowledged and confirmed does not come again; what was handed out and not, comes again once."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, ack_wait_seconds=4.0)
            old = leader(servers, "S", "D")
            async with client(world, followers(servers, "S", "D")[0]) as nc:
                there = await JetStream(nc).consumer("S", "D")
                first = await there.fetch(6)
                assert [message.payload for message in first] == [b"0", b"1", b"2", b"3", b"4", b"5"]
                for message in first[:3]:
                    await message.ack_sync()
                if how == "step down":
                    await ask(JetStream(nc), "CONSUMER.LEADER.STEPDOWN.S.D")
                else:
                    getattr(old, how)()
                await trio.sleep(0.5)
                await until(lambda: _leads(servers))
                assert leader(servers, "S", "D") is not old
                await trio.sleep(5.0)
                again = []
                for _ in range(4):
                    for message in await there.fetch(10, expires_seconds=2.0):
                        again.append(message)
                        await message.ack_sync()
                counted = Counter(message.payload for message in again)
                assert counted == Counter([b"3", b"4", b"5", b"6", b"7", b"8", b"9"])
                known = {message.payload: message.metadata.delivered for message in again}
                assert [known[b"%d" % number] for number in range(3, 10)] == [2, 2, 2, 1, 1, 1, 1]

        play(scenario, seed=seed)

    def test_delivery_waits_for_a_majority(self) -> None:
        """A leader whose followers are paused hands nothing out: a delivery that is not known could come too often."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js)
            async with client(world, leader(servers, "S", "D")) as nc:
                there = await JetStream(nc).consumer("S", "D")
                paused = followers(servers, "S", "D")
                for server in paused:
                    server.pause()
                assert await there.fetch(1, expires_seconds=2.0) == []
                for server in paused:
                    server.resume()
                await trio.sleep(1.0)
                assert len(await there.fetch(1)) == 1

        play(scenario)

    @pytest.mark.parametrize("seed", range(4))
    def test_nothing_is_delivered_more_often_than_allowed(self, seed: int) -> None:
        """`max_deliver` counts over all leaders, however often they die."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 5, ack_wait_seconds=1.0, max_deliver=3)
            random = world.random("kills")
            async with trio.open_nursery() as nursery:

                async def kill() -> None:
                    for _ in range(4):
                        await until(lambda: _leads(servers), 60.0)
                        await trio.sleep(random.uniform(0.1, 3.0))
                        victim = next((server for server in servers if server.leads("S", "D")), servers[0])
                        victim.crash()
                        await trio.sleep(random.uniform(0.5, 12.0))
                        victim.start()
                    nursery.cancel_scope.cancel()

                async def read() -> None:
                    while True:
                        for server in servers:
                            with trio.move_on_after(2.0), contextlib.suppress(NatsError):
                                async with client(world, server) as nc:
                                    await (await JetStream(nc).consumer("S", "D")).fetch(5, expires_seconds=1.0)
                        await trio.sleep(0.2)

                nursery.start_soon(kill)
                nursery.start_soon(read)
            counts = Counter(one.sequence for one in world.journal.handed_out)
            told = [one.deliveries for one in world.journal.handed_out]
            assert counts
            assert max(counts.values()) <= 3
            assert max(told) <= 3

        play(scenario, seed=seed)

    def test_books_of_what_a_power_failure_took_are_cut(self) -> None:
        """All servers lose messages that were handed out, as without sync: the consumer goes on with what is left."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            consumer = await _filled(js, 5)
            await trio.sleep(125.0)  # the books of five deliveries are synced behind the messages that are lost
            for number in range(5, 10):
                await js.publish("S.a", b"%d" % number)
            for message in await consumer.fetch(10):
                await message.ack_sync()
            for server in servers:
                server.crash()
            for server in servers:
                server.start()
            await until(lambda: _leads(servers) and any(server.leads("S") for server in servers), 60.0)
            await trio.sleep(15.0)
            async with client(world, servers[0]) as nc:
                there = JetStream(nc)
                left = (await there.stream_info("S")).state.last_seq
                assert (await there.publish("S.a", b"new")).sequence == left + 1
                got = await (await there.consumer("S", "D")).fetch(20, expires_seconds=3.0)
                assert got[-1].payload == b"new"

        play(scenario, config=ServerConfig())


class TestPulls:
    @pytest.mark.parametrize("how", ["step down", "kill"])
    def test_those_who_wait_are_told_of_the_new_leader(self, how: str) -> None:
        """A pull that waits is ended by the next leader with 409 Leadership Change, as by nats-server."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 0)
            old = leader(servers, "S", "D")
            async with client(world, followers(servers, "S", "D")[0]) as nc, nc.subscribe("pulls") as pulls:
                await nc.publish("$JS.API.CONSUMER.MSG.NEXT.S.D", b'{"batch":5,"expires":60000000000}', reply="pulls")
                await trio.sleep(0.2)
                if how == "kill":
                    old.kill()
                else:
                    await ask(JetStream(nc), "CONSUMER.LEADER.STEPDOWN.S.D")
                with trio.fail_after(30.0):
                    told = await pulls.receive()
                assert (told.headers.status, told.headers.description) == (409, "Leadership Change")

        play(scenario)

    def test_pull_without_a_leader_has_no_responders(self) -> None:
        """While a consumer has no leader nobody listens to its pulls."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 0)
            old = leader(servers, "S", "D")
            async with client(world, followers(servers, "S", "D")[0]) as nc, nc.subscribe("pulls") as pulls:
                old.kill()
                await trio.sleep(0.5)
                await nc.publish("$JS.API.CONSUMER.MSG.NEXT.S.D", b"1", reply="pulls")
                with trio.fail_after(1.0):
                    assert (await pulls.receive()).headers.status == 503

        play(scenario)

    def test_statuses_come_behind_the_messages(self) -> None:
        """A fetch that does not wait gets what there is, and then the word that there is no more."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 3)
            async with js.client.subscribe("pulls") as pulls:
                body = b'{"batch":10,"no_wait":true}'
                await js.client.publish("$JS.API.CONSUMER.MSG.NEXT.S.D", body, reply="pulls")
                got = [await pulls.receive() for _ in range(4)]
            assert [message.payload for message in got[:3]] == [b"0", b"1", b"2"]
            assert got[3].headers.status == 404

        play(scenario)


class TestRetention:
    @pytest.mark.parametrize("retention", ["workqueue", "interest"])
    def test_what_is_acknowledged_goes_everywhere(self, retention: str) -> None:
        """A stream that keeps what is needed lets go on all servers, also when the leader dies in between."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, retention=retention)
            consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            for number in range(6):
                await js.publish("S.a", b"%d" % number)
            for message in await consumer.fetch(4):
                await message.ack_sync()
            await trio.sleep(0.2)
            assert [payloads(server) for server in servers] == [[b"4", b"5"]] * 3
            victim = leader(servers, "S")
            if victim is servers[0]:
                await ask(js, "STREAM.LEADER.STEPDOWN.S")
                await trio.sleep(0.2)
                victim = leader(servers, "S")
            victim.kill()
            for message in await consumer.fetch(2, expires_seconds=25.0):
                await message.ack_sync()
            await until(lambda: any(server.leads("S") for server in servers))
            victim.start()
            await trio.sleep(8.0)
            assert [payloads(server) for server in servers] == [[]] * 3

        play(scenario)


class TestConsumers:
    def test_consumer_of_a_stream_with_replicas_has_them_if_it_is_durable(self) -> None:
        """A durable has its stream's replicas, an ephemeral one server; the infos say so."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 0)
            await js.create_consumer("S", ConsumerConfig(name="E"))
            durable = (await ask(js, "CONSUMER.INFO.S.D"))["cluster"]
            assert durable["raft_group"].startswith("C-R3F-")
            assert len(durable["replicas"]) == 2
            assert set((await ask(js, "CONSUMER.INFO.S.E"))["cluster"]) == {"name", "leader"}

        play(scenario)

    def test_unused_consumer_goes(self) -> None:
        """An ephemeral one that nobody uses is deleted everywhere, five seconds and a bit later."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(name="E"))
            await trio.sleep(4.0)
            assert await js.consumer_names("S") == ["E"]
            await trio.sleep(4.0)
            assert await js.consumer_names("S") == []

        play(scenario)

    def test_server_that_comes_back_knows_the_books(self) -> None:
        """A server that was away takes the lead later with everything that was acknowledged meanwhile."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            consumer = await _filled(js)
            away = next(server for server in followers(servers, "S", "D") if server is not servers[0])
            away.kill()
            for message in await consumer.fetch(10):
                await message.ack_sync()
            away.start()
            await trio.sleep(3.0)
            for _ in range(20):
                if leader(servers, "S", "D") is away:
                    break
                await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D")
                await trio.sleep(0.5)
            assert leader(servers, "S", "D") is away
            assert await consumer.fetch(1, expires_seconds=1.0) == []
            assert (await js.consumer_info("S", "D")).ack_floor.stream_seq == 10

        play(scenario)
