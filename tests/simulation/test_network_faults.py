"""The faults of the network: what each does, exactly when, and that it is undone, also where several overlap."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from beamline_trio.simulation._network import Conditions, Network, NetworkFault, SimulatedStream

from ._network_rig import LATENCY, PORT, Rig, near, running

# Holds


async def test_what_is_held_comes_in_one_piece(autojump_clock: MockClock) -> None:
    """At the end of the hold, whenever it was sent; the other way is not held, and nothing times out."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.hold("app", "a"):
            for number in range(10):
                await stream.send_all(b"%d" % number)
                await trio.sleep(100)
            handler.link.write(b"not held")
            assert await stream.receive_some() == b"not held"
            at = trio.current_time()
        await trio.sleep(10)
        assert handler.chunks == [(near(at), b"0123456789")]


async def test_dials_are_held_too(autojump_clock: MockClock) -> None:
    """A SYN that is held arrives at the end of the hold; its answer likewise."""
    async with running() as rig:
        rig.machine()
        for ways in (("app", "a"), ("a", "app")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.connect)
                with rig.network.hold(*ways):
                    await trio.sleep(20)
                    released = trio.current_time()
            dial = rig.network.dials()["app"][-1]
            assert dial.ended_at == near(released + (LATENCY if ways == ("app", "a") else 0))


# Slow


async def test_slow_is_added_to_the_conditions(autojump_clock: MockClock) -> None:
    """Latencies add up, each for as long as its fault lasts."""
    async with running() as rig:
        stream, handler = await rig.linked()

        async def arrives_after() -> float:
            before = trio.current_time()
            await stream.send_all(b"x")
            await trio.sleep(100)
            return handler.chunks[-1][0] - before

        one = rig.network.slow("app", "a", latency_seconds=2)
        other = rig.network.slow("app", ["a", "b"], latency_seconds=3)
        assert await arrives_after() == near(LATENCY)
        with one:
            assert await arrives_after() == near(LATENCY + 2)
            with other:
                assert await arrives_after() == near(LATENCY + 5)
        with other:
            assert await arrives_after() == near(LATENCY + 3)
        assert await arrives_after() == near(LATENCY)


async def test_jitter_is_drawn_and_never_reorders(autojump_clock: MockClock) -> None:
    """Each write is late by up to the jitter; what was sent before arrives before."""
    async with running() as rig:
        stream, handler = await rig.linked()
        began = trio.current_time()
        with rig.network.slow("app", "a", jitter_seconds=1):
            for number in range(100):
                await stream.send_all(bytes([number]))
                await trio.sleep(0.05)
            await trio.sleep(2)
        assert bytes(handler.data) == bytes(range(100))
        lateness = [at - began - 0.05 * data[-1] - LATENCY for at, data in handler.chunks]
        assert all(-1e-9 <= late <= 1.05 for late in lateness)
        assert 1 < len(handler.chunks) < 90


async def test_of_several_bandwidths_the_smallest_holds(autojump_clock: MockClock) -> None:
    """A fault cannot make a way faster than it is."""
    async with running(conditions=Conditions(bandwidth_bytes_per_second=1000, latency_seconds=0)) as rig:
        stream, handler = await rig.linked()
        with rig.network.slow("app", "a", bandwidth_bytes_per_second=1e9):
            began = trio.current_time()
            await stream.send_all(bytes(1000))
            await trio.sleep(10)
            assert handler.chunks[-1][0] == near(began + 1)
            with rig.network.slow("app", "a", bandwidth_bytes_per_second=100):
                began = trio.current_time()
                await stream.send_all(bytes(1000))
                await trio.sleep(20)
                assert handler.chunks[-1][0] == near(began + 10)


# Chop


