"""A world: servers by name, dialers with chance of their own, and the fault plan that happens to them."""

from __future__ import annotations

import contextlib
import json

import pytest
import trio

from beamline_trio import Client, ConnectionLostError, Disconnected, open_client
from beamline_trio.simulation import Draw, Fault, FaultKind, Plan, SimulationError, World, run
from beamline_trio.simulation._world import EPOCH


async def until_lost(nc: Client, world: World) -> float:
    """When the client hears that it lost its link."""
    async with nc.events() as events:
        async for event in events:
            if isinstance(event, Disconnected):
                break
    return world.now()


def lines(world: World, kind: str) -> list[tuple[float, str, str]]:
    """The trace's tail: time, host and what, of one kind."""
    found = []
    for line in map(json.loads, world.trace.tail(400)):
        if line["kind"] == kind:
            found.append((line["at"] / 1e6, line["host"], line["fields"].get("what", "")))
    return found


def test_a_server_has_its_name_once() -> None:
    """A second server of a name is refused; a killed one starts again by itself."""

    async def scenario(world: World) -> None:
        server = await world.start_server("a")
        assert world.servers["a"] is server
        with pytest.raises(SimulationError, match="'a' already"):
            await world.start_server("a")
        server.kill()
        server.start()
        async with open_client(server.url, dialer=world.dialer("app")) as nc:
            await nc.flush()

    run(scenario, seed=1)


def test_clients_of_one_host_have_chance_of_their_own() -> None:
    """Two dialers of a host give two PRNGs, so that two clients have two inboxes; the wall clock is the world's."""

    async def scenario(world: World) -> list[str]:
        one, other = world.dialer("app").environment, world.dialer("app").environment
        await trio.sleep(5)
        assert one.wall_clock() == EPOCH + 5
        return [one.new_identifier(), other.new_identifier()]

    identifiers = run(scenario, seed=1)
    assert len(set(identifiers)) == 2
    assert run(scenario, seed=1) == identifiers
    assert not set(run(scenario, seed=2)) & set(identifiers)


def test_a_plan_happens_when_it_says() -> None:
    """It begins a second after the first connection, each fault at its time; `quiet` waits for its end and longer."""
    plan = Plan((Fault(FaultKind.KILL, 2.0, 3.0, ("a",)), Fault(FaultKind.RESET, 9.5, 0, ("app", "a"))))

    async def scenario(world: World) -> None:
        await world.start_server("a")
        await trio.sleep(10)
        async with (
            open_client(world.servers["a"].url, dialer=world.dialer("app")) as nc,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(trio.sleep, 0)
            connected_at = world.now()
            assert await until_lost(nc, world) == pytest.approx(connected_at + 1 + 2.0, abs=0.01)
            assert world.servers["a"].state == "stopped"
            assert await until_lost(nc, world) == pytest.approx(connected_at + 1 + 9.5, abs=0.01)
            await world.quiet()
            assert world.now() == pytest.approx(connected_at + 1 + 9.5 + 60, abs=0.01)
            assert world.faults_end_at == pytest.approx(connected_at + 1 + 9.5, abs=0.01)
            await nc.publish("a", confirm=True)
        begun = lines(world, "fault_begin")
        assert [what for _, _, what in begun] == ["kill", "reset"]
        assert [at for at, _, _ in begun] == pytest.approx([connected_at + 3.0, connected_at + 10.5], abs=0.01)
        assert len(lines(world, "fault_end")) == 2

    run(scenario, seed=1, plan=plan)


def test_a_plan_is_drawn_from_the_seed() -> None:
    """The same seed draws the same plan, another one another; it names the hosts and servers there are."""

    async def scenario(world: World) -> Plan:
        await world.start_server("a")
        await world.start_server("b", routes=["a"])
        async with open_client(world.servers["a"].url, dialer=world.dialer("app")):
            await trio.sleep(2)
        assert world.plan is not None
        return world.plan

    plans = [run(scenario, seed=seed, draw=Draw(count=6)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    assert {host for plan in plans for fault in plan.faults for host in fault.hosts} <= {"app", "a", "b"}


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if not kind.instant])
def test_every_kind_of_fault_begins_and_ends(kind: FaultKind) -> None:
    """Each can be injected, is survived by a client with a patient caller, and leaves nothing behind."""
    amounts = {FaultKind.SLOW: 0.2, FaultKind.CHOP: 5, FaultKind.SLOW_CLOSE: 2.0}
    hosts = ("app", "a") if kind.host_count == 2 else ("a",)
    plan = Plan((Fault(kind, 1.0, 10.0, hosts, amounts.get(kind, 0)),))

    async def scenario(world: World) -> None:
        server = await world.start_server("a")
        async with open_client(server.url, dialer=world.dialer("app"), operation_timeout_seconds=None) as nc:
            with trio.move_on_after(15):
                while True:
                    with trio.move_on_after(1), contextlib.suppress(ConnectionLostError):
                        await nc.publish("s", b"x" * 100, confirm=True)
                    await trio.sleep(0.1)
            await world.quiet()
            before = world.now()
            await nc.publish("s", confirm=True)
            assert world.now() - before == pytest.approx(0.001, abs=0.0005)

    run(scenario, seed=1, plan=plan)


def test_faults_that_overlap_on_a_server_end_with_the_last() -> None:
    """A server that a kill and a loss of power took down is back when both are over."""
    plan = Plan((Fault(FaultKind.KILL, 1.0, 4.0, ("a",)), Fault(FaultKind.POWER_OFF, 3.0, 10.0, ("a",))))

    async def scenario(world: World) -> None:
        server = await world.start_server("a")
        async with open_client(server.url, dialer=world.dialer("app")):
            down = []
            for _ in range(16):
                await trio.sleep(1)
                down.append(server.state == "stopped")
            # One second until the plan begins.
            assert down in ([False] + [True] * 12 + [False] * 3, [False] * 2 + [True] * 11 + [False] * 3)

    run(scenario, seed=1, plan=plan)


@pytest.mark.parametrize(
    "fault",
    [Fault(FaultKind.RESET, 1.0, 0, ("app", "nowhere")), Fault(FaultKind.KILL, 1.0, 1.0, ("app",))],
)
def test_a_plan_for_another_world_is_refused(fault: Fault) -> None:
    """A host that is not there, and a server's fault where there is none, end the run with an error that says so."""

    async def scenario(world: World) -> None:
        await world.start_server("a")
        async with open_client(world.servers["a"].url, dialer=world.dialer("app")):
            await world.quiet()

    with pytest.raises(SimulationError, match="the plan's fault"):
        run(scenario, seed=1, plan=Plan((fault,)))
