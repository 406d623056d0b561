"""The log of one member: entries by index, behind what a snapshot stands for.

Must not know who wrote them, nor whether they are committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """One entry; without data it only says that a leader has begun."""

    term: int
    data: bytes


class Log:
    """Entries from `base_index` + 1 on.

    Attributes:
        base_index: everything up to here is in the snapshot.
        base_term: of the entry there.
    """

    def __init__(self, base_index: int = 0, base_term: int = 0, entries: Sequence[Entry] = ()) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self._entries = list(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last_index(self) -> int:
        """Of the last entry."""
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        """Of the last entry."""
        return self._entries[-1].term if self._entries else self.base_term

    def term_at(self, index: int) -> int | None:
        """The term of an entry; None when it is not there, or only in the snapshot."""
        if index == self.base_index:
            return self.base_term
        at = index - self.base_index - 1
        return self._entries[at].term if 0 <= at < len(self._entries) else None

    def entry(self, index: int) -> Entry:
        """An entry that is there."""
        return self._entries[index - self.base_index - 1]

    def entries_from(self, index: int, count: int, size: int) -> list[Entry]:
        """Entries from an index on: at most so many, and one or so many bytes."""
        at = index - self.base_index - 1
        chosen = self._entries[at : at + count]
        total = 0
        for number, entry in enumerate(chosen):
            total += len(entry.data)
            if number and total > size:
                return chosen[:number]
        return chosen

    def append(self, entry: Entry) -> int:
        """Put an entry behind the others; its index."""
        self._entries.append(entry)
        return self.base_index + len(self._entries)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Put entries behind the others."""
        self._entries.extend(entries)

    def cut(self, last: int) -> None:
        """Forget what is behind an index."""
        del self._entries[max(last - self.base_index, 0) :]

    def compact(self, index: int) -> None:
        """Forget the entries up to an index, which are in a snapshot."""
        term = self.term_at(index)
        if term is None or index <= self.base_index:
            return
        del self._entries[: index - self.base_index]
        self.base_index, self.base_term = index, term

    def restart(self, index: int, term: int) -> None:
        """Everything up to an index came as a snapshot; what is behind it stays if it is of the same history."""
        if self.term_at(index) == term:
            self.compact(index)
            return
        self._entries.clear()
        self.base_index, self.base_term = index, term
