"""Play a script on a server and record what each raw client got; mask what no two servers have in common.

How it works: a raw client cuts what it receives into frames (code of its own, neither the client's parser nor the
simulation's). A record is the frames of each client and how its link ended. Records are compared after `mask`:

- INFO: keys and their order stay; the values of `_VOLATILE` keys are replaced by their types;
- deliveries of one message to several subscriptions of one link, which come side by side, are sorted by sid;
- deliveries of several JetStream consumers, side by side, are put in order of the consumers, those of one staying as
  they came: a stream wakes a goroutine for each;
- a pull that ends as its consumer is deleted comes before the answer to the deletion, when they are side by side: other
  goroutines again, and of a busy server the answer comes first one time in ten;
- deliveries to the sids of a queue group, on any link, are compared as one sorted heap;
- an end behind -ERR is an end: whether it comes as FIN or as reset depends on bytes behind the error;
- the server's pings are left out of scripts about JetStream, many of which last longer than the first one takes;
- in what JetStream says, moments, ids of events and servers, and names that a server has drawn, as long as they are;

Nothing else is masked.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import attrs
import trio

from beamline_trio.transport import ConnectError, parse_address

from ._script import (
    Act,
    Close,
    Ended,
    Expect,
    HalfClose,
    Open,
    Quiet,
    Reload,
    Script,
    Send,
    Step,
    Sync,
    Wait,
)
from ._server import ContractServer

# What comes later than this does not come.
LIMIT_SECONDS = 5.0
# Between the pieces of a cut: nearly always long enough for a server to read them one by one.
PIECE_SECONDS = 0.002

_VOLATILE = frozenset(
    {
        "server_id",
        "server_name",
        "version",
        "git_commit",
        "go",
        "host",
        "port",
        "ip",
        "client_id",
        "client_ip",
        "nonce",
        "connect_urls",
        "xkey",
    }
)
_CHUNK_BYTES = 65536
_PING = b"PING\r\n"
_NANOSECONDS = re.compile(rb"\b1[78]\d{17}\b")
_JETSTREAM_MASKS = (
    (re.compile(rb"(?!0001)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), b"<time>"),
    (re.compile(rb'"id":"[A-Za-z0-9]{22}"'), b'"id":"<id>"'),
    (re.compile(rb"\bN[A-Z2-7]{55}\b"), b"<server>"),
    (re.compile(rb'"host":"[0-9.]+","id":\d+'), b'"host":"<host>","id":<cid>'),
    (re.compile(rb'"rtt":\d+'), b'"rtt":<rtt>'),
    (re.compile(rb'"(name|consumer)":"[A-Za-z0-9]{8}"'), rb'"\1":"<drawn>"'),
    (_NANOSECONDS, b"<ns>"),
)
_DELIVERY = re.compile(rb"H?MSG \S+ \S+ \$JS\.ACK\.(?P<consumer>[^. ]+\.[^. ]+)\.")
_PULL_DELETED = re.compile(rb"\AHMSG \S+ \S+ \d+ \d+\r\nNATS/1\.0 409 Consumer Deleted\r\n")
_DELETION_ANSWER = re.compile(
    rb'\AMSG \S+ \S+ \d+\r\n\{"type":"io\.nats\.jetstream\.api\.v1\.(stream|consumer)_delete_response","success":true'
)


@attrs.frozen
class Transcript:
    """What the clients of one script got.

    Attributes:
        frames: by client, as they came; the last may be no whole frame.
        endings: by client: open, fin, reset, refused.
        missed: the step that waited in vain, with which the record ends.
    """

    frames: Mapping[str, tuple[bytes, ...]]
    endings: Mapping[str, str]
    missed: str | None = None

    def raw(self, client: str) -> bytes:
        """All bytes that a client got."""
        return b"".join(self.frames.get(client, ()))

    def __str__(self) -> str:
        lines = []
        for client, frames in self.frames.items():
            lines += [f"  {client} < {frame!r}" for frame in frames]
            lines.append(f"  {client} : {self.endings[client]}")
        if self.missed:
            lines.append(f"  waited in vain: {self.missed}")
        return "\n".join(lines)


class Received:
    """What one raw client has received, cut into frames."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.rest = b""

    def add(self, data: bytes) -> None:
        self.rest += data
        while (size := _frame_size(self.rest)) is not None:
            self.frames.append(self.rest[:size])
            self.rest = self.rest[size:]


def _frame_size(data: bytes) -> int | None:
    """How long the first frame is; None while it is not whole."""
    end = data.find(b"\r\n") + 2
    if end < 2:
        return None
    verb, _, arguments = data[:end].partition(b" ")
    if verb in (b"MSG", b"HMSG"):
        end += int(arguments.split()[-1]) + 2
    return end if end <= len(data) else None