async def test_chop_splits_and_merges(autojump_clock: MockClock) -> None:
    """Pieces of 1 to bytes_max bytes that do not end where writes do, with all bytes in order, within milliseconds."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.chop("app", "a", bytes_max=7):
            began = trio.current_time()
            for number in range(200):
                await stream.send_all(bytes([number]) * 5)
            await trio.sleep(1)
        assert bytes(handler.data) == b"".join(bytes([number]) * 5 for number in range(200))
        assert {len(data) for _, data in handler.chunks} == set(range(1, 8))
        assert any(len(set(data)) == 2 for _, data in handler.chunks)
        assert handler.chunks[-1][0] < began + 0.05
        await stream.send_all(bytes(1000))
        await trio.sleep(1)
        assert len(handler.chunks[-1][1]) == 1000


# Ends


async def test_slow_close_delays_fins(autojump_clock: MockClock) -> None:
    """Of what is sent nothing else is late; several add up."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.slow_close("app", "a", 3), rig.network.slow_close("app", "a", 4):
            began = trio.current_time()
            await stream.send_all(b"last words")
            await stream.aclose()
        await trio.sleep(100)
        assert handler.chunks == [(near(began + LATENCY), b"last words")]
        assert handler.told == [(near(began + LATENCY + 7), "ended")]


async def test_reset_breaks_every_connection_between_two_hosts(autojump_clock: MockClock) -> None:
    """Both ends see it at once; other hosts' connections stay."""
    async with running() as rig:
        one, mine = await rig.linked()
        other, theirs = await rig.linked("b")
        await one.send_all(b"under way")
        at = trio.current_time()
        rig.network.reset("a", "app")
        with pytest.raises(trio.BrokenResourceError):
            await one.receive_some()
        await wait_all_tasks_blocked()
        assert mine.told == [(at, "connection reset by peer")]
        assert mine.chunks == []
        theirs.link.write(b"here")
        assert await other.receive_some() == b"here"
        assert [link.target for link in rig.network.links()] == ["b"]


# Hosts


async def test_refuse_and_no_dns_are_about_new_connections(autojump_clock: MockClock) -> None:
    """Those that exist stay; the address works where the name does not."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.refuse("a"), pytest.raises(ConnectionRefusedError):
            await rig.connect()
        with rig.network.no_dns("a"):
            with pytest.raises(socket.gaierror):
                await rig.connect()
            await rig.network.connect("app", "10.0.0.2", PORT)
            handler.link.write(b"here")
            assert await stream.receive_some() == b"here"
        await rig.connect()


async def test_a_host_without_power_is_half_open(autojump_clock: MockClock) -> None:
    """Nobody is told; while it is off it is a black hole, and later it answers with resets."""
    async with running() as rig:
        stream, handler = await rig.linked()
        idle = await rig.connect()
        await trio.sleep(1)
        off = rig.network.power_off("a")
        off.start()
        await trio.sleep(0.1)
        assert [what for _, what in handler.told] == ["its host lost power"]
        assert handler.link.write(b"x") == 0
        began = trio.current_time()
        await stream.send_all(b"anybody?")
        with trio.move_on_after(5) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        with trio.move_on_after(5) as scope:
            await rig.connect()
        assert scope.cancelled_caught
        off.stop()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert trio.current_time() == near(began + 12.6 + 2 * LATENCY)
        with trio.move_on_after(5_000) as scope:
            await idle.receive_some()
        assert scope.cancelled_caught
        await rig.connect()
        assert [link.state for link in rig.network.links()] == ["half-open", "open"]


async def test_the_tasks_of_a_host_without_power_see_their_streams_broken(autojump_clock: MockClock) -> None:
    """At once; and the other end is half-open."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.power_off("app"):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            await trio.sleep(1)
        assert handler.told == []


# All faults


def _faults(network: Network) -> dict[str, NetworkFault]:
    return {
        "partition": network.partition("app", "a"),
        "black_hole": network.black_hole("app", "a"),
        "hold": network.hold("app", "a"),
        "slow": network.slow("app", "a", latency_seconds=1, jitter_seconds=1, bandwidth_bytes_per_second=10),
        "chop": network.chop("app", "a", bytes_max=1),
        "refuse": network.refuse("a"),
        "no_dns": network.no_dns("a"),
        "slow_close": network.slow_close("app", "a", 1),
        "power_off": network.power_off("a"),
    }


