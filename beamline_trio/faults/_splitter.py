"""Frames of either direction out of a byte stream, in pieces: the head of each when it is known, the rest as it comes.

A head is what has to be read to know what a frame is: the whole line where subjects are in it, and the first bytes of
the payload where the subject says that they matter; else the verb. Only heads are kept, and they have a bound; payloads
and other lines are handed on as they come. What a head has begun with can be had too (`release`), for whoever would
rather pass it on than wait for the rest.

What is no frame ends the splitting: from there on everything is handed on as it is.

Must not share code with the client's parser: it would share its mistakes. Must not know what frames are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import attrs

HEAD_BYTES_MAX: Final = 65_536
BODY_BYTES: Final = 4
_SIZE_DIGITS_MAX: Final = 9
_VERB: Final = re.compile(rb"[^ \t\r\n]*")
_LINE: Final = re.compile(rb"([^\r\n]*)\r?\n")
_FIELD: Final = re.compile(rb"[^ \t]+")
# How many fields a line with subjects may have, and how many of the last are sizes.
_TO_SERVER: Final = {b"SUB": ((2, 3), 0), b"UNSUB": ((1, 2), 0), b"PUB": ((2, 3), 1), b"HPUB": ((3, 4), 2)}
_TO_CLIENT: Final = {b"MSG": ((3, 4), 1), b"HMSG": ((4, 5), 2)}


@attrs.frozen
class Frame:
    """One operation of the protocol.

    Attributes:
        verb: in capitals.
        fields: of a line with subjects or sids (SUB, UNSUB, PUB, HPUB, MSG, HMSG); other lines are not looked into.
        body: the first bytes of its payload, behind headers; None = it was not looked into.
    """

    verb: bytes
    fields: tuple[bytes, ...] = ()
    body: bytes | None = None


@attrs.frozen
class Piece:
    """Some bytes of a frame.

    Attributes:
        frame: whose; None = no frame, and none will follow.
        data: the bytes.
        first: they are its beginning, or what was not released before.
        last: they are its end.
        begun: a part of its head was released before it was known.
    """

    frame: Frame | None
    data: bytes
    first: bool
    last: bool
    begun: bool = False


class Splitter:
    """Splits one direction of one link.

    Args:
        lines: the verbs whose whole line is looked into, with the numbers of their fields and sizes.
        others: the verbs of the other lines.
        telling: what subjects begin with whose payloads have to be looked into.

    Attributes:
        lost: something came that is no frame.
    """

    def __init__(
        self,
        lines: dict[bytes, tuple[tuple[int, int], int]],
        others: Iterable[bytes],
        telling: tuple[bytes, ...] = (),
    ) -> None:
        self._lines = lines
        self._others = tuple(others)
        self._telling = telling
        self._head = b""
        self._released = 0
        self._frame: Frame | None = None
        self._body = -1  # bytes to come up to the frame's end, or -1: up to the end of a line
        self.lost = False

    @property
    def inside(self) -> bool:
        """Whether a frame has begun that is not at its end, as far as it was handed on or released."""
        return self._frame is not None or self._released > 0

    @property
    def withholds(self) -> bool:
        """Whether there is something to release."""
        return len(self._head) > self._released

    def release(self) -> bytes:
        """What has come of a head that is not known yet, and was not released before."""
        data = self._head[self._released :]
        self._released = len(self._head)
        return data

    def feed(self, data: bytes) -> list[Piece]:
        """Take the next bytes; returns what they complete."""
        pieces: list[Piece] = []
        data, self._head = self._head + data if self._head else data, b""
        position = 0
        while position < len(data) and not self.lost:
            end = self._continue(data, position, pieces) if self._frame else self._begin(data, position, pieces)
            if end == position and not self.lost:
                self._head = data[position:]
                return pieces
            position = end
        if position < len(data):
            pieces.append(Piece(None, data[position + self._take_released() :], first=True, last=False))
        return pieces

    def _begin(self, data: bytes, start: int, pieces: list[Piece]) -> int:
        """A frame's head, if it is all there; returns where it ends."""
        verb = _VERB.match(data, start, start + 8)
        end_of_verb = verb.end() if verb is not None else start
        name = data[start:end_of_verb].upper()
        if end_of_verb == len(data) and any(known.startswith(name) for known in (*self._lines, *self._others)):
            return start
        frame: Frame | None = None
        end = end_of_verb
        if name in self._others:
            frame, self._body = Frame(name), -1
        elif name in self._lines:
            end = data.find(b"\n", end_of_verb, start + HEAD_BYTES_MAX) + 1
            if end == 0 and len(data) - start < HEAD_BYTES_MAX:
                return start
            frame = self._read_line(name, data[end_of_verb:end]) if end else None
        if frame is None:
            self.lost = True
            return start
        frame, end = self._look_into(frame, data, start, end)
        if end > len(data):
            return start
        begun = self._released > 0
        last = not self._body
        pieces.append(Piece(frame, data[start + self._take_released() : end], first=True, last=last, begun=begun))
        self._frame = None if last else frame
        return end

    def _take_released(self) -> int:
        released, self._released = self._released, 0
        return released

    def _read_line(self, name: bytes, line: bytes) -> Frame | None:
        """The frame of a line with subjects, or None; sets how many bytes follow."""
        counts, sizes = self._lines[name]
        words = _LINE.fullmatch(line)
        if words is None:
            return None
        fields = tuple(_FIELD.findall(words[1]))
        numbers = fields[len(fields) - sizes :]
        if not counts[0] <= len(fields) <= counts[1] or not all(map(_is_size, numbers)):
            return None
        if sizes == 2 and int(numbers[0]) > int(numbers[1]):
            return None
        self._body = int(numbers[-1]) + 2 if sizes else 0
        return Frame(name, fields)

    def _look_into(self, frame: Frame, data: bytes, start: int, end: int) -> tuple[Frame, int]:
        """The frame with the first bytes of its payload, if they matter; where its head ends, come or not."""
        if self._body <= 0 or not frame.fields[0].startswith(self._telling):
            return frame, end
        headers = int(frame.fields[-2]) if self._lines[frame.verb][1] == 2 else 0
        size = min(headers + BODY_BYTES, int(frame.fields[-1]))
        if end - start + size > HEAD_BYTES_MAX:
            return frame, end
        self._body -= size
        return attrs.evolve(frame, body=data[end + headers : end + size]), end + size

    def _continue(self, data: bytes, start: int, pieces: list[Piece]) -> int:
        """More of a frame that has begun; returns where it ends, or the data."""
        if self._body < 0:
            found = data.find(b"\n", start) + 1
            end, last = found or len(data), found > 0
        else:
            end = min(start + self._body, len(data))
            if not self._ends_well(data, start, end):
                self.lost, self._frame = True, None
                return start
            self._body -= end - start
            last = not self._body
        pieces.append(Piece(self._frame, data[start:end], first=False, last=last))
        if last:
            self._frame = None
        return end

    def _ends_well(self, data: bytes, start: int, end: int) -> bool:
        """Whether CR LF is where it should be, as far as these bytes reach."""
        behind = data[max(start, start + self._body - 2) : end]
        return behind == b"\r\n"[2 - min(2, self._body) :][: len(behind)]


def _is_size(field: bytes) -> bool:
    return field.isdigit() and len(field) <= _SIZE_DIGITS_MAX


def split_to_server() -> Splitter:
    """For what a client sends."""
    return Splitter(_TO_SERVER, (b"CONNECT", b"PING", b"PONG"), (b"$JS.ACK.",))


def split_to_client() -> Splitter:
    """For what a server sends."""
    return Splitter(_TO_CLIENT, (b"INFO", b"PING", b"PONG", b"+OK", b"-ERR"))
