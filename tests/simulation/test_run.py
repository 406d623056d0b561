"""The synchronous entry: one seed is one run, in virtual time, with nothing real in reach."""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import trio
import trio._core._run as trio_run
import trio.testing

from beamline_trio import open_client
from beamline_trio.simulation import ForbiddenError, SimulationError, UnknownTrioError, World, run, run_in
from beamline_trio.simulation import _scheduling as scheduling


async def chatter(world: World) -> tuple[list[str], float]:
    """A full client, a server, many tasks that all want to go first."""
    order: list[str] = []
    server = await world.start_server("a")
    async with (
        open_client(server.url, dialer=world.dialer("app")) as nc,
        nc.subscribe("talk") as sub,
        trio.open_nursery() as nursery,
    ):
        await sub.confirmed()
        for number in range(20):
            nursery.start_soon(nc.publish, "talk", b"%d" % number)
        for _ in range(20):
            order.append((await sub.receive()).payload.decode())
    return order, world.now()


def test_the_same_seed_is_the_same_run() -> None:
    """Order of tasks, times and trace depend on the seed alone."""
    worlds = [World(seed) for seed in (1, 1, 2)]
    results = [run_in(world, chatter, world) for world in worlds]
    assert results[0] == results[1]
    assert worlds[0].trace.digest() == worlds[1].trace.digest()
    assert sorted(results[0][0]) == sorted(results[2][0])
    assert results[0][0] != results[2][0]
    assert worlds[0].trace.digest() != worlds[2].trace.digest()


def test_what_is_cancelled_at_once_is_cancelled_in_order() -> None:
    """Tasks of one scope, and scopes of one deadline, are aborted in the order in which they came, not of addresses.

    An abort function may do something for another task, as a lock does that is given on.
    """

    async def wait(aborted: list[int], number: int) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            aborted.append(number)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def wait_until(aborted: list[int], began: list[int], number: int) -> None:
        began.append(number)
        with trio.move_on_at(5):
            await wait(aborted, number)

    async def cancel(world: World) -> None:
        began: list[int] = []
        aborted: list[int] = []
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(wait, aborted, number)
        assert aborted == list(range(50))
        aborted.clear()
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(wait_until, aborted, began, number)
        assert aborted == began

    run(cancel, seed=1)


def test_dials_that_are_given_up_together_have_an_order() -> None:
    """Which of them is noted first depends on the seed alone."""

    async def dial(world: World) -> None:
        hosts = [f"h{number}" for number in range(50)]
        await world.start_server("a")
        for host in hosts:
            world.network.add_host(host)
        world.network.partition(hosts, "a").start()
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                for host in hosts:
                    nursery.start_soon(world.network.connect, host, "a", 4222)
        noted = [json.loads(line)["host"] for line in world.trace.tail(50)]
        assert sorted(noted) == sorted(hosts)
        assert all(record.reason == "cancelled" for (record,) in world.network.dials().values())

    worlds = [World(seed) for seed in (1, 1, 2)]
    for world in worlds:
        run_in(world, dial, world)
    assert worlds[0].trace.digest() == worlds[1].trace.digest() != worlds[2].trace.digest()


def test_hours_take_no_time() -> None:
    """A day of sleep is over at once, and `now` and the wall clock know that it was a day."""

    async def sleep(world: World) -> tuple[float, float]:
        before = world.wall_clock()
        await trio.sleep(86_400)
        return world.now(), world.wall_clock() - before

    began = time.perf_counter()
    assert run(sleep, seed=1) == (86_400.0, 86_400.0)
    assert time.perf_counter() - began < 5


def test_what_the_function_raises_is_raised_as_it_is() -> None:
    """No group around it; a group of the function's own stays what it is; what it returns is returned."""

    async def fail(world: World) -> None:
        await world.start_server("a")
        raise LookupError("mine")

    async def fail_in_group(world: World) -> None:
        async with trio.open_nursery():
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(fail, seed=1)
    with pytest.raises(ExceptionGroup) as caught:
        run(fail_in_group, seed=1)
    assert len(caught.value.exceptions) == 1


