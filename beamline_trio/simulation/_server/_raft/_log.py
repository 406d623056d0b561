"""The log of one member: entries by index, behind what a snapshot stands for.

Terms and data are kept apart: the garbage collector does not walk through hundreds of thousands of entries then.

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
        self._terms = [entry.term for entry in entries]
        self._data = [entry.data for entry in entries]

    def __len__(self) -> int:
        return len(self._data)

    @property
    def last_index(self) -> int:
        """Of the last entry."""
        return self.base_index + len(self._data)

    @property
    def last_term(self) -> int:
        """Of the last entry."""
        return self._terms[-1] if self._terms else self.base_term

    def term_at(self, index: int) -> int | None:
        """The term of an entry; None when it is not there, or only in the snapshot."""
        if index == self.base_index:
            return self.base_term
        at = index - self.base_index - 1
        return self._terms[at] if 0 <= at < len(self._terms) else None

    def data_at(self, index: int) -> bytes:
        """The data of an entry that is there."""
        return self._data[index - self.base_index - 1]

    def entries_from(self, index: int, count: int, size: int) -> list[Entry]:
        """Entries from an index on: at most so many, and one or so many bytes."""
        at = index - self.base_index - 1
        chosen = self._data[at : at + count]
        if len(chosen) == 1:
            return [Entry(self._terms[at], chosen[0])]
        total = 0
        for number, data in enumerate(chosen):
            total += len(data)
            if number and total > size:
                chosen = chosen[:number]
                break
        return [Entry(*entry) for entry in zip(self._terms[at : at + len(chosen)], chosen, strict=True)]

    def append(self, entry: Entry) -> int:
        """Put an entry behind the others; its index."""
        self._terms.append(entry.term)
        self._data.append(entry.data)
        return self.base_index + len(self._data)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Put entries behind the others."""
        self._terms.extend(entry.term for entry in entries)
        self._data.extend(entry.data for entry in entries)

    def cut(self, last: int) -> None:
        """Forget what is behind an index."""
        self._delete(slice(max(last - self.base_index, 0), None))

    def compact(self, index: int) -> None:
        """Forget the entries up to an index, which are in a snapshot."""
        term = self.term_at(index)
        if term is None or index <= self.base_index:
            return
        self._delete(slice(index - self.base_index))
        self.base_index, self.base_term = index, term

    def restart(self, index: int, term: int) -> None:
        """Everything up to an index came as a snapshot; what is behind it stays if it is of the same history."""
        if self.term_at(index) == term:
            self.compact(index)
            return
        self._delete(slice(None))
        self.base_index, self.base_term = index, term

    def _delete(self, which: slice) -> None:
        del self._terms[which], self._data[which]
