"""One link: the handshake, a reader that nothing kills but the end of its link, the keep-alive PING."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import (
    CallbackFailed,
    Client,
    Connected,
    ConnectionLostError,
    ConnectTimeoutError,
    Disconnected,
    LameDuck,
    Message,
    MessageSkipped,
    Reconnected,
    ServerErrorReceived,
    State,
    open_client,
)
from tests._memory import MemoryDialer, MemoryStream, Steps, ToyServer, message_frame, opened

# The handshake


@pytest.mark.parametrize("chunks", [1, 2, 4, 50, 1_000])
async def test_info_may_come_in_any_number_of_chunks(chunks: int, autojump_clock: MockClock) -> None:
    """The handshake waits for the whole INFO."""
    server = ToyServer(cluster="x" * 2_000)
    server.info_chunks = chunks
    async with opened(server) as nc:
        assert nc.server_info.cluster == "x" * 2_000
        await nc.publish("a", b"x", confirm=True)


async def test_connect_and_ping_go_out_in_one_write(autojump_clock: MockClock) -> None:
    """CONNECT first, PING behind it, nothing else before the PONG; the second INFO is taken in."""
    server = ToyServer()
    async with opened(server, name="orders", echo=False) as nc:
        assert [operation.verb for operation in server.record] == ["CONNECT", "PING"]
        await trio.testing.wait_all_tasks_blocked()
        assert nc.server_info.connect_info
    about = server.links[0].about
    assert (about["name"], about["echo"], about["lang"], about["verbose"]) == ("orders", False, "python-trio", False)


async def test_what_comes_with_the_handshakes_pong_is_not_lost(autojump_clock: MockClock) -> None:
    """A PING in the same chunk as the PONG of the handshake is answered, an INFO is taken in."""
    server = ToyServer()
    server.pongs_held = True
    async with trio.open_nursery() as nursery:

        async def connect() -> None:
            async with opened(server) as nc:
                assert nc.server_info.max_payload == 77
                await trio.testing.wait_all_tasks_blocked()
                assert server.pongs == 1

        nursery.start_soon(connect)
        await trio.testing.wait_all_tasks_blocked()
        server.pongs_held = False
        server.link.pongs_owed = 0
        server.send(b"PONG\r\n" + server.info(max_payload=77) + b"PING\r\n")


@pytest.mark.parametrize("late", [-0.001, 0.0, 0.001])
async def test_the_connect_timeout_is_all_or_nothing(late: float, autojump_clock: MockClock) -> None:
    """A PONG right at connect_timeout_seconds: connected, or a ConnectTimeoutError; never half of both."""
    server = ToyServer()
    server.pongs_held = True
    dialer = MemoryDialer(server)
    result: list[str] = []

    async def connect() -> None:
        try:
            async with open_client(server.url, dialer=dialer) as nc:
                await nc.publish("a", b"x", confirm=True)
                await trio.sleep(60)
                result.append("connected")
        except ConnectTimeoutError:
            result.append("timeout")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        await trio.sleep(1)
        server.release_pongs()
        autojump_clock.jump(4 + late)  # the deadline strikes before the client has run with the PONG
    assert result == ["connected"] or (result == ["timeout"] and late >= 0)
    assert dialer.open_streams == 0
    assert len(dialer.dialled) == 1


async def test_a_stream_may_give_any_bytes_like(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trio.abc.ReceiveStream` may give a bytearray: messages are bytes all the same."""
    receive = MemoryStream.receive_some

    async def receive_bytearray(self: MemoryStream, max_bytes: int | None = None) -> Any:
        return bytearray(await receive(self, max_bytes))

    monkeypatch.setattr(MemoryStream, "receive_some", receive_bytearray)
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for _ in range(3):
            server.publish("a", b"x")
        for _ in range(3):
            assert type((await sub.receive()).payload) is bytes


# The reader survives


async def still_alive(nc: Client, server: ToyServer) -> None:
    """The link is the first one, and messages and PONGs come."""
    async with nc.subscribe("alive") as sub:
        await sub.confirmed()
        server.publish("alive", b"yes")
        assert (await sub.receive()).payload == b"yes"
    assert (nc.state, nc.stats().established, nc.stats().lost) == (State.CONNECTED, 1, 0)


