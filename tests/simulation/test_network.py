"""The network: dialling, listening, delivery, records, and the seam."""

from __future__ import annotations

import errno
import random
import socket
import ssl

import pytest
import trio
import trustme
from trio.testing import MockClock

from beamline_trio.simulation._network import Conditions, SimulatedStream
from beamline_trio.transport import (
    ConnectError,
    Environment,
    NameResolutionError,
    ServerUnreachableError,
    TLSError,
    parse_address,
)

from ._network_rig import LATENCY, PORT, near, running

RTT = near(2 * LATENCY)


# Dialling


async def test_a_dial_takes_a_round_trip(autojump_clock: MockClock) -> None:
    """Connected after one round trip; the target knows half a round trip later."""
    async with running() as rig:
        machine = rig.machine()
        await rig.connect()
        assert trio.current_time() == RTT
        await trio.sleep(1)
        assert machine.accepted_at == [near(3 * LATENCY)]


async def test_a_dial_to_nobody_is_refused(autojump_clock: MockClock) -> None:
    """Where nobody listens, or nobody any more, the answer comes after one round trip."""
    async with running() as rig:
        with pytest.raises(ConnectionRefusedError) as refused:
            await rig.connect()
        assert refused.value.errno == errno.ECONNREFUSED
        assert trio.current_time() == RTT
        rig.machine()
        rig.network.unlisten("a", PORT)
        with pytest.raises(ConnectionRefusedError):
            await rig.connect()


async def test_a_listener_that_goes_during_the_handshake_resets(autojump_clock: MockClock) -> None:
    """Who dialled is connected for a moment, and then reset; the machine never hears of it."""
    async with running() as rig:
        machine = rig.machine()
        stream = await rig.connect()
        rig.network.unlisten("a", PORT)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        assert trio.current_time() == near(4 * LATENCY)
        assert not machine.accepted_at


async def test_unknown_names_do_not_resolve(autojump_clock: MockClock) -> None:
    """A name that no host has is the resolver's error; time passes before it."""
    async with running() as rig:
        with pytest.raises(socket.gaierror) as unknown:
            await rig.network.connect("app", "nowhere", PORT)
        assert unknown.value.errno == socket.EAI_NONAME
        assert trio.current_time() > 0


async def test_hosts_have_names_and_addresses(autojump_clock: MockClock) -> None:
    """A host is reached by both; adding it again changes nothing."""
    async with running() as rig:
        host = rig.network.add_host("a")
        assert rig.network.add_host("a") is host
        assert host.address == "10.0.0.2"
        machine = rig.machine()
        await rig.network.connect("app", "10.0.0.2", PORT)
        await trio.sleep(1)
        link = machine.handlers[0].link
        assert (link.local_host, link.local_address, link.local_port) == ("a", "10.0.0.2", PORT)
        assert (link.remote_host, link.remote_address, link.remote_port) == ("app", "10.0.0.1", 32_768)
        assert rig.network.has_host("a")
        assert not rig.network.has_host("c")
        with pytest.raises(LookupError, match=r"no host 'c' \(it has app, a, b\)"):
            rig.network.partition("app", "c")


async def test_only_one_listens_on_a_port(autojump_clock: MockClock) -> None:
    """A second listener is an error, as with a kernel."""
    async with running() as rig:
        rig.machine()
        with pytest.raises(OSError, match="listens on a:4222 already"):
            rig.machine()


async def test_a_cancelled_dial_leaves_nothing(autojump_clock: MockClock) -> None:
    """At whatever moment it is cancelled, there is no connection, and the machine hears of none."""
    async with running() as rig:
        machine = rig.machine()
        for seconds in (0, LATENCY / 2, LATENCY, 1.9 * LATENCY):
            with trio.move_on_after(seconds) as scope:
                await rig.connect()
            assert scope.cancelled_caught
        await trio.sleep(200)
        assert rig.network.count == 0
        assert not machine.accepted_at
        assert [dial.reason for dial in rig.network.dials()["app"]] == ["cancelled"] * 4


