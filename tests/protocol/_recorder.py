"""What a parser said, as one plain list, so that two ways of feeding it can be compared.

A run is written down message by message and a count of unroutable messages one by one: how messages are bundled is the
parser's choice, what they are is not. `runs` keeps the lengths, for tests that must know that there was a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import pytest

from beamline_trio.protocol import Parser, ProtocolError, Route, ServerInfo

Event: TypeAlias = "tuple[object, ...]"


class RecordingRoute:
    """The route of one sid."""

    def __init__(self, sid: bytes, recorder: Recorder) -> None:
        self._sid = sid
        self._recorder = recorder

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        self._recorder.events.append(("message", self._sid, subject, reply, header, payload))

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        assert payloads, "a run of no messages"
        self._recorder.runs.append(len(payloads))
        for payload in payloads:
            self.deliver(subject, None, None, payload)


class Recorder:
    """Receiver and routes in one. Every event is a tuple that begins with its kind."""

    def __init__(self, sids: Iterable[bytes] = (b"1", b"2", b"37")) -> None:
        self.events: list[Event] = []
        self.runs: list[int] = []
        self.routes: dict[bytes, Route] = {sid: RecordingRoute(sid, self) for sid in sids}

    def on_info(self, info: ServerInfo) -> None:
        self.events.append(("info", dict(info.raw)))

    def on_error(self, text: str) -> None:
        self.events.append(("error", text))

    def on_ping(self) -> None:
        self.events.append(("ping",))

    def on_pong(self) -> None:
        self.events.append(("pong",))

    def on_malformed(self, sid: bytes, subject: bytes, reason: str) -> None:
        assert reason
        self.events.append(("malformed", sid, subject))

    def on_unroutable(self, sid: bytes, count: int) -> None:
        assert count > 0, "no message for nobody"
        self.events.extend([("unroutable", sid)] * count)


def parse(chunks: Iterable[bytes]) -> list[Event]:
    """The events of a stream that must be legal, fed in these chunks."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder)
    for chunk in chunks:
        parser.feed(chunk)
    return recorder.events


def parse_or_refuse(chunks: Iterable[bytes], **bounds: int) -> tuple[list[Event], int | None]:
    """The events of any stream, and the bytes that wait at its end; None for those after a ProtocolError."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder, **bounds)
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except ProtocolError:
        return recorder.events, None
    return recorder.events, parser.waiting_bytes


def split(stream: bytes, points: Iterable[int]) -> list[bytes]:
    """The stream cut at these points, in any order."""
    ends = [*sorted(points), len(stream)]
    starts = [0, *ends[:-1]]
    return [stream[start:end] for start, end in zip(starts, ends, strict=True)]


def single_bytes(stream: bytes) -> list[bytes]:
    """The stream byte by byte."""
    return [stream[i : i + 1] for i in range(len(stream))]


def fed(*chunks: bytes, **bounds: int) -> tuple[Parser, Recorder]:
    """A parser that was fed these chunks, and what it said."""
    recorder = Recorder()
    parser = Parser(recorder.routes, recorder, **bounds)
    for chunk in chunks:
        parser.feed(chunk)
    return parser, recorder


def refusal(stream: bytes, **bounds: int) -> str:
    """The text of the error that a stream meets, whole as well as in small chunks, before it gives any event."""
    texts = []
    for chunks in ([stream], split(stream, range(0, len(stream), max(1, len(stream) // 1000)))):
        recorder = Recorder()
        parser = Parser(recorder.routes, recorder, **bounds)
        with pytest.raises(ProtocolError) as caught:
            for chunk in chunks:
                parser.feed(chunk)
        assert recorder.events == []
        texts.append(str(caught.value))
    assert texts[0]
    return texts[0]