async def test_raising_callbacks(autojump_clock: MockClock) -> None:
    """Each exception of a callback is counted and told by an event; the message counts as delivered."""
    server = ToyServer()
    seen: list[bytes] = []

    def callback(message: Message) -> None:
        seen.append(message.payload)
        raise (ValueError, RecursionError, trio.EndOfChannel, AssertionError)[len(seen) % 4]("mine")

    async with opened(server) as nc, nc.events() as events, nc.subscribe("a", callback=callback) as sub:
        await sub.confirmed()
        for number in range(100):
            server.publish("a", b"%d" % number)
        await still_alive(nc, server)
        assert seen == [b"%d" % number for number in range(100)]
        assert (sub.delivered, nc.stats().callback_errors) == (100, 100)
        event = await events.receive()
        assert isinstance(event, CallbackFailed)
        assert (event.subject, event.error) == ("a", "RecursionError: mine")


async def test_callbacks_that_use_the_client(autojump_clock: MockClock) -> None:
    """In the reader's own step a callback may publish, ask for the books, and leave its own subscription."""
    server = ToyServer()
    seen: list[bytes] = []

    async with opened(server) as nc:

        def callback(message: Message) -> None:
            seen.append(message.payload)
            nc.publish_nowait("echo", message.payload)
            assert nc.ledger().balanced
            if len(seen) == 3:
                sub.close()

        async with nc.subscribe("a", callback=callback) as sub:
            await sub.confirmed()
            for number in range(10):
                server.publish("a", b"%d" % number)
            await still_alive(nc, server)
        assert seen == [b"0", b"1", b"2"]
        await nc.flush()
        assert server.payloads == [b"0", b"1", b"2"]


async def test_event_consumers_that_never_read(autojump_clock: MockClock) -> None:
    """They lose their oldest events, which is counted, and hold up nobody."""
    server = ToyServer()
    async with opened(server, events_pending_max=10) as nc, nc.events() as idle, nc.events() as reader:
        for number in range(100):
            server.send(b"-ERR 'number %d'\r\n" % number)
            await reader.receive()
        await still_alive(nc, server)
        assert (idle.dropped, reader.dropped, nc.stats().events_dropped) == (90, 0, 90)
        event = await idle.receive()
        assert isinstance(event, ServerErrorReceived)
        assert event.error.text == "number 90"


MALFORMED = [
    b"",
    b"NATS/1.0",
    b"NATS/1.0\r\n",
    b"NATS/2.0\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"\x00\xff\r\n\r\n",
]


async def test_malformed_header_blocks_cost_their_message_only(autojump_clock: MockClock) -> None:
    """They are counted and told; the messages around them arrive."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events, nc.subscribe("a") as sub:
        await sub.confirmed()
        for block in MALFORMED:
            server.publish("a", b"before", header=b"NATS/1.0\r\nA: b\r\n\r\n")
            server.publish("a", b"payload", header=block)
            server.publish("a", b"behind")
        for _ in MALFORMED:
            assert (await sub.receive()).headers["A"] == "b"
            assert (await sub.receive()).payload == b"behind"
            event = await events.receive()
            assert isinstance(event, MessageSkipped)
            assert event.subject == "a"
        await still_alive(nc, server)
        assert nc.stats().malformed == len(MALFORMED)


async def test_subjects_that_are_not_utf_8(autojump_clock: MockClock) -> None:
    """They arrive with surrogate escapes; a response goes to the very bytes of the reply subject."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a.*") as sub:
        await sub.confirmed()
        server.publish(b"a.\xff\xfe", b"x", reply=b"r.\xff", header=b"NATS/1.0\r\nA: \xff\r\n\r\n")
        message = await sub.receive()
        assert (message.subject, message.subject_bytes) == ("a.\udcff\udcfe", b"a.\xff\xfe")
        assert (message.reply, message.headers["A"]) == ("r.\udcff", "\udcff")
        repr(message)
        await message.respond(b"y")
        await still_alive(nc, server)
    assert server.record[-2].args == (b"r.\xff", b"1") or (b"r.\xff", b"1") in [one.args for one in server.record]