def test_an_error_of_the_simulation_is_loud() -> None:
    """A callback that fails ends the run with SimulationError, which names the cause."""

    async def plant(world: World) -> None:
        world.events.call_later(1.0, int, "not a number")
        await trio.sleep(10)

    with pytest.raises(SimulationError, match="not a number") as caught:
        run(plant, seed=1)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_world_lives_once() -> None:
    """A second run of a world would not be the run of its seed."""

    async def nothing() -> None:
        await trio.lowlevel.checkpoint()

    world = World(1)
    run_in(world, nothing)
    with pytest.raises(SimulationError, match="one run"):
        run_in(world, nothing)


def test_a_clock_beside_the_worlds_is_refused() -> None:
    """Two clocks would make one of them a lie."""

    async def nothing() -> None: ...

    with pytest.raises(SimulationError, match="its own clock"):
        run_in(World(1), nothing, clock=trio.testing.MockClock())


@pytest.mark.parametrize("way", ["to_thread", "thread", "socket", "dns", "tcp"])
def test_nothing_real_is_in_reach(way: str) -> None:
    """A thread, a socket and a DNS look-up raise, and say what to do; afterwards they work again."""

    async def reach(world: World) -> None:
        if way == "to_thread":
            await trio.to_thread.run_sync(time.monotonic)
        elif way == "thread":
            threading.Thread(target=time.monotonic).start()
        elif way == "socket":
            trio.socket.socket().close()
        elif way == "dns":
            await trio.socket.getaddrinfo("example.org", 80)
        else:
            await trio.open_tcp_stream("localhost", 4222)

    with pytest.raises(ForbiddenError, match=r"World\.dialer"):
        run(reach, seed=1)

    thread = threading.Thread(target=time.monotonic)
    thread.start()
    thread.join()
    assert trio.run(trio.to_thread.run_sync, threading.get_ident) != threading.get_ident()

    async def resolve() -> object:
        return await trio.socket.getaddrinfo("127.0.0.1", 80)

    assert trio.run(resolve)


def test_other_threads_go_on() -> None:
    """Only the thread that runs a simulation may start none."""
    done = threading.Event()

    def elsewhere() -> None:
        inner = threading.Thread(target=done.set)
        inner.start()
        inner.join()

    async def wait(world: World) -> None:
        other.start_now.set()
        assert done.wait(10)

    other = _Later(elsewhere)
    other.start()
    run(wait, seed=1)
    other.join()


class _Later(threading.Thread):
    """A thread that waits to be told to begin."""

    def __init__(self, work: object) -> None:
        super().__init__()
        self.start_now = threading.Event()
        self._work = work

    def run(self) -> None:
        self.start_now.wait(10)
        assert callable(self._work)
        self._work()


def test_trio_is_left_as_it_was() -> None:
    """The switch, the PRNG of trio's scheduler and its order of cancelling are put back, also behind an error."""
    before = _state_of_trio()

    async def fail(world: World) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run(fail, seed=1)
    assert _state_of_trio() == before


def _state_of_trio() -> tuple[object, ...]:
    cancellation = trio_run.CancelStatus.__attrs_post_init__, trio_run.Deadlines.add
    return trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate(), threading.Thread.start, *cancellation


@pytest.mark.parametrize("part", ["switch", "prng", "loop", "threads", "cancelling", "deadlines"])
def test_a_trio_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """A trio whose scheduler does not read what is set here makes every seed a lie: UnknownTrioError, and no run."""
    if part == "switch":
        monkeypatch.delattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING")
    elif part == "prng":
        monkeypatch.setattr(trio_run, "_r", object())
    elif part == "loop":
        monkeypatch.setattr(trio_run, "unrolled_run", lambda: None)
    elif part == "cancelling":
        monkeypatch.setattr(trio_run, "CancelStatus", object)
    elif part == "deadlines":
        monkeypatch.setattr(trio_run, "Deadlines", object)
    else:
        monkeypatch.setattr(scheduling, "ThreadCache", object())
    ran = []

    async def note(world: World) -> None:
        ran.append(world)

    with pytest.raises(UnknownTrioError, match=r"trio \d"):
        run(note, seed=1)
    assert not ran


@hypothesis.given(seed=st.integers(0, 2**64))
@hypothesis.settings(max_examples=20)
def test_a_property_may_hold_a_simulation(seed: int) -> None:
    """`run` is called inside the example, and what hypothesis draws does not depend on it."""

    async def ask(world: World) -> float:
        await trio.sleep(world.random("length").uniform(1, 2))
        return world.now()

    assert run(ask, seed=seed) == run(ask, seed=seed)


