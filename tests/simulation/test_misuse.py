"""What cannot work is refused where it is written, with an error that says what to do."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

import beamline_trio
from beamline_trio import open_client
from beamline_trio.simulation import (
    Draw,
    EndlessError,
    Evidence,
    Plan,
    SimulationError,
    World,
    at_most,
    laws,
    no_loss,
    order_by,
    recovers,
    run,
    run_in,
    run_scenario,
)


async def nothing(world: World) -> None:
    await trio.lowlevel.checkpoint()


async def connected(world: World) -> None:
    """A client that is there for some seconds."""
    server = await world.start_server("a")
    async with open_client(server.url, dialer=world.dialer("app")):
        await trio.sleep(3)


@pytest.mark.parametrize(
    "options, told",
    [
        ({"seed": None}, "seed is None; it must be of type int"),
        ({"seed": "1"}, "seed is '1'"),
        ({"seed": 1, "draw": 4}, "draw is 4; it must be of type Draw"),
        ({"seed": 1, "plan": "plan.json"}, "it must be of type Plan"),
        ({"seed": 1, "draw": Draw(), "plan": Plan()}, "leave one out"),
    ],
)
def test_arguments_of_a_run(options: dict[str, Any], told: str) -> None:
    """A seed that is no number would make another run without a word; a draw that is none would fail much later."""
    with pytest.raises(SimulationError, match=told):
        run(nothing, **options)


def test_a_coroutine_instead_of_its_function() -> None:
    """`run(main(world))` is told like that, and leaves nothing behind but what the caller made."""
    coroutine = nothing(World(1))
    with pytest.raises(SimulationError, match="pass the async function itself"):
        run(coroutine, seed=1)  # type: ignore[arg-type]
    coroutine.close()


def test_a_trace_file_may_be_a_text(tmp_path: Path) -> None:
    """A path as people write it does."""
    file = str(tmp_path / "trace.jsonl")
    run(nothing, seed=1, trace_file=file)  # type: ignore[arg-type]
    assert Path(file).read_text().count("\n") == 1


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a/b", "x" * 64, "a:1"])
def test_a_server_that_nobody_could_dial(name: str) -> None:
    """Its name is a host in a URL, which is read in lower case."""

    async def start(world: World) -> None:
        await world.start_server(name)

    with pytest.raises(SimulationError, match="lower-case letters"):
        run(start, seed=1)


@pytest.mark.parametrize(
    "options, told",
    [({"port": 0}, "port is 0"), ({"port": 65_536}, "1 to 65535"), ({"routes": "b"}, r"routes=\['b'\]")],
)
def test_where_a_server_listens_and_dials(options: dict[str, Any], told: str) -> None:
    """A port that there is none, and a text where a list is meant, of which each letter would be a server."""

    async def start(world: World) -> None:
        await world.start_server("a", **options)

    with pytest.raises(SimulationError, match=told):
        run(start, seed=1)


@pytest.mark.parametrize(
    "publisher", ["", "x" * 49, "a:b", "a\nb", " a", "a ", "ü" * 40, "a\x7f"], ids=lambda name: ascii(name)[:8]
)
def test_a_publisher_whose_identity_could_not_be_read_back(publisher: str) -> None:
    """What the wire would not give back as it was sent would be blamed on the client."""

    async def publish(world: World) -> None:
        server = await world.start_server("a")
        async with open_client(server.url, dialer=world.dialer("app")) as nc:
            await world.journal.publish(nc, "a", publisher=publisher)

    with pytest.raises(SimulationError, match="visible ASCII characters"):
        run(publish, seed=1)


@pytest.mark.parametrize("publisher", ["x" * 48, "a", "app/one two", "~!/#"])
def test_every_publisher_that_is_taken_is_read_back(publisher: str) -> None:
    """The servers, the network and the application see the identity that was sent."""

    @laws(no_loss, faults=None)
    async def publish(world: World) -> None:
        server = await world.start_server("a")
        async with open_client(server.url, dialer=world.dialer("app")) as nc, nc.subscribe("a") as sub:
            note = await world.journal.publish(nc, "a", publisher=publisher)
            assert world.journal.delivered("app", await sub.receive()) == note.identity
            assert note.identity in world.journal.taken
            assert note.identity in world.journal.written

    verdict = run_scenario(publish, 1)
    assert verdict.error is None
    assert verdict.holds


# Laws


@pytest.mark.parametrize("law", [recovers, order_by, at_most])
def test_a_law_that_was_not_called(law: Any) -> None:
    """What makes a law is no law: told where it is written, not behind the first run."""
    with pytest.raises(SimulationError, match=rf"write {law.__name__}\(\.\.\.\) in @laws"):
        laws(law)


def test_laws_without_parentheses() -> None:
    """The test would become the decorator, and never be run."""
    with pytest.raises(SimulationError, match="needs parentheses"):
        laws(nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, told",
    [
        ({"faults": 4}, r"write faults=Draw\("),
        ({"quiet_seconds": -1}, "quiet_seconds is -1"),
        ({"ends_within_seconds": math.nan}, "ends_within_seconds is nan"),
    ],
)
def test_arguments_of_laws(options: dict[str, Any], told: str) -> None:
    """They are looked at where they are written."""
    with pytest.raises(SimulationError, match=told):
        laws(**options)
    with pytest.raises(SimulationError, match="is no law"):
        laws("no_loss")  # type: ignore[arg-type]


def test_laws_twice() -> None:
    """The second would take the place of the first without a word."""

    async def scenario(world: World) -> None: ...

    laws(no_loss)(scenario)
    with pytest.raises(SimulationError, match="has @laws already"):
        laws(at_most("app", 1))(scenario)


def test_faults_that_had_no_time_to_happen() -> None:
    """A scenario that ends before its faults begin holds for no seed; one that asks for none does."""

    @laws(no_loss)
    async def early(world: World) -> None:
        server = await world.start_server("a")
        async with open_client(server.url, dialer=world.dialer("app")):
            await trio.sleep(0.5)

    verdict = run_scenario(early, 1)
    assert not verdict.holds
    assert [violation.law for violation in verdict.broken] == ["faults_happen"]
    assert "await world.quiet(), or ask for none by faults=None" in verdict.reason
    assert run_scenario(early, 1, plan=Plan()).holds
    assert run_scenario(laws(no_loss)(connected), 1).holds
    assert run_scenario(nothing, 1).holds


def test_a_law_that_raises_names_the_seed() -> None:
    """A bug of a law is raised as it is, with the seed beside it."""

    def odd(evidence: Evidence) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        run_scenario(laws(odd, faults=None)(_another_nothing()), 7)
    assert "seed 7" in caught.value.__notes__[0]


def _another_nothing() -> Any:
    async def scenario(world: World) -> None: ...

    return scenario


def test_faults_for_clients_without_hosts_of_their_own() -> None:
    """There is no way between a client and a server of one host, which a fault could cut."""

    async def shared(world: World) -> None:
        server = await world.start_server("a")
        async with open_client(server.url, dialer=world.dialer("a")):
            await trio.sleep(3)

    async def mixed(world: World) -> None:
        server = await world.start_server("a")
        async with (
            open_client(server.url, dialer=world.dialer("a")),
            open_client(server.url, dialer=world.dialer("app")),
        ):
            await world.quiet()

    with pytest.raises(SimulationError, match=r"no faults can be drawn.*a host of its own"):
        run(shared, seed=1, draw=Draw())
    run(mixed, seed=1, draw=Draw(seconds=5))


def test_who_waits_in_vain_is_given_up() -> None:
    """A client's pings let time go on for ever: a scenario ends within a day, with laws and without, a run if asked."""

    async def wait_in_vain(world: World) -> None:
        server = await world.start_server("a")
        async with open_client(server.url, dialer=world.dialer("app")) as nc, nc.subscribe("a") as sub:
            await sub.receive()

    verdict = run_scenario(wait_in_vain, 1)
    assert isinstance(verdict.error, EndlessError)
    assert verdict.error.seconds == 86_400
    with pytest.raises(EndlessError, match="still running after 100 virtual seconds"):
        run(wait_in_vain, seed=1, ends_within_seconds=100)


