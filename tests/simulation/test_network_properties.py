"""Whatever the network is like, and whatever is wrong with it: bytes arrive in order, each once, and the books agree.

Drawn: conditions, a plan of overlapping faults that are all over in the end, and what both sides send, when, in what
pieces, and how they read.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio.simulation._network import Conditions, Network, NetworkFault, SimulatedStream
from beamline_trio.simulation._scheduling import repeatable

from ._network_rig import PORT, Lines, Machine, Rig, running

# All faults are over by then, and long before a sender would give up.
FAULTS_END = 200.0


@attrs.frozen
class Case:
    conditions: Conditions
    faults: tuple[tuple[str, bool, float, float, int], ...]
    seed: int


conditions = st.builds(
    Conditions,
    latency_seconds=st.sampled_from([0.0, 0.0005, 0.1, 2.0]),
    jitter_seconds=st.sampled_from([0.0, 0.0, 0.001, 3.0]),
    bandwidth_bytes_per_second=st.sampled_from([None, None, 5e3, 1e6]),
    window_bytes=st.sampled_from([7, 100, 5_000, 262_144]),
    chunk_bytes_max=st.sampled_from([None, None, 50, 3_000]),
)
faults = st.tuples(
    st.sampled_from(["partition", "black_hole", "hold", "slow", "chop", "slow_close"]),
    st.booleans(),
    st.floats(0, FAULTS_END / 2),
    st.floats(0, FAULTS_END / 2),
    st.integers(1, 100),
)
cases = st.builds(
    Case, conditions=conditions, faults=st.lists(faults, max_size=6).map(tuple), seed=st.integers(0, 2**32)
)


def _fault(network: Network, kind: str, forth: bool, amount: int) -> NetworkFault:
    a, b = ("app", "a") if forth else ("a", "app")
    match kind:
        case "slow":
            return network.slow(
                a, b, latency_seconds=amount / 10, jitter_seconds=amount / 20, bandwidth_bytes_per_second=amount * 100
            )
        case "chop":
            return network.chop(a, b, bytes_max=amount)
        case "slow_close":
            return network.slow_close(a, b, amount)
        case "partition":
            return network.partition(a, b)
        case "hold":
            return network.hold(a, b)
        case _:
            return network.black_hole(a, b)


def _schedule(rig: Rig, case: Case) -> None:
    for kind, forth, at, seconds, amount in case.faults:
        fault = _fault(rig.network, kind, forth, amount)
        rig.events.call_at(at, fault.start)
        rig.events.call_at(at + seconds, fault.stop)


async def _send(stream: SimulatedStream, data: bytes, chance: random.Random) -> None:
    """Send it in drawn pieces at drawn times, sometimes cancelled in the middle; then the end."""
    at = 0
    while at < len(data):
        size, before = chance.choice([1, 20, 400]), stream.sent
        with trio.move_on_after(chance.choice([0, 0.01, 30, 1e6])):
            await stream.send_all(data[at : at + size])
        at += stream.sent - before
        if chance.random() < 0.2:
            await trio.sleep(chance.random() * 20)
        _check_window(stream)
    await stream.send_eof()


async def _receive(stream: SimulatedStream, chance: random.Random) -> bytes:
    """Read to the end in drawn sizes at drawn times, sometimes cancelled."""
    got = bytearray()
    while True:
        with trio.move_on_after(chance.choice([0, 0.0005, 1, 1e6])):
            data = await stream.receive_some(chance.choice([1, 50, None]))
            if not data:
                return bytes(got)
            got += data
        if chance.random() < 0.1:
            await trio.sleep(chance.random() * 10)


def _check_window(stream: SimulatedStream) -> None:
    outward = stream._end.outward
    assert 0 <= outward.used <= stream._end.connection.network.conditions.window_bytes


def _run(case: Case, body: Callable[[Rig, Case], Awaitable[None]]) -> Lines:
    async def main() -> Lines:
        async with running(case.seed, case.conditions) as rig:
            _schedule(rig, case)
            await body(rig, case)
            return rig.trace

    with repeatable(random.Random(case.seed)):
        return trio.run(main, clock=MockClock(autojump_threshold=0))


async def _both_ways(rig: Rig, case: Case) -> None:
    chance = random.Random(case.seed)
    while True:
        try:
            one, other = await rig.pair()
            break
        except TimeoutError:
            rig.network.unlisten("a", PORT)
    texts = [chance.randbytes(chance.choice([0, 10, 1_000])) for _ in range(2)]
    got: dict[int, bytes] = {}

    async def receive(index: int, stream: SimulatedStream) -> None:
        got[index] = await _receive(stream, random.Random(case.seed + index))

    async with trio.open_nursery() as nursery:
        for index, (sender, receiver) in enumerate(((one, other), (other, one))):
            nursery.start_soon(_send, sender, texts[index], random.Random(case.seed + index + 2))
            nursery.start_soon(receive, index, receiver)
    assert got == dict(enumerate(texts))
    record = rig.network.connection(one.number)
    forth, back = map(len, texts)
    assert (record.sent, record.delivered, record.returned, record.received) == (forth, forth, back, back)
    assert (one.sent, other.received, other.sent, one.received) == (forth, forth, back, back)
    assert record.state == "over"
    assert rig.network.links() == []
    for stream in (one, other):
        assert stream._end.outward.used == 0


@settings(max_examples=60, deadline=None)
@given(cases)
def test_bytes_arrive_in_order_and_each_once(case: Case) -> None:
    """Both ways, to the end of the stream, with cancelled sends and receives; every counter agrees; nothing is left."""
    _run(case, _both_ways)


async def _with_a_machine(rig: Rig, case: Case) -> None:
    machine: Machine = rig.machine(echoes=True)
    chance = random.Random(case.seed)
    while True:
        try:
            stream = await rig.connect()
            break
        except TimeoutError:
            pass
    text = chance.randbytes(chance.choice([1, 10, 1_000]))
    got: list[bytes] = []

    async def receive() -> None:
        size = 0
        while size < len(text):
            got.append(await stream.receive_some())
            size += len(got[-1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(_send, stream, text, random.Random(case.seed + 1))
        await machine.accepted.wait()
        link = machine.handlers[0].link
        while len(machine.handlers[0].data) < len(text):
            link.pause_reading()
            await trio.sleep(chance.random())
            link.resume_reading()
            await trio.sleep(chance.random() * 10)
    assert b"".join(got) == bytes(machine.handlers[0].data) == text
    await trio.sleep_until(FAULTS_END + 2_000)
    assert [what for _, what in machine.handlers[0].told if what != "writable"] == ["ended"]


@settings(max_examples=50, deadline=None)
@given(cases)
def test_machines_get_and_send_everything_too(case: Case) -> None:
    """An echo comes back whole, though its machine pauses now and then and its window fills."""
    _run(case, _with_a_machine)


@settings(max_examples=15, deadline=None)
@given(cases)
def test_one_seed_is_one_trace(case: Case) -> None:
    """Twice the same case gives the same lines, times and all."""
    first, second = (_run(case, _with_a_machine).entries for _ in range(2))
    assert first == second


@settings(max_examples=50, deadline=None)
@given(cases, st.floats(0, 30), st.sampled_from(["reset", "power", "close"]))
def test_what_breaks_leaves_nothing(case: Case, at: float, how: str) -> None:
    """However a connection ends, what was delivered is a beginning of what was sent, and in the end nothing is open."""

    async def body(rig: Rig, case: Case) -> None:
        try:
            one, other = await rig.pair()
        except TimeoutError:
            return
        text = random.Random(case.seed).randbytes(2_000)
        off = rig.network.power_off("app")
        breaks: dict[str, Callable[[], object]] = {
            "reset": partial(rig.network.reset, "app", "a"),
            "power": off.start,
            "close": one.close,
        }
        rig.events.call_later(at, breaks[how])
        rig.events.call_later(at + 1, off.stop)
        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_until_broken, one, text)
            nursery.start_soon(_send_until_broken, other, text)
            try:
                while data := await other.receive_some():
                    got += data
            except trio.BrokenResourceError:
                pass
        assert (text + b"." * len(got)).startswith(got)
        for stream in (one, other):
            stream.close()
        await trio.sleep(3_000)
        assert rig.network.links() == []
        for path in rig.network.paths_of(rig.network.host("app")):
            assert path.travellers == {}

    _run(case, body)


async def _send_until_broken(stream: SimulatedStream, text: bytes) -> None:
    try:
        for at in range(0, len(text), 100):
            await stream.send_all(text[at : at + 100])
            await trio.sleep(0.3)
        while True:  # whoever writes is told in the end
            await stream.send_all(b".")
            await trio.sleep(30)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
