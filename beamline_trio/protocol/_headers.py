"""Headers (ADR-4): an ordered list of names and values, and their block on the wire.

Names keep their exact case on the wire, since the server looks its own up by exact case; looking up here takes any
case. A name may have several values. A block may carry a status (`NATS/1.0 503`), with or without a description.

Must not decide what a status means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from ._errors import InvalidHeaderError, ProtocolError

HeadersInput: TypeAlias = "Headers | Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]"

_VERSION = b"NATS/1.0"
_NAME = re.compile(r"[!-9;-~]+\Z")
# Linear by construction: each repetition eats a whole line, and a name ends at the first colon.
_BLOCK = re.compile(rb"NATS/1\.0(?:[ \t]+\d{3}(?:[ \t][^\r\n]*)?|[ \t]*)\r\n(?:[^:\r\n]+:[^\r\n]*\r\n)*\r\n")


class Headers:
    """Ordered headers with several values per name; lookups take any case, the wire keeps the case given.

    `headers[name]` is the first value, `get_all(name)` all of them, iteration gives each distinct name once in order
    of first appearance, `items()` every pair in order.

    Args:
        source: another Headers, a mapping of name to value or to a list of values, or pairs.
        status: the status code of the block (only on messages that the server or a service made), or None.
        description: the text behind the status code.

    Raises:
        InvalidHeaderError: a name is not printable ASCII without colon, or a value has a line break.
        TypeError: a name or a value is not a str.
    """

    __slots__ = ("_items", "description", "status")

    def __init__(self, source: HeadersInput = (), *, status: int | None = None, description: str = "") -> None:
        self._items: list[tuple[str, str]] = []
        self.status = status
        self.description = description
        if isinstance(source, Headers):
            self._items.extend(source._items)
            return
        pairs = cast("Iterable[tuple[str, str | Sequence[str]]]", _pairs(source))
        for name, value in pairs:
            if isinstance(value, str):
                self.add(name, value)
            else:
                for one in _several(name, value):
                    self.add(name, one)

    def add(self, name: str, value: str) -> None:
        """Append a value, behind those the name already has.

        Raises:
            InvalidHeaderError: see the class.
            TypeError: see the class.
        """
        _check(name, value)
        self._items.append((name, value))

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a name in any case, or the default."""
        wanted = name.lower()
        for have, value in self._items:
            if have.lower() == wanted:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """All values of a name in any case, in order; an empty list if there is none."""
        wanted = name.lower()
        return [value for have, value in self._items if have.lower() == wanted]

    def items(self) -> list[tuple[str, str]]:
        """Every pair, in order, names in the case of the wire."""
        return list(self._items)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str | Sequence[str]) -> None:
        values = [value] if isinstance(value, str) else list(value)
        for one in values:
            _check(name, one)
        if name in self:
            del self[name]
        self._items.extend((name, one) for one in values)

    def __delitem__(self, name: str) -> None:
        wanted = name.lower()
        kept = [item for item in self._items if item[0].lower() != wanted]
        if len(kept) == len(self._items):
            raise KeyError(name)
        self._items = kept

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        seen: dict[str, str] = {}
        for name, _ in self._items:
            seen.setdefault(name.lower(), name)
        return iter(seen.values())

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return (self._items, self.status, self.description) == (other._items, other.status, other.description)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        status = f", status={self.status}" if self.status is not None else ""
        return f"Headers({self._items!r}{status})"


def encode_headers(headers: HeadersInput) -> bytes:
    """The block for the wire, with its closing empty line.

    Raises:
        InvalidHeaderError: a name or value cannot be sent.
        TypeError: a name or value is not a str.
    """
    if not isinstance(headers, Headers):
        headers = Headers(headers)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    try:
        return b"NATS/1.0\r\n%b\r\n" % lines.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InvalidHeaderError("a header value is not valid UTF-8 text") from exc


def is_header_block(block: bytes) -> bool:
    """Whether a block from the wire can be decoded."""
    return _BLOCK.fullmatch(block) is not None


def decode_headers(block: bytes) -> Headers:
    """Read a block from the wire; bytes that are not UTF-8 become surrogates, white space around values goes.

    Raises:
        ProtocolError: the block does not start with NATS/1.0, has a line without a colon, or does not end in an
            empty line. Framing survives: the message can be skipped.
    """
    if _BLOCK.fullmatch(block) is None:
        raise ProtocolError(f"malformed header block {block[:64]!r}")
    first, *lines = block[:-4].decode("utf-8", "surrogateescape").split("\r\n")
    headers = Headers()
    inline = first[len(_VERSION) :].strip(" \t")
    if inline:
        headers.status = int(inline[:3])
        headers.description = inline[3:].strip(" \t")
    items = headers._items
    for line in lines:
        name, _, value = line.partition(":")
        items.append((name, value.strip(" \t")))
    return headers


def _pairs(source: Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]) -> object:
    if isinstance(source, Mapping):
        return source.items()
    if not isinstance(source, Iterable):
        raise TypeError(f"headers are a mapping, or pairs of name and value, not {type(source).__name__}")
    pairs = list(source)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"headers are a mapping, or pairs of name and value; {type(pair).__name__} is no such pair")
    return pairs


def _several(name: str, values: object) -> Iterable[str]:
    if not isinstance(values, Iterable) or isinstance(values, (bytes, bytearray, memoryview)):
        raise TypeError(f"the value of header {name} must be a str or several, not {type(values).__name__}")
    return values


def _check(name: str, value: str) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"header names and values are str, not {type(name).__name__} and {type(value).__name__}")
    if _NAME.match(name) is None:
        raise InvalidHeaderError(f"header name {name!a} must be printable ASCII without colon and spaces")
    if "\r" in value or "\n" in value:
        raise InvalidHeaderError(f"the value of header {name} has a line break; headers are single lines")
