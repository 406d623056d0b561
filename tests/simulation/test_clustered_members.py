"""Servers that were away while groups decided: they are members of what there is, and what they lacked they get."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import JetStream
from beamline_trio.jetstream import ConsumerConfig
from beamline_trio.simulation import SimulatedServer, World
from beamline_trio.simulation._server._raft import _member

from ._clustered_rig import ask, client, followers, leader, make, play, until

_NEXT = "$JS.API.CONSUMER.MSG.NEXT.S.D"


class TestAway:
    def test_consumer_that_was_made_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another consumer of the same name, with another group: who was away takes part in the new one."""
        monkeypatch.setattr(_member, "LOG_MAX", 8)

        async def scenario(world: World, servers: list[SimulatedServer], js: JetStream) -> None:
            await make(js)
            await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            away = next(server for server in followers(servers, "S", "D") if server is not servers[0])
            away.kill()
            for _ in range(8):
                await js.delete_consumer("S", "D")
                await js.create_consumer("S", ConsumerConfig(durable_name="D"))
            await js.publish("S.a", b"x")
            away.start()
            await trio.sleep(5.0)
            section = (await ask(js, "CONSUMER.INFO.S.D"))["cluster"]
            assert [one["current"] for one in section["replicas"]] == [True, True]

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
                await ask(JetStream(near), "CONSUMER.LEADER.STEPDOWN.S.D", {"placement": {"preferred": old.name}})
                await until(lambda: old.leads("S", "D"))
                await near.publish(_NEXT, b'{"no_wait":true}', reply="in.last")
                with trio.fail_after(1.0):
                    message = await told.receive()
                assert (message.subject, message.headers.status) == ("in.last", 404)

        play(scenario)