_KINDS = list(_faults(Rig().network))


async def _check_healthy(rig: Rig, stream: SimulatedStream | None) -> None:
    """Whatever was wrong is right again: times, pieces, dials, ends."""
    began = trio.current_time()
    streams = [await rig.connect()]
    assert trio.current_time() == near(began + 2 * LATENCY)
    if stream is not None:
        streams.append(stream)
    for each in streams:
        began = trio.current_time()
        await each.send_all(bytes(1000))
        assert len(await each.receive_some()) == 1000
        assert trio.current_time() == near(began + 2 * LATENCY)
        each.close()
        await trio.sleep(2 * LATENCY)
        assert rig.network.connection(each.number).state == "closing"


@pytest.mark.parametrize("kind", _KINDS)
async def test_each_fault_is_undone(autojump_clock: MockClock, kind: str) -> None:
    """At the end of the context, also by an error, and with start() and stop(), each of which may be called twice."""
    async with running() as rig:
        stream, _ = await rig.linked(echoes=True)
        fault = _faults(rig.network)[kind]
        survivor = None if kind == "power_off" else stream
        with pytest.raises(LookupError), fault:
            assert fault.on
            await trio.sleep(1)
            raise LookupError
        fault.start()
        fault.start()
        assert fault.on
        await trio.sleep(1)
        fault.stop()
        fault.stop()
        assert not fault.on
        await _check_healthy(rig, survivor)
        what = [fields["on"] for _, _, kind_, fields in rig.trace.entries if kind_ == "fault"]
        assert what == [True, False] * 2


@pytest.mark.parametrize("kind", _KINDS)
async def test_overlapping_faults_are_undone_alone(autojump_clock: MockClock, kind: str) -> None:
    """Of two of one kind the second lasts when the first is over; with all others on top everything is undone too."""
    async with running() as rig:
        await rig.linked(echoes=True)
        first, second = _faults(rig.network)[kind], _faults(rig.network)[kind]
        state = _state(rig)
        first.start()
        alone = _state(rig)
        assert kind == "slow_close" or alone != state
        second.start()
        first.stop()
        assert _state(rig) == alone
        for other in _faults(rig.network).values():
            with other:
                pass
        assert _state(rig) == alone
        others = list(_faults(rig.network).values())
        for other in others:
            other.start()
        second.stop()
        for other in others:
            other.stop()
        assert _state(rig) == state
        await _check_healthy(rig, None)


def _state(rig: Rig) -> list[object]:
    """All that a fault may change."""
    network = rig.network
    host = network.host("a")
    ways = [network.path(network.host(a), network.host(b)) for a, b in (("app", "a"), ("a", "app"))]
    figures = [
        (way.lost, way.held, way.latency, way.jitter, way.bandwidth, way.chunk_max, way.close_delay) for way in ways
    ]
    return [*figures, host.refusing, host.unresolved, host.powered_off]


@pytest.mark.parametrize(
    "make",
    [
        lambda network: network.partition("app", "app"),
        lambda network: network.black_hole(["a"], ["a"]),
        lambda network: network.chop("app", "a", bytes_max=0),
        lambda network: network.slow("app", "a", latency_seconds=-1),
        lambda network: network.slow_close("app", "a", -1),
    ],
)
def test_faults_that_cannot_be_are_errors(make: Callable[[Network], NetworkFault]) -> None:
    """Of no way at all, or with impossible figures: a ValueError at once."""
    with pytest.raises(ValueError):
        make(Rig().network)


async def test_faults_of_many_hosts(autojump_clock: MockClock) -> None:
    """Sequences of hosts mean each with each, and nobody with himself."""
    async with running() as rig:
        for host in ("a", "b"):
            rig.machine(host)
        with rig.network.partition(["app", "a"], ["a", "b"]):
            for source, target in (("app", "a"), ("a", "b"), ("app", "b"), ("b", "a")):
                with trio.move_on_after(10) as scope:
                    await rig.network.connect(source, target, PORT)
                assert scope.cancelled_caught
            await rig.network.connect("a", "a", PORT)