async def test_a_message_that_looks_like_503_is_a_message(autojump_clock: MockClock) -> None:
    """On an ordinary subscription a status is delivered with its headers, not raised."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        server.publish("a", b"", header=b"NATS/1.0 503\r\n\r\n")
        server.publish("a", b"", header=b"NATS/1.0 404 No Messages\r\nA: b\r\n\r\n")
        assert (await sub.receive()).headers.status == 503
        message = await sub.receive()
        assert (message.headers.status, message.headers.description) == (404, "No Messages")
        await still_alive(nc, server)


@pytest.mark.parametrize(
    "text",
    ["'Something New'", "no quotes", "''", "", "'\udcff'", "'Permissions Violation'", "'Permissions Violation for X'"],
)
async def test_unknown_errors_are_told_and_survived(text: str, autojump_clock: MockClock) -> None:
    """An -ERR that is not in the catalogue is an event; the server's own hanging up decides about the link."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        server.send(b"-ERR %b\r\n" % text.encode("utf-8", "surrogateescape"))
        event = await events.receive()
        assert isinstance(event, ServerErrorReceived)
        await still_alive(nc, server)
        assert nc.stats().server_errors == 1


async def test_the_servers_error_is_the_reason_when_it_hangs_up(autojump_clock: MockClock) -> None:
    """An error that closes is in Disconnected, not only the end of the stream."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        server.link.refuse("Stale Connection")
        while not isinstance(event := await events.receive(), Disconnected):
            pass
        assert "Stale Connection" in event.reason


async def test_an_old_error_is_no_reason(autojump_clock: MockClock) -> None:
    """An error that did not close, and was long ago, is not blamed for the end of the link."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        server.send(b"-ERR 'Something New'\r\n")
        await trio.sleep(60)
        server.drop()
        while not isinstance(event := await events.receive(), Disconnected):
            pass
        assert "Something New" not in event.reason


async def test_the_servers_error_is_the_reason_when_a_write_fails_first(autojump_clock: MockClock) -> None:
    """The writer may find the link broken before the reader has read why: it leaves it a moment."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        server.link.alive = False  # writes fail, and nothing was read yet
        await nc.publish("a", b"x")
        await trio.sleep(0.01)
        server.link.outgoing.put_data(b"-ERR 'Maximum Payload Violation'\r\n")
        server.link.outgoing.put_eof()
        while not isinstance(event := await events.receive(), Disconnected):
            pass
        assert "Maximum Payload Violation" in event.reason
        server.links[-1].alive = False
        await trio.sleep(5)
        await nc.publish("a", b"x", confirm=True)


async def test_a_flood_of_pings_is_bounded(autojump_clock: MockClock) -> None:
    """10,000 PINGs into a client whose server reads nothing: one PONG waits, and it is answered when it reads."""
    server = ToyServer()
    async with opened(server, ping_interval_seconds=1_000) as nc:
        server.stall()
        server.send(b"PING\r\n" * 10_000)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(100):
            server.send(b"PING\r\n" * 100)
            await trio.testing.wait_all_tasks_blocked()
        server.resume()
        await still_alive(nc, server)
    assert 1 <= server.pongs <= 10


async def test_lame_duck_is_told_once(autojump_clock: MockClock) -> None:
    """INFO with ldm is an event when it begins."""
    server = ToyServer()
    async with opened(server) as nc, nc.events() as events:
        server.send_info(ldm=True)
        server.send_info(ldm=True, max_payload=9)
        assert await events.receive() == LameDuck(server.url)
        await trio.testing.wait_all_tasks_blocked()
        assert nc.server_info.max_payload == 9
        nc.connection.events.end()
        with pytest.raises(trio.EndOfChannel):
            await events.receive()


GARBAGE = [
    b"GARBAGE\r\n",
    b"MSG\r\n",
    b"MSG a 1\r\n",
    b"MSG a 1 -5\r\n",
    b"MSG a 1 99999999999999\r\n",
    b"MSG a 1 3\r\nabcXY",
    b"HMSG a 1 9 3\r\n",
    b"INFO {]\r\n",
    b"A" * 70_000,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:16]))
@pytest.mark.parametrize("behind", [b"", b"PING\r\n", b"MSG a 1 1\r\nx\r\n", b"PONG\r\nPONG\r\n"], ids=repr)
async def test_garbage_ends_the_link_in_the_step_that_reads_it(
    garbage: bytes, behind: bytes, autojump_clock: MockClock
) -> None:
    """There is no step in which the reader has ended and the state says connected; what came before was delivered."""
    server = ToyServer()
    sent = message_frame(b"a", b"1", b"before") + behind + garbage
    state_after: list[State] = []

    class Watch(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if nc.stats().bytes_in >= read_before + len(sent):  # this step was the reader's that read the last of it
                state_after.append(nc.state)

    async with opened(server) as nc, nc.subscribe("a") as sub, nc.events() as events:
        await sub.confirmed()
        watch = Watch()
        read_before = nc.stats().bytes_in
        trio.lowlevel.add_instrument(watch)
        server.send(sent)
        assert (await sub.receive()).payload == b"before"
        while not isinstance(event := await events.receive(), Disconnected):
            pass
        trio.lowlevel.remove_instrument(watch)
        assert "protocol" in event.reason
        assert state_after[0] is State.RECONNECTING
        while not isinstance(await events.receive(), Reconnected):
            pass
        await sub.confirmed()
        server.publish("a", b"behind")
        while (await sub.receive()).payload != b"behind":
            pass


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(GARBAGE)), max_size=8), st.booleans())
def test_no_bytes_of_a_server_end_the_client(chunks: list[bytes], reset: bool) -> None:
    """Whatever a server sends, in whatever chunks: the client is connected again at the end, and its books add up."""

    async def main() -> None:
        server = ToyServer()
        async with opened(server) as nc, nc.subscribe("a"):
            for chunk in chunks:
                await nc.publish("a", b"x")
                server.send(chunk)
                await trio.testing.wait_all_tasks_blocked()
            server.drop(reset=reset)
            await trio.sleep(60)
            await nc.publish("a", b"x", confirm=True)
            assert nc.state is State.CONNECTED

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_the_reader_yields_once_per_chunk(autojump_clock: MockClock) -> None:
    """A chunk with a thousand messages is one step of the reader; between chunks other tasks run."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        for _ in range(1_000):
            server.publish("a", b"x")
        steps = Steps()
        await sub.receive()
        assert sub.pending_messages == 999
        assert steps.count <= 10


