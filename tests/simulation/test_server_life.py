"""The life of a simulated server and of its connections: pings, slow readers, pauses, kills and the lame duck."""

from __future__ import annotations

import json

import pytest

from beamline_trio.simulation._server import ServerConfig, ServerState

from ._server_rig import FakeLink, Rig


def subscriber(rig: Rig) -> FakeLink:
    link = rig.connect()
    link.send(b"SUB a 1\r\n")
    return link


class Watcher:
    """An `Observer` that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def published(self, server: str, link: int, subject: bytes, header: bytes | None) -> None:
        self.told.append(("published", server, link, subject, header))

    def delivered(self, server: str, link: int, sid: bytes, reply: bytes, header: bytes | None, end: int) -> None:
        self.told.append(("delivered", server, link, sid, header, end))

    def stored(self, server: str, stream: str, sequence: int, subject: bytes, header: bytes) -> None:
        self.told.append(("stored", server, stream, sequence, subject, header))

    def handed_out(
        self, server: str, stream: str, consumer: str, sequence: int, deliveries: int, header: bytes
    ) -> None:
        self.told.append(("handed_out", server, stream, consumer, sequence, deliveries, header))

    def acknowledged(self, server: str, stream: str, consumer: str, sequences: tuple[int, ...]) -> None:
        self.told.append(("acknowledged", server, stream, consumer, sequences))


# ---------------------------------------------------------------------------------------------------------- pings


def times_of(rig: Rig, link: FakeLink, data: bytes, seconds: float, step: float = 0.05) -> list[float]:
    """When the server wrote something like this."""
    times = []
    for _ in range(round(seconds / step)):
        rig.events.advance(step)
        if data in link.take():
            times.append(rig.events.now())
    return times


def test_a_silent_client_is_pinged_and_dropped() -> None:
    """The first ping comes after some two seconds, then one by interval; when a third is due, two are unanswered."""
    rig = Rig()
    link = rig.connect()
    first, second = times_of(rig, link, b"PING\r\n", 200)
    assert 2 <= first <= 2.5
    assert second == pytest.approx(first + 120, abs=0.1)
    rig.events.advance(60)
    assert (link.take(), link.ending) == (b"-ERR 'Stale Connection'\r\n", "close")
    assert rig.server.connections == ()


def test_pongs_keep_a_client() -> None:
    """One that answers stays, and is pinged at each interval."""
    rig = Rig(ping_interval_seconds=10, ping_max=1)
    link = rig.connect()
    pings = 0
    for _ in range(100):
        rig.events.advance(1)
        if b"PING" in link.take():
            pings += 1
            link.send(b"PONG\r\n")
    assert (pings, link.ending) == (10, None)


@pytest.mark.parametrize("data, pings", [(b"PING\r\n", 1), (b"PUB b 0\r\n\r\n", 1), (b"PONG\r\n", 10)])
def test_traffic_postpones_pings(data: bytes, pings: int) -> None:
    """After the first ping, for the round trip, a client that was heard of is not pinged; PONG is no traffic."""
    rig = Rig(ping_interval_seconds=10)
    link = rig.connect()
    seen = 0
    for _ in range(100):
        rig.events.advance(1)
        seen += link.take().count(b"PING")
        link.send(data)
    assert (seen, link.ending) == (pings, None)


# --------------------------------------------------------------------------------------------------- slow readers


def test_too_much_for_a_client_that_does_not_read() -> None:
    """It is closed without a word, and what the link had not taken is lost; the publisher notices nothing."""
    rig = Rig(max_pending_bytes=10_000, max_payload=1000)
    slow, fast = subscriber(rig), rig.connect()
    slow.room = 2500
    message = b"PUB a 1000\r\n" + b"x" * 1000 + b"\r\n"
    fast.send(message * 12)
    assert slow.is_open()
    assert rig.server.connections[0].pending_bytes == 12 * 1016 - 2500
    rig.events.advance(1)
    fast.send(message)
    assert (slow.ending, len(slow.take())) == ("close", 2500)
    assert fast.talk(b"PING\r\n") == b"" if fast.paused else b"PONG\r\n"
    assert [fields["reason"] for _, kind, fields in rig.trace.entries if kind == "close"] == [
        "Slow Consumer (Pending Bytes)"
    ]


def test_a_write_that_takes_too_long() -> None:
    """What was queued when the link was full has to be gone within the deadline; then the rest gets another one."""
    rig = Rig(write_deadline_seconds=10)
    slow, fast = subscriber(rig), rig.connect()
    rig.events.advance(3)
    assert slow.take() == b"PING\r\n"
    slow.room = 0
    fast.send(b"PUB a 0\r\n\r\n")
    rig.events.advance(9)
    slow.make_room(5)
    fast.send(b"PUB a 0\r\n\r\n")
    rig.events.advance(0.5)
    slow.make_room(20)  # all of the first message and a part of the second
    rig.events.advance(9)
    assert slow.is_open()
    rig.events.advance(2)
    assert (slow.ending, slow.take()) == ("close", (b"MSG a 1 0\r\n\r\n" * 2)[:25])


def test_a_trickle_does_not_help() -> None:
    """A reader that takes a byte now and then is cut off as late as one that takes none."""
    rig = Rig(write_deadline_seconds=10)
    slow, fast = subscriber(rig), rig.connect()
    slow.room = 0
    fast.send(b"PUB a 0\r\n\r\n")
    for _ in range(9):
        rig.events.advance(1)
        slow.make_room(1)
    rig.events.advance(0.9)
    assert slow.is_open()
    rig.events.advance(0.2)
    assert (slow.ending, slow.take()) == ("close", b"MSG a 1 0")


def test_who_sends_to_a_slow_reader_waits() -> None:
    """Above three quarters of what may wait, a publisher is read more slowly: two milliseconds later for a message."""
    rig = Rig(max_pending_bytes=10_000, max_payload=1000)
    slow, fast = subscriber(rig), rig.connect()
    slow.room = 0
    message = b"PUB a 1000\r\n" + b"x" * 1000 + b"\r\n"
    fast.send(message * 8)
    assert not fast.paused
    fast.send(message)
    rig.events.advance(0.0019)
    assert fast.paused
    rig.events.advance(0.0002)
    assert not fast.paused


def test_an_error_reaches_a_client_that_reads_late() -> None:
    """The end comes behind what waits, when there is room for it in time."""
    rig = Rig()
    link = subscriber(rig)
    link.room = 10
    link.send(b"PUB a 0\r\n\r\nNOPE\r\n")
    assert (link.take(), link.ending) == (b"MSG a 1 0\r", None)
    link.make_room(None)
    assert (link.take(), link.ending) == (b"\n\r\n-ERR 'Unknown Protocol Operation'\r\n", "close")


def test_an_error_that_nobody_reads() -> None:
    """It is given up after the write deadline, and when the server is killed before."""
    rig = Rig()
    links = [rig.connect(), rig.connect()]
    links[0].room = 0
    links[0].send(b"NOPE\r\n")
    rig.events.advance(10.5)
    assert links[0].ending == "close"
    links[1].room = 0
    links[1].send(b"NOPE\r\n")
    rig.server.kill()
    assert links[1].ending == "close"


# ------------------------------------------------------------------------------------------------ end and beginning


def test_the_end_of_a_client() -> None:
    """FIN and reset end its connection and its subscriptions; what it asked before a FIN is answered."""
    rig = Rig()
    one, other = subscriber(rig), subscriber(rig)
    assert one.handler is not None
    assert other.handler is not None
    one.handler.ended()
    assert (one.ending, len(rig.server.connections)) == ("close", 1)
    other.handler.broken("reset")
    assert (rig.server.connections, rig.server.subscriptions()) == ((), ())


def test_too_many_clients() -> None:
    """One more is told at once; when one leaves there is room."""
    rig = Rig(max_connections=1)
    one, other = rig.connect(), rig.dial()
    text = other.take()
    assert text.startswith(b"INFO {")
    assert text.endswith(b"} \r\n-ERR 'maximum connections exceeded'\r\n")
    assert other.ending == "close"
    one.send(b"NOPE\r\n")
    assert rig.connect().ending is None


def test_a_kill_is_silent() -> None:
    """Connections are closed by the kernel, what waits is lost, and a new start knows nothing of before."""
    rig = Rig()
    link = subscriber(rig)
    link.room = 0
    link.send(b"PUB a 0\r\n\r\n")
    before = rig.server.server_id
    rig.server.kill()
    rig.server.kill()
    assert (link.ending, link.take(), rig.server.state) == ("close", b"", ServerState.STOPPED)
    assert rig.network.listeners == {}
    rig.server.start()
    rig.server.start()
    assert rig.server.server_id != before
    assert (rig.server.connections, rig.server.subscriptions()) == ((), ())
    rig.events.advance(1000)
    assert rig.trace.kinds().count("start") == 2


def test_a_stop_writes_what_waits() -> None:
    """An orderly end flushes and closes; a pause is ended for it, and what came meanwhile is read."""
    rig = Rig()
    link, other = subscriber(rig), rig.connect()
    rig.server.pause()
    other.send(b"PUB a 0\r\n\r\n")
    rig.server.stop()
    assert (link.take(), link.ending, rig.server.state) == (b"MSG a 1 0\r\n\r\n", "close", ServerState.STOPPED)


def test_a_pause() -> None:
    """Nothing is read or answered, connections are taken by the kernel, and all is made up for when it goes on."""
    rig = Rig(ping_interval_seconds=10)
    link = subscriber(rig)
    link.talk(b"PING\r\n")
    rig.server.pause()
    assert rig.server.state is ServerState.PAUSED
    late = rig.dial()
    assert link.talk(b"PUB a 1\r\nx\r\n") == b""
    rig.events.advance(35)
    assert (late.take(), link.take(), link.ending) == (b"", b"", None)
    rig.server.resume()
    assert late.take().startswith(b"INFO {")
    assert link.take() == b"PING\r\nMSG a 1 1\r\nx\r\n"
    assert late.talk(b'CONNECT {"verbose":false}\r\nPING\r\n') == b"PONG\r\n"


def test_a_kill_in_a_pause() -> None:
    """Unread bytes make the end a reset; connections that were never looked at end too."""
    rig = Rig()
    link = rig.connect()
    rig.server.pause()
    late = rig.dial()
    link.send(b"PING\r\n")
    rig.server.kill()
    assert (link.ending, late.ending) == ("reset", "close")
    rig.events.advance(1000)
    assert link.take() == b""


# ------------------------------------------------------------------------------------------------------ lame duck


def test_a_lame_duck() -> None:
    """It takes nobody, tells those that can be told, closes them one by one after the grace period, and ends."""
    rig = Rig(lame_duck_grace_seconds=5, lame_duck_duration_seconds=40)
    told, old, new = rig.connect(), rig.connect(protocol=0), rig.dial()
    links = [told, old, new]
    new.take()
    rig.server.lame_duck()
    rig.server.lame_duck()
    assert json.loads(told.take()[5:])["ldm"] is True
    assert (old.take(), new.take(), rig.network.listeners) == (b"", b"", {})
    assert rig.server.state == "lame_duck"
    assert told.talk(b"PING\r\n") == b"PONG\r\n"
    rig.events.advance(4.9)
    assert [link.ending for link in links] == [None] * 3
    rig.events.advance(0.2)
    assert [link.ending for link in links] == ["close", None, None]
    rig.events.advance(2.2)
    assert [link.ending for link in links] == ["close"] * 3
    assert rig.server.state == "stopped"
    rig.server.start()
    assert rig.connect().ending is None


def test_a_lame_duck_without_clients_ends_at_once() -> None:
    """And one that is killed meanwhile does not go on."""
    rig = Rig()
    rig.server.lame_duck()
    assert rig.server.state is ServerState.STOPPED
    rig.server.start()
    link = rig.connect()
    rig.server.lame_duck()
    rig.server.kill()
    rig.server.start()
    other = rig.connect()
    rig.events.advance(30)
    assert (link.ending, other.ending, rig.server.state) == ("close", None, ServerState.RUNNING)


# -------------------------------------------------------------------------------------------------- what is seen


def test_connections_and_subscriptions() -> None:
    """What tests see of the server's side."""
    rig = Rig(users=())
    link = rig.connect(name="orders", lang="python", version="1")
    link.send(b"SUB a.* q 7\r\nSUB b 8\r\nUNSUB 8 5\r\nPUB b 3\r\nabc\r\n")
    (view,) = rig.server.connections
    assert (view.client_id, view.link, view.host, view.name, view.lang, view.version, view.user) == (
        1,
        1,
        "client",
        "orders",
        "python",
        "1",
        "",
    )
    assert (view.in_messages, view.in_bytes, view.out_messages, view.out_bytes, view.pending_bytes) == (1, 3, 1, 3, 0)
    assert [(sub.sid, sub.subject, sub.queue_group, sub.max_messages, sub.delivered) for sub in view.subscriptions] == [
        ("7", "a.*", "q", 0, 0),
        ("8", "b", None, 5, 1),
    ]
    assert [sub.sid for sub in rig.server.subscriptions("a.x")] == ["7"]
    assert (rig.server.url, rig.server.host, rig.server.port) == ("nats://a:4222", "a", 4222)
    rig.server.disconnect(1)
    assert (link.ending, rig.server.connections) == ("close", ())
    with pytest.raises(KeyError):
        rig.server.disconnect(1)