class RawClient:
    """One link of a script: sends what it is told, keeps what it gets."""

    def __init__(self, stream: trio.abc.Stream | None) -> None:
        self._stream = stream
        self._seen = 0
        self.received = Received()
        self.ending = "refused" if stream is None else "open"
        self.sync_due = stream is not None

    @property
    def frames(self) -> tuple[bytes, ...]:
        rest = self.received.rest
        return (*self.received.frames, rest) if rest else tuple(self.received.frames)

    async def send(self, data: bytes, cuts: Iterable[int] = (), piece_seconds: float = PIECE_SECONDS) -> None:
        """What cannot be sent any more is lost, as on any network; the link's end is seen by reading."""
        borders = [0, *cuts, len(data)]
        with contextlib.suppress(trio.BrokenResourceError):
            for start, end in itertools.pairwise(borders):
                if start:
                    await trio.sleep(piece_seconds)
                if self._stream is not None and self.ending == "open":
                    await self._stream.send_all(data[start:end])

    async def receive(self) -> None:
        """The next bytes, or the link's end."""
        assert self._stream is not None
        try:
            data = await self._stream.receive_some(_CHUNK_BYTES)
        except trio.BrokenResourceError:
            self.ending = "reset"
            return
        if data:
            self.received.add(bytes(data))
        else:
            self.ending = "fin"

    async def until(self, found: Callable[[bytes], bool], limit_seconds: float = LIMIT_SECONDS) -> bool:
        """Whether a frame comes (behind the last one that was found) of which `found` is true."""
        with trio.move_on_after(limit_seconds):
            while True:
                while self._seen < len(self.received.frames):
                    self._seen += 1
                    if found(self.received.frames[self._seen - 1]):
                        return True
                if self.ending != "open":
                    return False
                await self.receive()
        return False

    async def until_frames(self, count: int, limit_seconds: float = LIMIT_SECONDS) -> bool:
        """Whether there are so many frames in time; the end of the link counts as one."""
        with trio.move_on_after(limit_seconds):
            while len(self.received.frames) + (self.ending != "open") < count:
                if self.ending != "open":
                    return False
                await self.receive()
            return True
        return False

    async def sync(self) -> bool:
        """PING and PONG; the link's end will do, too."""
        await self.send(b"PING\r\n")
        return await self.until(b"PONG\r\n".__eq__) or self.ending != "open"

    async def until_ended(self, limit_seconds: float = LIMIT_SECONDS) -> bool:
        """Whether the link ends in time."""
        with trio.move_on_after(limit_seconds):
            while self.ending == "open":
                await self.receive()
        return self.ending != "open"

    async def listen(self, seconds: float) -> None:
        """Take what comes within some seconds."""
        await self.until_ended(seconds)

    async def half_close(self) -> None:
        """Say no more and read to the end, which is then the peer's answer and no ending of its own."""
        if self.ending != "open" or not isinstance(self._stream, trio.abc.HalfCloseableStream):
            return
        with contextlib.suppress(trio.BrokenResourceError):
            await self._stream.send_eof()
        await self.until_ended()
        self.ending = "half-closed" if self.ending == "fin" else self.ending


class Player:
    """Plays one script on its servers."""

    def __init__(self, *servers: ContractServer) -> None:
        self._servers = servers
        self._clients: dict[str, RawClient] = {}
        self._stack = AsyncExitStack()
        self._links: dict[str, AsyncExitStack] = {}

    async def play(self, script: Script) -> Transcript:
        """Step by step; a step that waits in vain is the last."""
        missed = None
        async with self._stack:
            for number, step in enumerate(script.steps, 1):
                if not await self._step(step):
                    missed = f"step {number}, {step}"
                    break
            else:
                missed = await self._finish()
        return Transcript(
            {name: client.frames for name, client in self._clients.items()},
            {name: client.ending for name, client in self._clients.items()},
            missed,
        )

    async def _finish(self) -> str | None:
        """Every link whose last step was no look at it is looked at; then all are read to their end.

        A server that is told of the end by FIN still says what it had to say, so the record has everything.
        """
        for name, client in self._clients.items():
            if client.sync_due and client.ending == "open" and not await client.sync():
                return f"the last PONG of {name}"
        for client in self._clients.values():
            if client.ending == "open":
                await client.half_close()
                client.ending = "open" if client.ending == "half-closed" else client.ending
        return None

    async def _step(self, step: Step) -> bool:
        match step:
            case Open(name, number):
                self._clients[name] = await self._open(name, self._servers[number])
            case Wait(seconds):
                await trio.sleep(seconds)
            case Reload(config):
                self._servers[0].reload(config)
                await self._servers[0].wait_reloaded()
            case Act("start", number):
                await self._servers[number].start()
            case Act(what, number):
                getattr(self._servers[number], what)()
            case _:
                return await self._client_step(step, self._clients[step.client])
        return True

    async def _client_step(
        self, step: Send | Expect | Sync | Ended | Quiet | Close | HalfClose, client: RawClient
    ) -> bool:
        client.sync_due = isinstance(step, Send | Expect)
        match step:
            case Send(_, data, cuts):
                await client.send(data, cuts)
            case Expect(_, mark):
                return await client.until(lambda frame: mark in frame)
            case Sync():
                return await client.sync()
            case Ended():
                return await client.until_ended()
            case Quiet(_, seconds):
                await client.listen(seconds)
            case HalfClose():
                await client.half_close()
            case Close(name):
                await self._links.pop(name).aclose()
                client.ending = "closed here"
        return True

    async def _open(self, name: str, server: ContractServer) -> RawClient:
        link = self._links[name] = AsyncExitStack()
        self._stack.push_async_exit(link)
        try:
            stream = await link.enter_async_context(server.dialer.open(parse_address(server.url)))
        except ConnectError:
            return RawClient(None)
        return RawClient(stream)


