"""The real rig of scenarios: servers end and come back, ways are cut, and an instance is a process that drains."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from beamline_trio import Client, JetStream, open_client
from beamline_trio.scenarios import Topology, find_scenario
from beamline_trio.scenarios._instance import Leave
from beamline_trio.scenarios._process_instance import ProcessInstance
from beamline_trio.scenarios._real import RealRig, open_real_rig
from beamline_trio.scenarios._rig import End
from beamline_trio.scenarios._streams import streams_of
from beamline_trio.scenarios._subjects import number_of, payload_of
from beamline_trio.server_process import _program

ONE = Topology()


@asynccontextmanager
async def rig_of(topology: Topology) -> AsyncGenerator[RealRig]:
    with trio.fail_after(60):
        async with open_real_rig(topology, seed=1) as rig:
            yield rig


async def make_streams(nc: Client) -> JetStream:
    """Those of the scenario of rolling restarts."""
    js = JetStream(nc)
    for config in streams_of(find_scenario("5.3"), ONE, ""):
        await js.create_stream(config)
    return js


async def until_ready(instance: ProcessInstance) -> None:
    while True:
        if instance.ready:
            return
        await trio.sleep(0.05)


async def until_dead(instance: ProcessInstance) -> None:
    """Kill it, for which nobody has asked, and wait until that is told."""
    assert instance._program is not None
    instance._program.kill()
    while not instance.deaths:  # noqa: ASYNC110  # a process tells nobody
        await trio.sleep(0.05)


@pytest.mark.parametrize("how", [End.KILL, End.STOP])
async def test_a_server_ends_and_comes_back(how: End) -> None:
    """Health says so, and a client finds it again at the same place."""
    async with rig_of(ONE) as rig, open_client(*rig.urls(), dialer=rig.dialer("app")) as nc:
        (name,) = rig.servers
        assert rig.health().up == {name: True}
        assert rig.health().connections == 1
        await rig.end_server(name, how)
        health = rig.health()
        assert (health.up, health.quorum) == ({name: False}, False)
        await rig.start_server(name)
        await rig.start_server(name)
        await nc.publish("again", b"", confirm=True)
        assert rig.health().quorum


async def test_a_paused_server_serves_nobody() -> None:
    """It is up again when it goes on."""
    async with rig_of(ONE) as rig, open_client(*rig.urls(), dialer=rig.dialer("app")) as nc:
        (name,) = rig.servers
        rig.pause_server(name)
        assert rig.health().up == {name: False}
        with trio.move_on_after(0.3) as waited:
            await nc.flush()
        assert waited.cancelled_caught
        rig.resume_server(name)
        assert rig.health().up == {name: True}
        await nc.flush()


async def test_a_host_that_is_cut_off_hears_nothing_until_it_is_whole() -> None:
    """The others go on; what was sent meanwhile arrives."""
    async with (
        rig_of(ONE) as rig,
        open_client(*rig.urls(), dialer=rig.dialer("router")) as router,
        open_client(*rig.urls(), dialer=rig.dialer("source")) as source,
        router.subscribe("orders") as orders,
    ):
        await orders.confirmed()
        async with rig.cut(["router"], rig.servers), rig.lose_host("nobody"):
            await source.publish("orders", b"7", confirm=True)
            with trio.move_on_after(0.3) as waited:
                await orders.receive()
            assert waited.cancelled_caught
        assert (await orders.receive()).payload == b"7"


async def test_an_instance_is_a_process_that_is_ended_and_comes_back() -> None:
    """It drains on SIGTERM, is killed by SIGKILL, and each of its lives works on the same durable."""
    async with rig_of(ONE) as rig, open_client(*rig.urls()) as nc, trio.open_nursery() as nursery:
        js = await make_streams(nc)
        instance = ProcessInstance("router-1", "5.3", rig.urls(), client=find_scenario("5.1").client)
        async with nc.subscribe("done.>") as effects:
            await nursery.start(instance.run)
            for number, how in enumerate((Leave.DRAIN, Leave.KILL)):
                await js.publish("work.0", payload_of(number))
                effect = await effects.receive()
                assert number_of(effect.payload) == number
                assert effect.headers["Scenario-Handled"] == "1 router-1"
                await instance.leave(how)
                assert not instance.ready
                instance.come_back()
                await until_ready(instance)
            assert (instance.restarts, instance.deaths) == (2, 0)
            await until_dead(instance)
            await until_ready(instance)
        nursery.cancel_scope.cancel()


async def test_an_instance_that_ends_as_it_begins_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks may find it ready before its start has: then it is back, and its end is one by itself."""
    async with rig_of(ONE) as rig, open_client(*rig.urls()) as nc, trio.open_nursery() as nursery:
        await make_streams(nc)
        instance = ProcessInstance("router-1", "5.3", rig.urls())
        await nursery.start(instance.run)
        monkeypatch.setattr(_program, "_POLL_SECONDS", 5.0)
        await instance.leave(Leave.KILL)
        instance.come_back()
        await until_ready(instance)
        await until_dead(instance)
        nursery.cancel_scope.cancel()
