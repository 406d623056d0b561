"""The network: dialling, listening, machines and their links, windows, records."""

from __future__ import annotations

import errno
import random
import socket
import ssl

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from beamline_trio.simulation._network import Conditions, SimulatedStream
from beamline_trio.transport import (
    ConnectError,
    Environment,
    NameResolutionError,
    ServerUnreachableError,
    TLSError,
    parse_address,
)

from ._network_rig import LATENCY, PORT, Handler, Machine, running

WINDOW = 262_144
RTT = pytest.approx(2 * LATENCY, abs=1e-9)


# Dialling


async def test_a_dial_takes_a_round_trip(autojump_clock: MockClock) -> None:
    """Connected after one round trip; the target knows half a round trip later."""
    async with running() as rig:
        machine = rig.machine()
        await rig.connect()
        assert trio.current_time() == RTT
        await trio.sleep(1)
        assert machine.accepted_at == [pytest.approx(3 * LATENCY)]


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
        assert trio.current_time() == pytest.approx(4 * LATENCY)
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


# Machines


async def test_a_machine_that_accepts_nobody_hangs_up(autojump_clock: MockClock) -> None:
    """None from accept() closes the link at once."""
    async with running() as rig:
        rig.network.listen("a", PORT, Machine(accepts=False))
        stream = await rig.connect()
        assert await stream.receive_some() == b""
        assert rig.network.links()[0].state == "closing"


async def test_machines_get_bytes_ends_and_resets(autojump_clock: MockClock) -> None:
    """In order and at their times: what was sent, then the end of the stream, or the break of the link."""
    async with running() as rig:
        machine = rig.machine()
        one, other = await rig.connect(), await rig.connect()
        await one.send_all(b"hello")
        await one.send_eof()
        await other.send_all(b"bye")
        began = trio.current_time()
        await trio.sleep(1)
        first, second = machine.handlers
        assert first.chunks == [(pytest.approx(began + LATENCY), b"hello")]
        assert first.told == [(pytest.approx(began + LATENCY), "ended")]
        rig.network.reset("a", "app")
        assert first.link.write(b"x") == 0
        await trio.sleep(1)
        assert second.told == [(began + 1, "connection reset by peer")]
        assert first.told[1:] == [(began + 1, "connection reset by peer")]
        assert rig.network.links() == []


async def test_a_closed_link_tells_its_machine_nothing_more(autojump_clock: MockClock) -> None:
    """After close() and reset() the handler is not called again, whatever comes in."""
    async with running() as rig:
        machine = rig.machine()
        streams = [await rig.connect(), await rig.connect()]
        await trio.sleep(1)
        machine.handlers[0].link.close()
        machine.handlers[1].link.reset()
        for stream in streams:
            await stream.send_all(b"x")
        await trio.sleep(1)
        for handler, stream in zip(machine.handlers, streams, strict=True):
            assert (handler.chunks, handler.told) == ([], [])
            assert handler.link.write(b"x") == 0
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_a_handler_may_close_its_link_while_it_is_called(autojump_clock: MockClock) -> None:
    """What is due behind the bytes is not told to a handler that has hung up on them."""

    class HangsUp(Handler):
        def received(self, data: bytes) -> None:
            self.link.write(b"-ERR")
            self.link.close()

    class Rude(Machine):
        def accept(self, link: object) -> Handler:
            super().accept(link)  # type: ignore[arg-type]
            self.handlers[-1] = HangsUp(self.handlers[-1].link)
            return self.handlers[-1]

    async with running() as rig:
        machine = Rude()
        rig.network.listen("a", PORT, machine)
        stream = await rig.connect()
        await stream.send_all(b"hello")
        await stream.send_eof()
        assert await stream.receive_some() == b"-ERR"
        assert await stream.receive_some() == b""
        assert machine.handlers[0].told == []
        assert rig.network.links() == []


async def test_write_takes_what_the_window_has_room_for(autojump_clock: MockClock) -> None:
    """write() returns how much that was; writable() comes when somebody has read; close() is behind all of it."""
    async with running() as rig:
        stream, handler = await rig.linked()
        assert handler.link.write(bytes(WINDOW - 10)) == WINDOW - 10
        assert handler.link.write(bytes(100)) == 10
        assert handler.link.write(bytes(100)) == 0
        assert handler.link.written == WINDOW
        await trio.sleep(1)
        assert handler.told == []
        at = trio.current_time()
        assert len(await stream.receive_some(50)) == 50
        await wait_all_tasks_blocked()
        assert handler.told == [(at, "writable")]
        assert handler.link.write(bytes(100)) == 50
        handler.link.close()
        total = 50
        while data := await stream.receive_some():
            total += len(data)
        assert total == WINDOW + 50


async def test_a_machine_that_reads_nothing_stops_its_peer(autojump_clock: MockClock) -> None:
    """While reading is paused the window fills and send_all waits; resumed, everything comes, also the end."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        with trio.move_on_after(10):
            await stream.send_all(bytes(WINDOW + 1000))
        assert stream.sent == WINDOW
        assert handler.chunks == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(1000))
            await wait_all_tasks_blocked()
            at = trio.current_time()
            handler.link.resume_reading()
        await stream.send_eof()
        await trio.sleep(1)
        assert [(at_, len(data)) for at_, data in handler.chunks] == [(at, WINDOW), (pytest.approx(at + LATENCY), 1000)]
        assert [what for _, what in handler.told] == ["ended"]


async def test_a_paused_machine_hears_of_the_end_when_it_has_read_what_came_before(autojump_clock: MockClock) -> None:
    """The FIN waits behind the bytes, and is told once."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        await stream.send_all(b"first")
        await stream.aclose()
        await trio.sleep(1)
        assert handler.told == []
        for _ in range(2):
            handler.link.resume_reading()
            await trio.sleep(1)
            handler.link.pause_reading()
        assert bytes(handler.data) == b"first"
        assert [what for _, what in handler.told] == ["ended"]


async def test_closing_a_paused_link_with_unread_bytes_resets(autojump_clock: MockClock) -> None:
    """As with a kernel: a killed process that had not read everything resets its peer."""
    async with running() as rig:
        stream, handler = await rig.linked()
        handler.link.pause_reading()
        await stream.send_all(b"unread")
        await trio.sleep(1)
        handler.link.write(b"never read")
        handler.link.close()
        assert await stream.receive_some() == b"never read"
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_machines_dial_machines(autojump_clock: MockClock) -> None:
    """open_link calls back with a link, or with the reason why there is none."""
    async with running() as rig:
        machine = rig.machine(echoes=True)
        opened, failures = Machine(), list[str]()
        rig.network.open_link("b", "a", PORT, opened.accept, failures.append)
        rig.network.open_link("b", "a", 1, opened.accept, failures.append)
        rig.network.open_link("b", "nowhere", 1, opened.accept, failures.append)
        await trio.sleep(1)
        assert sorted(failures) == ["Connection refused", "Name or service not known"]
        assert opened.accepted_at == [RTT]
        handler = opened.handlers[0]
        assert (handler.link.remote_host, handler.link.remote_port) == ("a", PORT)
        handler.link.write(b"ping")
        await trio.sleep(1)
        assert bytes(handler.data) == bytes(machine.handlers[0].data) == b"ping"


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
        assert trio.current_time() == pytest.approx(began + 2.25)
        assert handler.chunks == [(pytest.approx(began + 0.25), b"one two")]


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
        assert handler.chunks[0][0] == pytest.approx(began + 1.146)
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
        told = pytest.approx(at + LATENCY)
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
