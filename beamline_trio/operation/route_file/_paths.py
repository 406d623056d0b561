"""Paths: where in a message a value is.

    payload, payload.customer.id, payload.items.0, payload."a.b"    the payload, or what is within its JSON
    subject, subject.1                                              the whole subject, or one of its tokens from 1 on
    headers.Tenant                                                  the first value of a header
    stream, sequence, deliveries                                    where in its stream it is, and its which delivery

A path only looks: it calls nothing, and reaches no attribute of anything.

Must not know templates.
"""

from __future__ import annotations

import re
from typing import Any, Final

import attrs

from ...protocol import Headers
from ._errors import MappingError

ROOTS: Final = ("payload", "subject", "headers", "stream", "sequence", "deliveries")
_PART: Final = re.compile(r'"((?:[^"\\]|\\["\\])+)"|([^\s."\'{}?]+)')
_PLAIN: Final = ("stream", "sequence", "deliveries")
_INDEX: Final = re.compile(r"0|[1-9]\d{0,8}")


@attrs.frozen(kw_only=True)
class Input:
    """What a mapping sees of a message.

    Attributes:
        payload: bytes, text, or a value of JSON.
        subject: the subject it came by.
        headers: its headers.
        stream: its stream, or None on a core route.
        sequence: its sequence there, or None.
        deliveries: which delivery this is; 1 is the first.
    """

    payload: Any
    subject: str
    headers: Headers
    stream: str | None = None
    sequence: int | None = None
    deliveries: int = 1


@attrs.frozen
class Path:
    """A path that was checked.

    Attributes:
        text: as it was written.
        parts: its parts; the first is of ROOTS.
    """

    text: str
    parts: tuple[str, ...]

    @property
    def root(self) -> str:
        """What it begins with."""
        return self.parts[0]

    @property
    def is_within_payload(self) -> bool:
        """Whether it looks into the JSON of the payload."""
        return self.root == "payload" and len(self.parts) > 1

    def find(self, source: Input) -> Any:
        """The value.

        Raises:
            MappingError: the message has no such value.
        """
        if self.root == "payload":
            return self._within(source.payload)
        if self.root == "headers":
            value: Any = source.headers.get(self.parts[1])
        elif self.root == "subject" and len(self.parts) > 1:
            tokens = source.subject.split(".")
            index = int(self.parts[1])
            value = tokens[index - 1] if index <= len(tokens) else None
        else:
            value = getattr(source, self.root)
        if value is None:
            raise MappingError(f"the message has no {self.text}")
        return value

    def _within(self, value: Any) -> Any:
        for part in self.parts[1:]:
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
                value = value[int(part)]
            else:
                raise MappingError(f"the message has no {self.text}")
        return value


def parse_path(text: str) -> Path:
    """Read a path.

    Raises:
        ValueError: it is none; the text says why.
    """
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is no path; write it as payload.customer.id, headers.Tenant or subject.1")
        parts.append(re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2])
        position = match.end()
        if position == len(text):
            break
        if text[position] != ".":
            raise ValueError(f"{text!r} is no path: there must be a dot behind {text[:position]!r}")
        position += 1
    _check(text, parts)
    return Path(text, tuple(parts))


def _check(text: str, parts: list[str]) -> None:
    root, rest = parts[0], parts[1:]
    if root not in ROOTS:
        raise ValueError(f"{text!r} begins with {root!r}; a path begins with one of {', '.join(ROOTS)}")
    if root in _PLAIN and rest:
        raise ValueError(f"{text!r} goes on behind {root}, which has nothing within")
    if root == "headers" and len(rest) != 1:
        raise ValueError(f"{text!r} names no header; write headers.NAME")
    if root == "subject" and rest and (len(rest) > 1 or not _INDEX.fullmatch(rest[0]) or rest == ["0"]):
        raise ValueError(f"{text!r} names no token of the subject; write subject.1 for the first")
