"""Bytes of the server -> messages to their routes and control operations to their receiver. Sans-IO, incremental.

One call of `feed` handles a whole chunk synchronously. A message goes straight to `routes[sid]`; no event object lies
between. Most streams repeat one line (`MSG orders 1 128`): when a line comes twice running, the messages that follow
are recognised by comparing their line in place, without parsing it, and handed over as one run. In mixed streams the
line less its size is looked up among those read before.

Whatever is incomplete waits, unparsed, until enough bytes are there; a large payload is joined once. A size is checked
when its line is read, before anything is kept for it. A header block that cannot be decoded costs its message only:
framing survives, so it is reported and skipped. Everything else that is wrong raises ProtocolError, and the parser
must not be fed again.

Must not do I/O, know subscriptions, or decode what nobody asked for (subjects and headers stay bytes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from ._errors import ProtocolError
from ._headers import is_header_block
from ._operations import ServerInfo, decode_info

CONTROL_LINE_BYTES_MAX: Final = 65_536
INFO_BYTES_MAX: Final = 1_048_576
HEADER_BYTES_MAX: Final = 1_048_576
PAYLOAD_BYTES_MAX: Final = 67_108_864

# Sizes come from a small set: looking one up is a third of int(), and refuses signs, blanks and underscores.
_SIZES: Final = {b"%d" % size: size for size in range(4096)}
_SIZE_DIGITS_MAX: Final = 10
# Lines less their size that were read before; those with a reply are not kept, since replies do not come again.
_HEADS_MAX: Final = 1024
_HEAD_BYTES_MAX: Final = 512
_CHUNKS_MAX: Final = 64
_CRLF: Final = b"\r\n"


class Route(Protocol):
    """Where the messages of one sid go. Must not raise: the parser is in the middle of a chunk."""

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """Take one message; `header` is a well-formed block or None."""

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Take several messages running, without reply and headers."""


class Receiver(Protocol):
    """Who hears the control operations, in the order of the wire."""

    def on_info(self, info: ServerInfo) -> None:
        """INFO came."""

    def on_error(self, text: str) -> None:
        """`-ERR` came."""

    def on_ping(self) -> None:
        """PING came."""

    def on_pong(self) -> None:
        """PONG came."""

    def on_malformed(self, sid: bytes, subject: bytes, reason: str) -> None:
        """A message was skipped."""

    def on_unroutable(self, sid: bytes, count: int) -> None:
        """Messages came for a sid that has no route (the last ones of an ended subscription, normally)."""


