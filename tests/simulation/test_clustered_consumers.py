"""Consumers with replicas: what was handed out and acknowledged is known to a majority before anybody sees it."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
import trio

from beamline_trio import Client, JetStream, NatsError, Subscription
from beamline_trio.jetstream import Consumer, ConsumerConfig
from beamline_trio.simulation import ServerConfig, SimulatedServer, World
from beamline_trio.simulation._server._raft import _member

from ._clustered_rig import ask, client, followers, leader, make, payloads, play, until

_SYNC_SECONDS = 120.0


async def _filled(js: JetStream, count: int = 10, **fields: object) -> Consumer:
    await make(js)
    consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D", **fields))  # type: ignore[arg-type]
    for number in range(count):
        await js.publish("S.a", b"%d" % number, headers={"Sim-Id": f"p/{number}"})
    await trio.sleep(0.1)
    return consumer


async def _pull(nc: Client, body: bytes) -> None:
    """Ask for messages, to the subject `pulls`."""
    await nc.publish("$JS.API.CONSUMER.MSG.NEXT.S.D", body, reply="pulls")


async def _hears_nothing(sub: Subscription) -> None:
    with trio.move_on_after(1.0) as waiting:
        await sub.receive()
    assert waiting.cancelled_caught


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

    def test_acks_of_all_outlive_their_leader(self) -> None:
        """The last ack stands for those before it, on the next leader too."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            consumer = await _filled(js, ack_wait_seconds=1.0, ack_policy="all")
            await (await consumer.fetch(6))[4].ack_sync()
            await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D")
            await trio.sleep(3.0)
            again = {message.payload for message in await consumer.fetch(10, expires_seconds=1.0)}
            assert again == {b"5", b"6", b"7", b"8", b"9"}

        play(scenario)

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
        """All servers lose messages that were handed out, as without sync: the consumer goes on with what is left.

        And so does the next leader, when the stream is as long as before with other messages.
        """

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            consumer = await _filled(js, 5)
            await trio.sleep(125.0)
            for message in await consumer.fetch(1):  # so that the books are synced again before the stream is
                await message.ack_sync()
            await trio.sleep(2.0)
            for number in range(5, 10):
                await js.publish("S.a", b"%d" % number)
            for message in await consumer.fetch(10, expires_seconds=2.0):
                await message.ack_sync()
            await trio.sleep(_SYNC_SECONDS - 3.0)
            for server in servers:
                server.crash()
            for server in servers:
                server.start()
            await until(lambda: _leads(servers) and any(server.leads("S") for server in servers), 60.0)
            await trio.sleep(15.0)
            async with client(world, servers[0]) as nc:
                there = JetStream(nc)
                assert (await there.stream_info("S")).state.last_seq == 5
                new = [b"new %d" % number for number in range(6)]
                for payload in new:
                    await there.publish("S.a", payload)
                await ask(there, "CONSUMER.LEADER.STEPDOWN.S.D")
                await trio.sleep(0.5)
                got = await (await there.consumer("S", "D")).fetch(6, expires_seconds=3.0)
                assert [message.payload for message in got] == new

        play(scenario, config=ServerConfig(jetstream_sync_interval_seconds=_SYNC_SECONDS))

    def test_partitioned_leader_confirms_no_ack(self) -> None:
        """An ack that a leader took alone is gone: it is not confirmed, not even when the leader is back."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js)
            old = leader(servers, "S", "D")
            others = followers(servers, "S", "D")
            async with client(world, old) as near, client(world, others[0]) as far, near.subscribe("acks") as acks:
                (message,) = await (await JetStream(near).consumer("S", "D")).fetch(1)
                cut = world.network.partition(old.host, [other.host for other in others])
                cut.start()
                assert message.reply is not None
                await near.publish(message.reply, b"+ACK", reply="acks")
                await until(lambda: any(server.leads("S", "D") for server in others))
                there = await JetStream(far).consumer("S", "D")
                for other in await there.fetch(3, expires_seconds=2.0):
                    await other.ack_sync()
                cut.stop()
                await trio.sleep(20.0)
                await _hears_nothing(acks)

        play(scenario)


class TestPulls:
    @pytest.mark.parametrize("how", ["step down", "kill"])
    def test_those_who_wait_are_told_of_the_new_leader(self, how: str) -> None:
        """A pull that waits is ended by the next leader with 409 Leadership Change, as by nats-server; once."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 0)
            old = leader(servers, "S", "D")
            async with client(world, followers(servers, "S", "D")[0]) as nc, nc.subscribe("pulls") as pulls:
                await _pull(nc, b'{"batch":5,"expires":60000000000}')
                await trio.sleep(0.2)
                if how == "kill":
                    old.kill()
                else:
                    await ask(JetStream(nc), "CONSUMER.LEADER.STEPDOWN.S.D")
                with trio.fail_after(30.0):
                    told = await pulls.receive()
                assert (told.headers.status, told.headers.description) == (409, "Leadership Change")
                await ask(JetStream(nc), "CONSUMER.LEADER.STEPDOWN.S.D")
                await _hears_nothing(pulls)

        play(scenario)

    def test_the_next_leader_tells_nothing_to_who_has_what_it_waited_for(self) -> None:
        """A pull that was served is over for all members."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 0)
            async with js.client.subscribe("pulls") as pulls:
                await _pull(js.client, b'{"batch":1,"expires":60000000000}')
                await trio.sleep(0.2)
                await js.publish("S.a", b"x")
                assert (await pulls.receive()).payload == b"x"
                await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D")
                await _hears_nothing(pulls)

        play(scenario)

    def test_pull_without_a_leader_has_no_responders(self) -> None:
        """While a consumer has no leader nobody listens to its pulls."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 0)
            old = leader(servers, "S", "D")
            async with client(world, followers(servers, "S", "D")[0]) as nc, nc.subscribe("pulls") as pulls:
                old.kill()
                await trio.sleep(0.5)
                await _pull(nc, b"1")
                with trio.fail_after(1.0):
                    assert (await pulls.receive()).headers.status == 503

        play(scenario)

    def test_statuses_come_behind_the_messages(self) -> None:
        """A fetch that does not wait gets what there is, and then the word that there is no more."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await _filled(js, 3)
            async with js.client.subscribe("pulls") as pulls:
                await _pull(js.client, b'{"batch":10,"no_wait":true}')
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
            for message in reversed(await consumer.fetch(4)):
                await message.ack_sync()
                await trio.sleep(0.2)
                assert [message.payload in payloads(server) for server in servers] == [False] * 3
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

    def test_what_needs_no_ack_goes_when_it_is_handed_out(self) -> None:
        """On all servers, as what was acknowledged does."""

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js, retention="interest")
            consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D", ack_policy="none"))
            for number in range(3):
                await js.publish("S.a", b"%d" % number)
            assert len(await consumer.fetch(2)) == 2
            await trio.sleep(0.2)
            assert [payloads(server) for server in servers] == [[b"2"]] * 3

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

    @pytest.mark.parametrize("interval", [0.0, 5.0], ids=["synced", "not synced"])
    def test_server_that_was_away_for_long_knows_the_books_and_who_waits(
        self, interval: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It gets them as a snapshot, which a power failure does not take, and goes on from there when it leads."""
        monkeypatch.setattr(_member, "LOG_MAX", 8)

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            consumer = await _filled(js)
            away = next(server for server in followers(servers, "S", "D") if server is not servers[0])
            away.kill()
            for message in await consumer.fetch(10):
                await message.ack_sync()
                await trio.sleep(1.0)  # what is not synced yet is kept in the log
            async with js.client.subscribe("pulls") as pulls:
                await _pull(js.client, b'{"expires":60000000000}')
                away.start()
                await trio.sleep(3.0)
                away.crash()
                away.start()
                await trio.sleep(3.0)
                await ask(js, "CONSUMER.LEADER.STEPDOWN.S.D", {"placement": {"preferred": away.name}})
                with trio.fail_after(1.0):
                    assert (await pulls.receive()).headers.status == 409
            assert leader(servers, "S", "D") is away
            assert await consumer.fetch(1, expires_seconds=1.0) == []

        play(scenario, config=ServerConfig(jetstream_sync_interval_seconds=interval))