def test_streams_of_chance_are_independent() -> None:
    """A name is a stream; more draws from one change nothing in another, and the seed changes all."""

    async def nothing() -> None: ...

    world, other = World(1), World(2)
    first = world.random("x").random()
    assert world.random("x").random() == first
    assert world.random("y").random() != first
    assert other.random("x").random() != first
    state = random.getstate()
    run_in(world, nothing)
    assert random.getstate() == state


def test_the_trace_is_a_file_too(tmp_path: Path) -> None:
    """Every line is in the file, numbered from 0, and the digest is of what is in the file."""
    import hashlib
    import json

    file = tmp_path / "trace.jsonl"
    world = World(3, trace_file=file)
    run_in(world, chatter, world)
    lines = file.read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(world.trace.count))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == world.trace.digest()
    for line in map(json.loads, lines):
        assert list(line) == ["at", "fields", "host", "kind", "seq"]
        assert isinstance(line["at"], int)
        assert list(line["fields"]) == sorted(line["fields"])


@pytest.mark.parametrize("instants_at_once", [1, 2, 64])
def test_events_and_tasks_have_their_turns_by_time(monkeypatch: pytest.MonkeyPatch, instants_at_once: int) -> None:
    """However many instants of events run behind each other: a task or a deadline that is due comes between them."""
    monkeypatch.setattr(scheduling, "_INSTANTS_MAX", instants_at_once)
    seen: list[str] = []

    async def main(world: World) -> None:
        woken = trio.Event()
        for number in range(1, 9):
            world.events.call_later(number, seen.append, f"event at {number}")
        world.events.call_later(3, woken.set)
        with trio.move_on_after(5):
            await woken.wait()
            seen.append(f"woken at {trio.current_time():g}")
            await trio.sleep_forever()
        seen.append(f"deadline at {trio.current_time():g}")
        await trio.sleep(2)
        seen.append(f"slept until {trio.current_time():g}")

    run(main, seed=1)
    events = [f"event at {number}" for number in range(1, 8)]
    wanted = [*events[:3], "woken at 3", *events[3:5], "deadline at 5", *events[5:7], "slept until 7"]
    assert seen == wanted


@pytest.mark.parametrize("idempotent", [False, True])
def test_what_is_put_into_the_entry_queue_runs_at_once(idempotent: bool) -> None:
    """A callback that a task handed to trio runs before time goes on."""
    ran_at: list[float] = []

    async def main(world: World) -> None:
        token = trio.lowlevel.current_trio_token()
        for _ in range(3):
            token.run_sync_soon(lambda: ran_at.append(trio.current_time()), idempotent=idempotent)
            await trio.sleep(2)

    run(main, seed=1)
    assert ran_at == [0, 2, 4]


def test_a_descriptor_that_is_waited_for_is_looked_at() -> None:
    """Whoever waits for a descriptor of the process is woken before time goes on."""

    async def main(world: World) -> list[float]:
        woken_at: list[float] = []
        one, other = socket.socketpair()

        async def wait() -> None:
            await trio.lowlevel.wait_readable(one)
            woken_at.append(trio.current_time())

        with one, other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.sleep(1)
                other.send(b"x")
                await trio.sleep(10)
        return woken_at

    assert run(main, seed=1) == [1]


def test_ctrl_c_ends_a_run() -> None:
    """A signal is noticed though nothing but events goes on."""

    async def main(world: World) -> None:
        def tick() -> None:
            world.events.call_later(1, tick)

        tick()
        world.events.call_later(500, signal.raise_signal, signal.SIGINT)
        await trio.sleep(10**6)

    with pytest.raises(KeyboardInterrupt):
        run(main, seed=1, ends_within_seconds=10**7)


def test_a_deadlock_is_told() -> None:
    """Where every task waits and nothing is planned, the run ends with an error that names the tasks, not never."""

    async def wait_for_ever(world: World) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="the one that waits")
            await trio.sleep(1)

    with pytest.raises(SimulationError, match=r"every task waits.*the one that waits"):
        run(wait_for_ever, seed=1)


def test_an_instant_without_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that adds itself again at the same instant ends the run with an error that says so."""
    monkeypatch.setattr("beamline_trio.simulation._events.INSTANT_MAX", 1000)

    async def turn(world: World) -> None:
        def again() -> None:
            world.events.call_later(0, again)

        again()
        await trio.sleep(1)

    with pytest.raises(SimulationError, match="time does not go on"):
        run(turn, seed=1)
