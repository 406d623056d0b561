"""Client operations out of a byte stream, as nats-server 2.15 reads them.

Its parser steps through a table byte by byte, and some of what it accepts follows from that alone: `PINGx` is a PING,
`CONNECT{}` needs no space, a line may end in a bare LF, a CR within a line is skipped when the line came in two pieces
and else costs the last byte before LF. An error is found at the first byte that no operation can go on with, so half a
line may already be one. `OperationReader` behaves the same for every way to cut the stream; whole lines go a quick way.

Must not know what the operations do, and shares no code with the client's parser, whose mistakes it would repeat.
"""

from __future__ import annotations

import enum
import re
from typing import Final, Protocol

from ._texts import MAXIMUM_CONTROL_LINE, UNKNOWN_OPERATION

_CR: Final = 13
_LF: Final = 10
_BLANKS: Final = b" \t"
_SIZE_DIGITS_MAX: Final = 9


class ProtocolViolation(Exception):  # noqa: N818 - the server's own word for it
    """The client sent what ends its connection.

    Attributes:
        text: of the -ERR; None = it is closed without a word.
        control_line: the line was too long, which is a reason of its own.
    """

    def __init__(self, text: bytes | None = None, *, control_line: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.control_line = control_line


class Operations(Protocol):
    """What is done with the operations; each may raise ProtocolViolation."""

    def begin(self) -> None:
        """An operation other than CONNECT begins, and the reader is guarded."""
        ...

    def connect(self, argument: bytes) -> None: ...
    def info(self, argument: bytes) -> None: ...
    def error(self) -> None: ...
    def ping(self) -> None: ...
    def pong(self) -> None: ...
    def subscribe(self, argument: bytes) -> None: ...
    def unsubscribe(self, argument: bytes) -> None: ...

    def publish(self, argument: bytes) -> int:
        """The line of a PUB; returns how long its payload is."""
        ...

    def publish_with_headers(self, argument: bytes) -> int:
        """The line of an HPUB; returns how long its headers and payload are together."""
        ...

    def message_line(self) -> int:
        """The line of an HMSG, which is no client's business and passes all the same."""
        ...

    def interrupted(self) -> None:
        """The payload was not there with its line: the line is gone through once more, as the server does."""
        ...

    def message(self, data: bytes) -> None:
        """A whole message: headers, payload and CRLF."""
        ...


class _Verb(enum.IntEnum):
    """In the order of the groups of `_HEAD`."""

    PUB = 1
    HPUB = 2
    SUB = 3
    UNSUB = 4
    ERROR = 5
    HMSG = 6
    CONNECT = 7
    INFO = 8
    PING = 9
    PONG = 10
    OK = 11


class _State(enum.IntEnum):
    START = 0
    VERB = 1
    BLANK = 2  # a verb is complete, and one blank must come
    BLANKS = 3  # any number of blanks, then the argument
    ARGUMENT = 4
    TAIL = 5  # anything up to LF
    PAYLOAD = 6


# A whole verb with what parts it from its argument, and the first byte of that, which is not looked at.
_HEAD: Final = re.compile(
    rb"(?i:(?:(PUB)|(HPUB)|(SUB)|(UNSUB)|(-ERR)|(HMSG))[ \t]+(?=[^ \t])|(?:(CONNECT)|(INFO))[ \t]*(?=[^ \t])"
    rb"|(?:(PING)|(PONG)|(\+OK))[^\n]*\n)"
)
_NAMES: Final = {
    b"PUB": _Verb.PUB,
    b"HPUB": _Verb.HPUB,
    b"SUB": _Verb.SUB,
    b"UNSUB": _Verb.UNSUB,
    b"-ERR": _Verb.ERROR,
    b"HMSG": _Verb.HMSG,
    b"CONNECT": _Verb.CONNECT,
    b"INFO": _Verb.INFO,
    b"PING": _Verb.PING,
    b"PONG": _Verb.PONG,
    b"+OK": _Verb.OK,
}
_BEGINNINGS: Final = frozenset(name[:length] for name in _NAMES for length in range(1, len(name)))


class OperationReader:
    """The reading half of a client's connection.

    Args:
        operations: what is done with what is read.
        control_line_max: see the attribute.

    Attributes:
        guarded: `begin` is called before each operation that is not a CONNECT.
        control_line_max: how long an argument may be.
    """

    def __init__(self, operations: Operations, control_line_max: int) -> None:
        self.guarded = False
        self._operations = operations
        self.control_line_max = control_line_max
        self._state = _State.START
        self._verb = _Verb.PUB
        self._name = b""  # of a verb that is not complete
        self._argument: bytes | None = None  # of a line that is not complete
        self._size = 0
        self._pieces: list[bytes] = []  # of a message that is not complete
        self._have = 0

    def read(self, data: bytes) -> None:
        """Take the next bytes and carry out the operations in them.

        Raises:
            ProtocolViolation: the stream cannot be read any further; what came before was carried out.
        """
        at, end = 0, len(data)
        while at < end:
            if self._state is _State.START:
                at = self._start(data, at)
            elif self._state is _State.PAYLOAD:
                at = self._payload_goes_on(data, at)
            elif self._state is _State.ARGUMENT:
                at = self._argument_goes_on(data, at)
            else:
                at = self._verb_goes_on(data, at)

    def _start(self, data: bytes, at: int) -> int:
        if self.guarded and data[at] not in b"Cc":
            self._operations.begin()
        head = _HEAD.match(data, at)
        if head is None:
            self._state, self._name = _State.VERB, b""
            return at
        verb = head.lastindex
        at = head.end()
        if verb == _Verb.PUB:
            # The hot path: everything of a message is there.
            newline = data.find(b"\n", at + 1)
            if newline > at + 1 and data[newline - 1] == _CR and newline - at <= self.control_line_max:
                self._verb = _Verb.PUB
                return self._payload(data, newline + 1, self._operations.publish(data[at : newline - 1]))
            return self._argument_starts(data, at, _Verb.PUB)
        self._verb = _Verb(verb or 0)
        if self._verb >= _Verb.PING:
            self._line_without_argument()
            return at
        return self._argument_starts(data, at, self._verb)

    def _verb_goes_on(self, data: bytes, at: int) -> int:
        """One step of the slow way: an incomplete or unknown verb, or what follows it."""
        byte = data[at : at + 1]
        if self._state is _State.TAIL:
            newline = data.find(b"\n", at)
            if newline < 0:
                return len(data)
            self._state = _State.START
            self._line_without_argument()
            return newline + 1
        if self._state is _State.VERB:
            self._name += byte.upper()
            verb = _NAMES.get(self._name)
            if verb is not None:
                self._verb, self._state = verb, _after(verb)
            elif self._name not in _BEGINNINGS:
                raise ProtocolViolation(UNKNOWN_OPERATION)
            return at + 1
        if byte in (b" ", b"\t"):
            self._state = _State.BLANKS
            return at + 1
        if self._state is _State.BLANK:
            raise ProtocolViolation(UNKNOWN_OPERATION)
        return self._argument_starts(data, at, self._verb)

    def _argument_starts(self, data: bytes, at: int, verb: _Verb) -> int:
        """`at` is its first byte, which is part of it whatever it is."""
        self._verb = verb
        newline = data.find(b"\n", at + 1)
        end = len(data) if newline < 0 else newline
        argument = data[at : end - 1] if data.find(b"\r", at + 1, end) >= 0 else data[at:end]
        if newline >= 0:
            return self._line(data, newline + 1, argument)
        self._check_length(argument)
        self._state, self._argument = _State.ARGUMENT, argument
        return end

    def _argument_goes_on(self, data: bytes, at: int) -> int:
        newline = data.find(b"\n", at)
        end = len(data) if newline < 0 else newline
        argument = (self._argument or b"") + data[at:end].replace(b"\r", b"")
        if newline >= 0:
            self._argument = None
            return self._line(data, newline + 1, argument)
        self._check_length(argument)
        self._argument = argument
        return end

    def _check_length(self, argument: bytes) -> None:
        if len(argument) > self.control_line_max:
            raise ProtocolViolation(MAXIMUM_CONTROL_LINE, control_line=True)

    def _line(self, data: bytes, at: int, argument: bytes) -> int:
        self._check_length(argument)
        self._state = _State.START
        operations, verb = self._operations, self._verb
        if verb is _Verb.PUB:
            return self._payload(data, at, operations.publish(argument))
        if verb is _Verb.HPUB:
            return self._payload(data, at, operations.publish_with_headers(argument))
        if verb is _Verb.SUB:
            operations.subscribe(argument)
        elif verb is _Verb.UNSUB:
            operations.unsubscribe(argument)
        elif verb is _Verb.CONNECT:
            operations.connect(argument)
        elif verb is _Verb.INFO:
            operations.info(argument)
        elif verb is _Verb.HMSG:
            return self._payload(data, at, operations.message_line())
        else:
            operations.error()
        return at

    def _line_without_argument(self) -> None:
        if self._verb is _Verb.PING:
            self._operations.ping()
        elif self._verb is _Verb.PONG:
            self._operations.pong()

    def _payload(self, data: bytes, at: int, size: int) -> int:
        end = at + size + 2
        if end <= len(data):
            if data[end - 2] != _CR or data[end - 1] != _LF:
                raise ProtocolViolation(UNKNOWN_OPERATION)
            self._operations.message(data[at:end])
            return end
        self._state, self._size = _State.PAYLOAD, size
        self._pieces, self._have = [], 0
        at = self._take(data, at)
        self._operations.interrupted()
        return at

    def _payload_goes_on(self, data: bytes, at: int) -> int:
        at = self._take(data, at)
        if self._have == self._size + 2:
            self._state = _State.START
            message, self._pieces = b"".join(self._pieces), []
            self._operations.message(message)
        return at

    def _take(self, data: bytes, at: int) -> int:
        """Take what belongs to the message; the two bytes behind it are checked as they come."""
        piece = data[at : at + self._size + 2 - self._have]
        for offset, wanted in ((self._size, _CR), (self._size + 1, _LF)):
            index = offset - self._have
            if 0 <= index < len(piece) and piece[index] != wanted:
                raise ProtocolViolation(UNKNOWN_OPERATION)
        self._pieces.append(piece)
        self._have += len(piece)
        return at + len(piece)


def _after(verb: _Verb) -> _State:
    if verb >= _Verb.PING:
        return _State.TAIL
    return _State.BLANKS if verb in (_Verb.CONNECT, _Verb.INFO) else _State.BLANK


def parse_size(text: bytes) -> int:
    """A number of up to nine digits, or -1."""
    return int(text) if len(text) <= _SIZE_DIGITS_MAX and text.isdigit() else -1


def split_publish(argument: bytes) -> list[bytes]:
    """The fields of a PUB or HPUB: parted by spaces and tabs."""
    fields = argument.split(b" ")
    if b"" in fields or b"\t" in argument:
        return [field for field in argument.replace(b"\t", b" ").split(b" ") if field]
    return fields


def split_words(argument: bytes) -> list[bytes]:
    """The fields of a SUB or UNSUB: a CR or LF among them parts them too."""
    for byte in (b"\t", b"\r", b"\n"):
        argument = argument.replace(byte, b" ")
    return [field for field in argument.split(b" ") if field]