class Parser:
    """The parser of one link.

    Args:
        routes: sid -> Route, looked up for each message; the owner changes it at any time.
        receiver: hears the control operations.
        control_line_bytes_max: the longest line but INFO.
        info_bytes_max: the longest INFO.
        header_bytes_max: the largest header block.
        payload_bytes_max: the most bytes of headers and payload of a message. Not the server's max_payload: a stream
            may hold messages that were stored under an older, larger one.
    """

    def __init__(
        self,
        routes: Mapping[bytes, Route],
        receiver: Receiver,
        *,
        control_line_bytes_max: int = CONTROL_LINE_BYTES_MAX,
        info_bytes_max: int = INFO_BYTES_MAX,
        header_bytes_max: int = HEADER_BYTES_MAX,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
    ) -> None:
        self._routes = routes
        self._receiver = receiver
        self._control_line_bytes_max = control_line_bytes_max
        self._info_bytes_max = info_bytes_max
        self._header_bytes_max = header_bytes_max
        self._payload_bytes_max = payload_bytes_max
        small = len(_SIZES) > payload_bytes_max
        self._sizes = {text: n for text, n in _SIZES.items() if n <= payload_bytes_max} if small else _SIZES
        self._chunks: list[bytes | bytearray] = []
        self._line_max = 0
        self._have = 0
        self._need = 0
        self._last_line = b""
        self._heads: dict[bytes, tuple[bytes, bytes, bytes | None]] = {}
        self.messages = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes kept of an operation that is not complete."""
        return self._have

    def hand_over(self, routes: Mapping[bytes, Route], receiver: Receiver) -> None:
        """Deliver to these from the next chunk on."""
        self._routes = routes
        self._receiver = receiver

    def take_rest(self) -> bytes:
        """What has not been parsed; the parser forgets it (a TLS upgrade throws it away)."""
        rest = b"".join(self._chunks)
        self._keep(b"", 0)
        return rest

    def feed(self, data: bytes) -> None:
        """Parse a chunk, delivering all that is complete.

        Raises:
            ProtocolError: framing is lost, or a bound is exceeded. Everything before was delivered.
        """
        if self._have:
            self._add(data)
            if self._have < self._need or (self._have <= self._line_max and b"\n" not in data):
                return
            data = b"".join(self._chunks)
        self._keep(b"", 0)
        self._parse(data)

    def _keep(self, rest: bytes, need: int, line_max: int = 0) -> None:
        """Keep what is incomplete: until there are `need` bytes, or a line end comes or `line_max` is passed."""
        self._chunks = [rest] if rest else []
        self._have = len(rest)
        self._need = need
        self._line_max = line_max

    def _add(self, data: bytes) -> None:
        """Keep one more chunk; a peer that dribbles must not cost an object for each byte."""
        chunks = self._chunks
        chunks.append(data)
        self._have += len(data)
        if len(chunks) > _CHUNKS_MAX:
            first = chunks[0] if isinstance(chunks[0], bytearray) else bytearray(chunks[0])
            first += b"".join(chunks[1:])
            chunks[:] = [first]

    def _parse(self, data: bytes) -> None:
        """The hot loop: plain MSG lines here, everything rarer in `_other`."""
        position = 0
        length = len(data)
        find = data.find
        routes = self._routes
        heads = self._heads
        sizes = self._sizes
        last_line = self._last_line
        messages = 0
        try:
            while position < length:
                end = find(_CRLF, position)
                if end < 0:
                    line_max = self._check_line_start(data, position)
                    self._keep(data[position:], length - position + 1, line_max)
                    return
                line = data[position:end]
                head_text, _, size_text = line.rpartition(b" ")
                head = heads.get(head_text)
                if head is None:
                    head = self._head(head_text)
                size = sizes.get(size_text, -1)
                if size < 0 and head is not None and size_text.isdigit():
                    size = self._size(size_text, line, self._payload_bytes_max)
                if head is None or size < 0:
                    position = self._other(data, line, position, end)
                    if position < 0:
                        return
                    continue
                subject, sid, reply = head
                stop = end + 2 + size
                if stop + 2 > length:
                    self._keep(data[position:], stop + 2 - position)
                    return
                route = routes.get(sid)
                if line == last_line:
                    payloads, position = _run(data, line, end + 2, stop, length)
                    messages += len(payloads)
                    if route is not None:
                        route.deliver_run(subject, payloads)
                    else:
                        self._receiver.on_unroutable(sid, len(payloads))
                    continue
                if data[stop : stop + 2] != _CRLF:
                    raise ProtocolError(f"no CRLF behind the payload of {line[:80]!r}")
                position = stop + 2
                messages += 1
                if reply is None:
                    last_line = line
                if route is not None:
                    route.deliver(subject, reply, None, data[end + 2 : stop])
                else:
                    self._receiver.on_unroutable(sid, 1)
        finally:
            self._last_line = last_line
            self.messages += messages

    def _head(self, text: bytes) -> tuple[bytes, bytes, bytes | None] | None:
        """subject, sid and reply of a plain MSG, from its line less the size; None when it is something else."""
        parts = text.split(b" ")
        count = len(parts)
        if parts[0] != b"MSG" or not 3 <= count <= 4 or b"" in parts or b"\t" in text:
            return None
        if len(text) > self._control_line_bytes_max - _SIZE_DIGITS_MAX - 1:
            return None
        if count == 4:
            return parts[1], parts[2], parts[3]
        head = (parts[1], parts[2], None)
        if len(text) <= _HEAD_BYTES_MAX:
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            self._heads[text] = head
        return head

    def _other(self, data: bytes, line: bytes, position: int, end: int) -> int:
        """Handle the operation whose line is data[position:end] if it is a control operation, has headers or odd
        white space; returns where the next begins, or -1 when its payload is not complete.
        """
        operation = self._message_or_control(line)
        if operation is None:
            return end + 2
        subject, sid, reply, header_size, size = operation
        start = end + 2
        stop = start + size
        if stop + 2 > len(data):
            self._keep(data[position:], stop + 2 - position)
            return -1
        if data[stop : stop + 2] != _CRLF:
            raise ProtocolError(f"no CRLF behind the payload of {line[:80]!r}")
        self.messages += 1
        header: bytes | None = None
        if header_size >= 0:
            header = data[start : start + header_size]
            start += header_size
            if not is_header_block(header):
                self._receiver.on_malformed(sid, subject, f"malformed header block {header[:64]!r}")
                return stop + 2
        route = self._routes.get(sid)
        if route is not None:
            route.deliver(subject, reply, header, data[start:stop])
        else:
            self._receiver.on_unroutable(sid, 1)
        return stop + 2

    def _message_or_control(self, line: bytes) -> tuple[bytes, bytes, bytes | None, int, int] | None:
        """Handle a control line (None), or read the line of a message."""
        verb = line[:5].split(b" ", 1)[0].split(b"\t", 1)[0].upper()
        if verb in (b"MSG", b"HMSG"):
            return self._message_line(line)
        limit = self._info_bytes_max if verb == b"INFO" else self._control_line_bytes_max
        if len(line) > limit:
            raise ProtocolError(f"control line of {len(line)} bytes, the limit is {limit}: {line[:64]!r}")
        receiver = self._receiver
        rest = line[len(verb) :].strip(b" \t")
        if verb == b"PING":
            receiver.on_ping()
        elif verb == b"PONG":
            receiver.on_pong()
        elif verb == b"INFO":
            receiver.on_info(decode_info(rest))
        elif verb == b"-ERR":
            receiver.on_error(rest.decode("utf-8", "replace"))
        elif verb != b"+OK":
            raise ProtocolError(f"unknown operation {line[:64]!r}")
        return None

    def _message_line(self, line: bytes) -> tuple[bytes, bytes, bytes | None, int, int]:
        """subject, sid, reply, header size (-1: none) and total size of a MSG or HMSG line with any white space."""
        if len(line) > self._control_line_bytes_max:
            raise ProtocolError(
                f"control line of {len(line)} bytes, the limit is {self._control_line_bytes_max}: {line[:64]!r}"
            )
        verb, *parts = [part for part in line.replace(b"\t", b" ").split(b" ") if part]
        header_size = -1
        if verb.upper() == b"HMSG":
            if len(parts) < 2:
                raise ProtocolError(f"malformed line {line[:80]!r}")
            header_size = self._size(parts.pop(-2), line, self._header_bytes_max)
        if len(parts) not in (3, 4):
            raise ProtocolError(f"malformed line {line[:80]!r}")
        size = self._size(parts[-1], line, self._payload_bytes_max)
        if header_size > size:
            raise ProtocolError(f"header block larger than the message: {line[:80]!r}")
        reply = parts[2] if len(parts) == 4 else None
        return parts[0], parts[1], reply, header_size, size

    def _size(self, text: bytes, line: bytes, limit: int) -> int:
        if not text.isdigit() or len(text) > _SIZE_DIGITS_MAX or int(text) > limit:
            raise ProtocolError(f"size {text[:24]!r} is not a number up to {limit}: {line[:80]!r}")
        return int(text)

    def _check_line_start(self, data: bytes, position: int) -> int:
        """Bound a line whose end has not come; returns how long it may become, 0 while that is not known."""
        waiting = len(data) - position
        start = data[position : position + 5].upper()
        limit = self._info_bytes_max if start[:4] == b"INFO" else self._control_line_bytes_max
        if waiting > limit + 1:
            raise ProtocolError(f"control line of more than {limit} bytes: {data[position : position + 64]!r}")
        return limit if waiting >= len(b"INFO ") else 0


def _run(data: bytes, line: bytes, start: int, stop: int, length: int) -> tuple[list[bytes], int]:
    """The payloads of messages that repeat a line, from the one at start:stop on, and where they end."""
    size = stop - start
    payloads: list[bytes] = []
    append = payloads.append
    startswith = data.startswith
    next_head = b"\r\n%b\r\n" % line  # the end of a payload and the next line in one comparison
    skip = len(next_head)
    while startswith(next_head, stop):
        append(data[start:stop])
        start = stop + skip
        stop = start + size
        if stop + 2 > length:  # incomplete: parsed again from its line when the rest is there
            return payloads, start - skip + 2
    if startswith(_CRLF, stop):
        append(data[start:stop])
        return payloads, stop + 2
    if payloads:  # they are good, and are delivered before the broken one is parsed again and refused
        return payloads, start - skip + 2
    raise ProtocolError(f"no CRLF behind the payload of {line[:80]!r}")