# ------------------------------------------------------------------------------------------------------- masks


def mask(transcript: Transcript, queue_sids: Container[object] = frozenset(), *, pings: bool = True) -> str:
    """The record as text that is the same for two servers that behave alike; `pings` = with those of the server."""
    lines: list[str] = []
    chosen: list[str] = []
    for client, frames in transcript.frames.items():
        kept: list[bytes] = []
        for frame in frames:
            if frame == _PING and not pings:
                continue
            if sid_of(frame) in queue_sids:
                chosen.append(f"  a queue group < {_without_sid(frame)!r}")
            else:
                kept.append(frame)
        ordered = _in_order_of_goroutines(_in_order_of_sids(kept))
        lines += [f"  {client} < {_masked(frame)!r}" for frame in ordered]
        lines.append(f"  {client} : {_ending(transcript, client)}")
    if transcript.missed:
        lines.append(f"  waited in vain: {transcript.missed}")
    return "\n".join([*lines, *sorted(chosen)])


def _ending(transcript: Transcript, client: str) -> str:
    """Behind -ERR, FIN and reset are one: the kernel resets where bytes behind the error were not read."""
    ending, frames = transcript.endings[client], transcript.frames[client]
    if ending in ("fin", "reset") and frames and frames[-1].startswith(b"-ERR"):
        return "ended behind an error"
    return ending


def _masked(frame: bytes) -> bytes:
    if frame.startswith((b"MSG ", b"HMSG ")):
        return _masked_message(frame)
    if not frame.startswith(b"INFO "):
        return frame
    text, brace, rest = frame[5:].rpartition(b"}")
    fields: dict[str, Any] = json.loads(text + brace)
    written = _compact(fields) == text + brace
    masked = _compact({key: _value(key, value) for key, value in fields.items()})
    return b"INFO " + masked + rest if written else b"INFO (written in another way) " + masked + rest


def _masked_message(frame: bytes) -> bytes:
    """A message, with the sizes that it has after masking."""
    line, _, rest = frame.partition(b"\r\n")
    *words, size = line.split(b" ")
    header_size = int(words.pop()) if frame.startswith(b"HMSG ") else 0
    header, body = _without_drawn(rest[:header_size]), _without_drawn(rest[header_size:])
    sizes = [len(header)] if header_size else []
    sizes.append(int(size) + len(header) + len(body) - len(rest))
    line = b" ".join([_NANOSECONDS.sub(b"<ns>", b" ".join(words)), *(b"%d" % one for one in sizes)])
    return line + b"\r\n" + header + body


def _without_drawn(text: bytes) -> bytes:
    """With words in place of what no two servers have alike."""
    for pattern, mask_ in _JETSTREAM_MASKS:
        text = pattern.sub(mask_, text)
    return text


def _compact(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _value(key: str, value: Any) -> Any:
    if key not in _VOLATILE:
        return value
    if isinstance(value, list):
        return [type(item).__name__ for item in value]
    return type(value).__name__


def sid_of(frame: bytes) -> bytes | None:
    """Of a message; None of anything else."""
    if not frame.startswith((b"MSG ", b"HMSG ")):
        return None
    return frame.split(b" ", 3)[2]


def _without_sid(frame: bytes) -> bytes:
    if sid_of(frame) is None:
        return frame
    verb, subject, _, rest = frame.split(b" ", 3)
    return b" ".join((verb, subject, b"*", rest))


def _in_order_of_sids(frames: list[bytes]) -> list[bytes]:
    """Frames that differ in nothing but the sid, side by side, are sorted."""
    ordered: list[bytes] = []
    run: list[bytes] = []
    for frame in frames:
        if run and (sid_of(frame) is None or _without_sid(frame) != _without_sid(run[0])):
            ordered += sorted(run)
            run = []
        run.append(frame)
    return ordered + sorted(run)


def _in_order_of_goroutines(frames: list[bytes]) -> list[bytes]:
    """What goroutines of one kind sent, side by side, is put in an order; what one of them sent stays as it came."""
    ordered: list[bytes] = []
    for _, run in itertools.groupby(frames, key=lambda frame: _goroutine(frame)[0]):
        ordered += sorted(run, key=lambda frame: _goroutine(frame)[1])
    return ordered


def _goroutine(frame: bytes) -> tuple[str, bytes]:
    """The kind and the name of the one that sent a frame, among those which do not wait for each other."""
    if match := _DELIVERY.match(frame):
        return "consumers", match["consumer"]
    if _PULL_DELETED.search(frame):
        return "deletion", b"1 consumer"
    if _DELETION_ANSWER.search(frame):
        return "deletion", b"2 answer"
    return "", b""