def test_an_observer_is_told_of_each_message() -> None:
    """What was taken, and to whom it was queued, with the place of its end in all that was queued there."""
    rig = Rig()
    link = rig.connect()
    rig.server.observer = watcher = Watcher()
    link.send(b"SUB a 1\r\nHPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\nPUB b 0\r\n\r\n")
    block = b"NATS/1.0\r\n\r\n"
    assert watcher.told == [
        ("published", "a", 1, b"a", block),
        ("delivered", "a", 1, b"1", block, link.total),
        ("published", "a", 1, b"b", None),
    ]
    rig.server.kill()
    rig.server.start()
    rig.connect().send(b"PUB c 0\r\n\r\n")
    assert watcher.told[-1] == ("published", "a", 2, b"c", None)


def test_the_trace_has_no_line_for_a_message() -> None:
    """Starts, connections, subscriptions and errors are noted; messages are not."""
    rig = Rig(ServerConfig())
    link = subscriber(rig)
    link.send(b"PUB a 0\r\n\r\n" * 10 + b"UNSUB 1\r\nNOPE\r\n")
    assert rig.trace.kinds() == ["start", "accept", "sub", "unsub", "err", "close"]


def test_one_seed_is_one_server() -> None:
    """Ids and choices depend on the PRNG alone."""
    ids = [Rig(seed=seed).server.server_id for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 56