# One at a time


def test_one_simulation_at_a_time() -> None:
    """The order of tasks is the process's: a second run in another thread is refused, and harms nothing."""
    start = threading.Thread.start
    refused: list[BaseException] = []

    def elsewhere() -> None:
        go_on.wait(10)
        try:
            run(nothing, seed=1)
        except SimulationError as error:
            refused.append(error)

    async def wait(world: World) -> None:
        await trio.sleep(1)
        go_on.set()
        other.join(10)

    go_on = threading.Event()
    other = threading.Thread(target=elsewhere)
    other.start()
    run(wait, seed=1)
    assert "one behind the other" in str(refused[0])
    assert threading.Thread.start is start
    run(nothing, seed=1)


def test_a_run_inside_a_run_is_refused() -> None:
    """And the outer one goes on as if nothing had been."""

    async def outer(world: World) -> float:
        with pytest.raises(SimulationError, match="runs in this process already"):
            run(nothing, seed=1)
        await trio.sleep(1)
        return world.now()

    assert run(outer, seed=1) == 1


# Where no run is


def test_a_world_before_and_behind_its_run() -> None:
    """Time stands at 0 before the run, where a fault may be begun already, and at its length behind it."""
    world = World(1)
    world.network.add_host("a")
    world.network.add_host("b")
    cut = world.network.partition("a", "b")
    cut.start()
    world.events.call_later(2, cut.stop)
    assert (world.now(), world.wall_clock()) == (0, 1_735_689_600)

    async def wait() -> None:
        await trio.sleep(1)
        assert cut.on
        await trio.sleep(1.5)
        assert not cut.on

    run_in(world, wait)
    assert world.now() == 2.5


# Where a callback raises


class GivingUp(BaseException):
    """As pytest.fail, pytest.skip and SystemExit do."""


def test_a_callback_that_gives_up() -> None:
    """What is no Exception leaves the run as it is, and the application is left in order."""
    left: list[float] = []

    async def scenario(world: World) -> None:
        def give_up() -> None:
            raise GivingUp

        world.events.call_later(1, give_up)
        try:
            await connected(world)
        finally:
            left.append(world.now())

    world = World(1)
    with pytest.raises(GivingUp):
        run_in(world, scenario, world)
    assert left == [pytest.approx(1)]
    assert world.ended


STUBBORN = """
import trio
from beamline_trio.simulation import SimulationError, World, run_in

async def stubborn(world):
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

world = World(1)
try:
    run_in(world, stubborn, world)
except SimulationError as error:
    print(f"told: {error}; {world.now()} s, {world.ended}")
"""


def test_a_cleanup_that_waits_for_ever_is_told() -> None:
    """A deadlock whose unwinding is a deadlock too ends with the error. In a process: trio leaves its tasks lying."""
    root = str(Path(beamline_trio.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", STUBBORN], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert re.search(r"told: every task waits.*the tasks are: stubborn; 0\.0 s, True", done.stdout), done.stderr