async def test_dials_are_on_record(autojump_clock: MockClock) -> None:
    """Per host, in order: when, until when, and what became of them."""
    async with running() as rig:
        calls: list[None] = []
        rig.network.first_connection = lambda: calls.append(None)
        with pytest.raises(ConnectionRefusedError):
            await rig.connect()
        assert not calls
        rig.machine()
        await rig.connect()
        await rig.connect()
        assert len(calls) == 1
        first, second, _ = rig.network.dials()["app"]
        assert (first.at, first.ended_at, first.succeeded, first.reason) == (0, RTT, False, "Connection refused")
        assert (second.at, second.succeeded, second.number, second.host) == (RTT, True, 1, "a")


# Delivery


async def test_bytes_take_the_latency(autojump_clock: MockClock) -> None:
    """Each way has its own; what is sent at one instant arrives as one."""
    async with running() as rig:
        rig.network.set_conditions("app", "a", Conditions(latency_seconds=0.25))
        rig.network.set_conditions("a", "app", Conditions(latency_seconds=2))
        stream, handler = await rig.linked(echoes=True)
        began = trio.current_time()
        await stream.send_all(b"one ")
        await stream.send_all(b"two")
        assert await stream.receive_some() == b"one two"
        assert trio.current_time() == near(began + 2.25)
        assert handler.chunks == [(near(began + 0.25), b"one two")]


async def test_conditions_hold_for_what_is_sent_from_now_on(autojump_clock: MockClock) -> None:
    """The default is for every way that has none of its own; nothing overtakes."""
    async with running() as rig:
        stream, handler = await rig.linked()
        began = trio.current_time()
        rig.network.set_conditions("a", "app", Conditions(latency_seconds=7))
        rig.network.conditions = Conditions(latency_seconds=3)
        await stream.send_all(b"slow")
        rig.network.conditions = Conditions(latency_seconds=1)
        await stream.send_all(b"fast")
        await trio.sleep(10)
        await stream.send_all(b"late")
        await trio.sleep(10)
        assert handler.chunks == [(began + 3, b"slowfast"), (began + 11, b"late")]
        assert rig.network.conditions.latency_seconds == 1
        at = trio.current_time()
        handler.link.write(b"back")
        await stream.receive_some()
        assert trio.current_time() == near(at + 7)


async def test_bandwidth_bounds_each_connection(autojump_clock: MockClock) -> None:
    """A pipe is busy for bytes / bandwidth; bytes trickle in pieces, and the window fills meanwhile."""
    conditions = Conditions(latency_seconds=1, bandwidth_bytes_per_second=10_000, window_bytes=20_000)
    async with running(conditions=conditions) as rig:
        stream, handler = await rig.linked()
        began = trio.current_time()
        await stream.send_all(bytes(50_000))
        # All but the last 20,000 bytes have arrived when these are taken.
        assert trio.current_time() - began == pytest.approx(4, abs=0.15)
        await trio.sleep(20)
        assert handler.chunks[0][0] == near(began + 1.146)
        assert handler.chunks[-1][0] - began == pytest.approx(6, abs=0.8)
        assert max(len(data) for _, data in handler.chunks) == 1460


async def test_a_larger_window_lets_the_sender_go_on(autojump_clock: MockClock) -> None:
    """Whoever waits for room is woken when the conditions give more of it."""
    async with running(conditions=Conditions(window_bytes=1000)) as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(1500))
            await trio.sleep(1)
            assert stream.sent == 1000
            rig.network.conditions = Conditions(window_bytes=2000)
        assert stream.sent == 1500


# Records


async def test_connections_stay_on_record(autojump_clock: MockClock) -> None:
    """What each side sent and read, and how and when it ended, is known also when it is over."""
    async with running() as rig:
        taps: list[tuple[int, bytes]] = []
        rig.network.tap = lambda number, data: taps.append((number, data))
        stream, handler = await rig.linked(echoes=True)
        await stream.send_all(b"12345")
        assert await stream.receive_some(2) == b"12"
        record = rig.network.links()[0]
        assert (record.number, record.source, record.target) == (1, "app", "a")
        assert (record.sent, record.delivered, record.returned, record.received) == (5, 5, 5, 2)
        assert (record.state, record.ended_at, record.told_at, record.left_at) == ("open", None, None, None)
        assert (stream.number, stream.sent, stream.received) == (1, 5, 2)
        assert await stream.receive_some() == b"345"
        await trio.sleep(1)
        at = trio.current_time()
        handler.link.close()
        await trio.sleep(1)
        record = rig.network.connection(1)
        told = near(at + LATENCY)
        assert (record.state, record.how, record.ended_at) == ("closing", "closed", at)
        assert (record.told_at, record.left_at) == (told, None)
        await stream.aclose()
        await trio.sleep(1)
        record = rig.network.connection(1)
        assert (record.state, record.received, record.ended_at, record.left_at) == ("over", 5, at, at + 1)
        assert rig.network.links() == []
        assert rig.network.connections() == (record,)
        assert taps == [(1, b"12345")]
        with pytest.raises(LookupError, match="no connection 2"):
            rig.network.connection(2)


