"""What servers write to each other is read as it was meant, wherever the network cuts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import given

from beamline_trio.simulation._server._delivery import MessageParts
from beamline_trio.simulation._server._peer import PeerConnection, encode_line
from beamline_trio.simulation._server._process import Process

from ._server_rig import FakeLink, Rig

Said = tuple[object, ...]
Say = Callable[[PeerConnection], None]

SUBJECTS = st.sampled_from([b"a", b"a.b", b"$JS.ACK.S.C.1.2.3.4.5", b"_INBOX.x"])
QUEUES = st.lists(st.sampled_from([b"q", b"queue"]), unique=True)
# Also what looks like the beginning of something else.
DATA = st.sampled_from([b"", b"x", b"\r\n", b"TO a b 3\r\n", b"PING\r\n", b"A 1 2\nTO ", b"y" * 300])


class Listening(PeerConnection):
    """Keeps what it was told."""

    closing_note: ClassVar[str] = "closed"
    ping_seconds_max: ClassVar[float] = 30.0

    def __init__(self, process: Process, link: FakeLink) -> None:
        super().__init__(process, link, dialled=True)
        self.heard: list[Said] = []
        process.on_server_message = lambda sender, data: self.heard.append(("server", sender, data))

    def told(self, verb: bytes, fields: dict[str, Any]) -> None:
        self.heard.append(("told", verb, fields))

    def wants(self, subject: bytes, queue: bytes | None, count: int) -> None:
        self.heard.append(("wants", subject, queue, count))

    def wants_no_more(self, subject: bytes, queue: bytes | None) -> None:
        self.heard.append(("wants", subject, queue, 0))

    def message(self, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
        self.heard.append(("message", to, message, queues))

    def drop_interest(self) -> None:
        raise AssertionError("the link is open")

    def gone(self) -> None:
        raise AssertionError("the link is open")


def peer() -> tuple[Listening, FakeLink]:
    process = Rig().server._process
    assert process is not None
    link = FakeLink(1)
    return Listening(process, link), link


def parts(subject: bytes, reply: bytes, header: bytes, payload: bytes) -> MessageParts:
    size = len(header)
    header_text = b"%d" % size if size else b""
    return subject, reply, size, header_text, b"%d" % (size + len(payload)), b"%b%b\r\n" % (header, payload)


@st.composite
def sayings(draw: st.DrawFn) -> tuple[Say, Said]:
    """Something to say, and what the other one is to hear."""
    kind = draw(st.sampled_from(["server", "message", "wants", "told"]))
    subject, data = draw(SUBJECTS), draw(DATA)
    if kind == "server":
        return (lambda one: one.send_to("a", "b", data)), ("server", "b", data)
    if kind == "told":
        fields = {"name": subject.decode(), "number": len(data)}
        return (lambda one: one.outbound.add(encode_line(b"INFO", fields))), ("told", b"INFO", fields)
    if kind == "wants":
        queue = draw(st.none() | st.just(b"q"))
        count = draw(st.integers(0, 1 if queue is None else 20))
        return (lambda one: one.send_interest(subject, queue, count)), ("wants", subject, queue, count)
    header = draw(st.sampled_from([b"", b"NATS/1.0\r\nA: b\r\n\r\n"]))
    message = parts(subject, draw(st.sampled_from([b"", b"r.1"])), header, data)
    to, queues = draw(st.sampled_from([subject, b"mapped.to"])), draw(QUEUES)
    return (lambda one: one.send_message(to, message, queues)), ("message", to, message, queues)


def written(says: list[Say]) -> bytes:
    """What a server writes."""
    speaker, link = peer()

    def speak() -> None:
        for say in says:
            say(speaker)

    speaker.process.run(speak)
    return link.take()


@given(st.lists(sayings(), max_size=6), st.data())
def test_what_is_said_is_heard_wherever_it_is_cut(said: list[tuple[Say, Said]], data: st.DataObject) -> None:
    """Everything that one server says the other one hears, once and in order, in whatever pieces it comes."""
    text = written([say for say, _ in said])
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    listener, link = peer()
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        listener.received(text[start:end])
    assert listener.heard == [heard for _, heard in said]
    assert link.take() == b""


def test_what_is_said_is_heard_cut_at_every_byte() -> None:
    """One of each kind, in two pieces at every place, and byte by byte."""
    message = parts(b"s", b"r", b"NATS/1.0\r\nA: b\r\n\r\n", b"p\r\n")
    says: list[Say] = [
        lambda one: one.send_to("a", "b", b"C 1 2\n"),
        lambda one: one.send_message(b"s", message, [b"q"]),
        lambda one: one.send_interest(b"s", None, 1),
        lambda one: one.send_to("a", "b", b"\r\nTO a b 1\r\n"),
        lambda one: one.outbound.add(b"PING\r\n"),
        lambda one: one.send_to("a", "b", b""),
    ]
    text = written(says)
    wanted: list[Said] = [
        ("server", "b", b"C 1 2\n"),
        ("message", b"s", message, [b"q"]),
        ("wants", b"s", None, 1),
        ("server", "b", b"\r\nTO a b 1\r\n"),
        ("server", "b", b""),
    ]
    for pieces in [[text[:at], text[at:]] for at in range(len(text) + 1)] + [[bytes([one]) for one in text]]:
        listener, link = peer()
        for piece in pieces:
            listener.received(piece)
        assert (listener.heard, link.take()) == (wanted, b"PONG\r\n")