# A lone request goes past the idle writer


@pytest.mark.parametrize("takes", [0, 1, 5, 40, 1_000_000])
async def test_a_direct_write_that_takes_part_of_it(
    takes: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """What the socket did not take goes out first, whole and in order, whatever is published meanwhile."""

    def direct_write(stream: MemoryStream) -> Callable[[bytes], int]:
        def write(data: bytes) -> int:
            if not takes:
                raise BlockingIOError
            stream.link.received(data[:takes])
            return len(data[:takes])

        return write

    monkeypatch.setattr("beamline_trio.connection._link.direct_write", direct_write)
    server = ToyServer()
    server.services[b"service"] = lambda payload: payload
    async with opened(server) as nc:
        for number in range(5):
            assert (await nc.request("service", b"%d" % number)).payload == b"%d" % number
            async with trio.open_nursery() as nursery:
                nursery.start_soon(nc.request, "service", b"x" * 50)
                nursery.start_soon(partial(nc.publish, "a", b"y", confirm=True))
                nursery.start_soon(nc.publish, "a", b"z")
        await nc.flush()
        assert (nc.ledger().accepted, nc.ledger().confirmed) == (20, 20)
        server.stall()
        with trio.move_on_after(1):
            await nc.request("service", b"written in part, or whole, when the link is lost")
        server.drop()
        server.resume()
        await trio.sleep(1)
        assert (await nc.request("service", b"behind")).payload == b"behind"
        await nc.flush()
        ledger = nc.ledger()
        assert ledger.accepted == ledger.confirmed + ledger.unknown
        for _ in range(20):  # the link is lost before the writer has come to the rest
            server.drop()
            with pytest.raises(ConnectionLostError):
                await nc.request("service", b"lost")
            await trio.sleep(6)
            await nc.flush()


# The keep-alive


async def test_a_dead_peer_shows(autojump_clock: MockClock) -> None:
    """A black hole is lost within ping_interval + pong_timeout of the last byte, not before."""
    server = ToyServer()
    async with opened(server, ping_interval_seconds=3, pong_timeout_seconds=2) as nc, nc.events() as events:
        await trio.sleep(10)
        server.publish("a", b"x")
        server.deaf = True
        began = trio.current_time()
        event = await events.receive()
        assert isinstance(event, Disconnected)
        assert "PONG" in event.reason
        assert 2 <= trio.current_time() - began <= 5
        assert nc.stats().pongs_missed == 1
        server.deaf = False
        assert isinstance(await events.receive(), Reconnected)


async def test_a_dead_peer_shows_while_publishing(autojump_clock: MockClock) -> None:
    """Publishing into a black hole, or one that does not even read, postpones nothing."""
    for stalled in (False, True):
        server = ToyServer()
        async with (
            opened(server, ping_interval_seconds=3, pong_timeout_seconds=2) as nc,
            trio.open_nursery() as nursery,
        ):

            async def publish(nc: Client = nc) -> None:
                while True:
                    await nc.publish("a", b"x" * 1_000)
                    await trio.sleep(0.01)

            nursery.start_soon(publish)
            await trio.sleep(1)
            server.deaf, server.stalled = not stalled, stalled
            began = trio.current_time()
            async with nc.events() as events:
                while not isinstance(await events.receive(), Disconnected):
                    pass
            assert trio.current_time() - began <= 5.001
            server.deaf = False
            server.resume()
            nursery.cancel_scope.cancel()


async def _publish_for_ever(nc: Client) -> None:
    while True:
        await nc.publish("a", b"x" * 1_000)
        await trio.sleep(0.01)


async def test_a_server_that_talks_and_does_not_listen(autojump_clock: MockClock) -> None:
    """What is received hides no unanswered PING: one that a flush sent shows the dead direction too."""
    server = ToyServer()
    limits: dict[str, Any] = {"ping_interval_seconds": 3, "pong_timeout_seconds": 2, "operation_timeout_seconds": None}
    async with opened(server, **limits) as nc, nc.events() as events, trio.open_nursery() as nursery:

        async def talk() -> None:
            while True:
                server.send(b"+OK\r\n")
                await trio.sleep(0.5)

        async def flush() -> None:
            with pytest.raises(ConnectionLostError):
                await nc.flush()

        server.deaf = True
        nursery.start_soon(talk)
        nursery.start_soon(flush)
        assert isinstance(await events.receive(), Disconnected)
        assert trio.current_time() <= 5.001
        server.deaf = False
        nursery.cancel_scope.cancel()


async def test_what_is_received_postpones_the_ping(autojump_clock: MockClock) -> None:
    """A link that receives something all the time, and has nothing unconfirmed, is not pinged."""
    server = ToyServer()
    async with opened(server, ping_interval_seconds=3) as nc:
        for _ in range(100):
            server.send(b"+OK\r\n")
            await trio.sleep(1)
        assert nc.stats().pings == 0
        await trio.sleep(30.5)
        assert 9 <= nc.stats().pings <= 11


async def test_unconfirmed_publishes_are_pinged_for(autojump_clock: MockClock) -> None:
    """Every interval while publishes are unconfirmed, however much is received: the books close."""
    server = ToyServer()
    async with opened(server, ping_interval_seconds=3) as nc:
        for _ in range(100):
            await nc.publish("a", b"x")
            server.send(b"+OK\r\n")
            await trio.sleep(0.1)
        assert 2 <= nc.stats().pings <= 5
        assert nc.ledger().confirmed >= 60


LOSSES: dict[str, Callable[[ToyServer], None]] = {
    "end": lambda server: server.drop(),
    "reset": lambda server: server.drop(reset=True),
    "garbage": lambda server: server.send(b"GARBAGE\r\n"),
    "silence": lambda server: None,
}


@pytest.mark.parametrize("operation_timeout_seconds", [1, 5, None])
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_keep_alive_in_flight_is_nobody_elses_to_end(
    loss: str, operation_timeout_seconds: float | None, autojump_clock: MockClock
) -> None:
    """A link lost while its PING is unanswered, also beyond the operation timeout, reconnects like any other."""
    server = ToyServer()
    timeout: Any = operation_timeout_seconds
    async with opened(server, operation_timeout_seconds=timeout, ping_interval_seconds=10) as nc, nc.events() as events:
        server.pongs_held = True
        await trio.sleep(13)
        LOSSES[loss](server)
        assert isinstance(await events.receive(), Disconnected)
        server.release_pongs()
        assert isinstance(await events.receive(), Reconnected)
        await nc.publish("a", b"x", confirm=True)


async def test_the_first_event_of_a_later_listener(autojump_clock: MockClock) -> None:
    """Events begin with the stream; Connected was before it, Closed is the last."""
    server = ToyServer()
    async with opened(server) as nc:
        events = nc.events()
        server.drop()
        await trio.sleep(1)
    seen = [type(event).__name__ async for event in events]
    assert (seen[0], seen[-1]) == ("Disconnected", "Closed")
    assert Connected.__name__ not in seen