async def test_a_connection_exists_until_both_ends_are_told(autojump_clock: MockClock) -> None:
    """Closed by both, it is over when the last FIN has arrived."""
    async with running() as rig:
        stream, handler = await rig.linked()
        with rig.network.slow_close("app", "a", 5):
            stream.close()
        handler.link.close()
        await trio.sleep(4)
        assert [link.state for link in rig.network.links()] == ["closing"]
        await trio.sleep(2)
        assert rig.network.links() == []


async def test_the_trace_says_what_happened_where(autojump_clock: MockClock) -> None:
    """Dials, writes, arrivals and ends, each at its host and time."""
    async with running() as rig:
        stream, _ = await rig.linked()
        await stream.send_all(b"12345")
        await stream.aclose()
        await trio.sleep(1)
        with pytest.raises(ConnectionRefusedError):
            await rig.connect("b")
        for _, _, _, fields in rig.trace.entries:
            fields.pop("crc", None)
        assert rig.trace.entries[:5] == [
            (0, "app", "dial", {"to": "a", "port": PORT}),
            (1000, "app", "dialled", {"link": 1}),
            (1500, "app", "write", {"link": 1, "size": 5}),
            (1500, "app", "fin", {"link": 1}),
            (2000, "a", "arrive", {"link": 1, "size": 5}),
        ]
        assert rig.trace.entries[-1][1:] == ("app", "dial_failed", {"to": "b", "reason": "Connection refused"})


# The seam


async def test_the_dialer_gives_streams_and_the_errors_of_tcp(autojump_clock: MockClock) -> None:
    """Over the simulated network the seam behaves as TCPDialer does; leaving the context closes at once."""
    async with running() as rig:
        environment = Environment(random=random.Random(1), wall_clock=lambda: 42.0)
        dialer = rig.network.dialer("client", environment)
        assert dialer.environment is environment
        machine = rig.machine()
        async with dialer.open(parse_address("nats://a:4222")) as stream:
            assert isinstance(stream, SimulatedStream)
            await stream.send_all(b"x")
        await trio.sleep(1)
        assert [what for _, what in machine.handlers[0].told] == ["ended"]
        with pytest.raises(ServerUnreachableError, match=r"cannot connect to nats://b:4222: .*Connection refused"):
            await _open(dialer, "nats://b")
        with pytest.raises(NameResolutionError, match="cannot resolve 'nowhere' of nats://nowhere:4222"):
            await _open(dialer, "nats://nowhere")


async def _open(dialer: object, url: str) -> None:
    async with dialer.open(parse_address(url)):  # type: ignore[attr-defined]
        raise AssertionError("connected")


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_real_and_in_band(autojump_clock: MockClock, trusted: bool) -> None:
    """start_tls runs TLS over the simulated stream, with the checks of the real one."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("a").configure_cert(server)
    if trusted:
        authority.configure_trust(client)
    async with running() as rig, trio.open_nursery() as nursery:

        async def serve(stream: SimulatedStream) -> None:
            secured = trio.SSLStream(stream, server, server_side=True, https_compatible=True)
            try:
                await secured.send_all((await secured.receive_some()).upper())
            except trio.BrokenResourceError:
                assert not trusted

        rig.network.listen_streams("a", PORT, lambda stream: nursery.start_soon(serve, stream))
        dialer = rig.network.dialer("app", Environment(), ssl_context=client)
        async with dialer.open(parse_address("tls://a")) as stream:
            if trusted:
                secured = await dialer.start_tls(stream, "a")
                await secured.send_all(b"hello")
                assert await secured.receive_some() == b"HELLO"
            else:
                with pytest.raises(TLSError, match="certificate") as failed:
                    await dialer.start_tls(stream, "a")
                assert isinstance(failed.value, ConnectError)
