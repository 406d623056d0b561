"""What happened, in order: tuples while the run lasts, JSON lines and their SHA-256 afterwards.

A line is {"seq", "at", "host", "kind", "fields"}: `at` is virtual time in integer microseconds, and the fields are
sorted, so that one run has one text. Memory is bounded: older entries are rendered into the digest (and into a file, if
there is one) and dropped, and only the tail stays.

Must not know what the entries mean.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as _text
from pathlib import Path
from typing import Final, TextIO, TypeAlias

FieldValue: TypeAlias = str | int | float | bool | None
_Entry: TypeAlias = tuple[float, str, str, dict[str, FieldValue]]

# How many entries wait to be rendered; a few MB.
_FOLD_AT: Final = 20_000
TAIL_LINES: Final = 400


class Trace:
    """The trace of one run.

    Args:
        now: the virtual time in seconds.
        file: where every line goes; None = only the digest and the tail are kept.

    Attributes:
        stopped: nothing is noted any more; who would have to compute something for a note need not.
        folded: entries that were rendered already.
    """

    def __init__(self, now: Callable[[], float], file: Path | None = None) -> None:
        self._now = now
        self._entries: list[_Entry] = []
        self._digest = hashlib.sha256()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._file: TextIO | None = None if file is None else file.open("w", encoding="utf-8", newline="\n")
        self.stopped = False
        self.folded = 0

    def add(self, host: str, kind: str, **fields: FieldValue) -> None:
        """Note what happened now.

        Args:
            host: where.
            kind: what; one word.
            fields: particulars. No addresses of objects, and nothing whose order depends on hashes.
        """
        if self.stopped:
            return
        self._entries.append((self._now(), host, kind, fields))
        if len(self._entries) >= _FOLD_AT:
            self._fold()

    def stop(self) -> None:
        """Note nothing from now on: in a run of hours that nobody compares, notes are a fifth of what it costs."""
        self.stopped = True

    @property
    def count(self) -> int:
        """How many entries there are."""
        return self.folded + len(self._entries)

    def tail(self, most: int = 20) -> list[str]:
        """The last lines."""
        self._fold()
        return list(self._tail)[-most:]

    def digest(self) -> str:
        """SHA-256 of all lines, in hexadecimal."""
        self._fold()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Write what is left to the file and close it. The digest and the tail stay readable."""
        self._fold()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _fold(self) -> None:
        if not self._entries:
            return
        lines = [_line(self.folded + index, entry) for index, entry in enumerate(self._entries)]
        self.folded += len(lines)
        self._entries.clear()
        self._tail.extend(lines[-TAIL_LINES:])
        text = "".join([line + "\n" for line in lines])
        self._digest.update(text.encode())
        if self._file is not None:
            self._file.write(text)


def first_difference(one: Iterable[str], other: Iterable[str]) -> tuple[int, str | None, str | None] | None:
    """Where two traces part: the number of the line (from 1) and both lines, None for one that has ended.

    Returns None when they are equal.
    """
    left, right = iter(one), iter(other)
    number = 0
    while True:
        number += 1
        a, b = next(left, None), next(right, None)
        if a != b:
            return number, a, b
        if a is None:
            return None


def _line(seq: int, entry: _Entry) -> str:
    at, host, kind, fields = entry
    # By hand: the encoder of json takes three times as long, for every line of a long run.
    inner = ",".join([f"{_text(name)}:{_value(fields[name])}" for name in sorted(fields)])
    return (
        f'{{"at":{round(at * 1_000_000)},"fields":{{{inner}}},"host":{_text(host)},"kind":{_text(kind)},"seq":{seq}}}'
    )


def _value(value: FieldValue) -> str:
    if type(value) is int:
        return str(value)
    return _text(value) if type(value) is str else json.dumps(value)
