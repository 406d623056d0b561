r"""What the members of a group tell each other, and how it is written between servers.

Each message is a line of words, and behind it the entries, or a piece of a snapshot:

    A <term> <previous index> <previous term> <commit> <count>\n  (<term> <size>\n <data>)*     the leader appends
    a <term> <0|1> <index> <previous>\n                                            up to where it agrees, or not
    C <term> <commit>\n                                                            the leader has committed
    V <term> <last index> <last term>\n        v <term> <0|1>\n                        a candidate asks for a vote
    S <term> <index> <index term> <offset> <size>\n <data>     s <term> <index> <offset>\n      a piece of a snapshot
    D <term> <next leader or ->\n                                                        the leader steps down
    F <term>\n <data>                                             a member asks the leader to propose something

The classes are not frozen: one is made for each message of a run of hours, and a frozen one costs three times as much.

Must not decide anything, and nobody changes a message.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ._log import Entry


@attrs.define
class Append:
    """The leader's entries behind `previous_index`, and how far it has committed; without entries, a heartbeat."""

    term: int
    previous_index: int
    previous_term: int
    commit: int
    entries: tuple[Entry, ...] = ()


@attrs.define
class Appended:
    """Whether the member agrees with the leader up to `index`; if not at `previous`, where it may be tried again."""

    term: int
    agrees: bool
    index: int
    previous: int = 0


@attrs.define
class Commit:
    """The leader has committed up to an index."""

    term: int
    commit: int


@attrs.define
class Vote:
    """A candidate asks for a vote."""

    term: int
    last_index: int
    last_term: int


@attrs.define
class Voted:
    """Whether the vote is given."""

    term: int
    granted: bool


@attrs.define
class Snapshot:
    """A piece of the state at `index`, from `offset` on; `size` is that of the whole."""

    term: int
    index: int
    index_term: int
    offset: int
    size: int
    data: bytes


@attrs.define
class Received:
    """How much of a snapshot has come."""

    term: int
    index: int
    offset: int


@attrs.define
class StepDown:
    """The leader steps down, and wants this one to lead; empty = whoever comes first."""

    term: int
    following: str


@attrs.define
class Forward:
    """What a member wants the leader to propose."""

    term: int
    data: bytes


Message: TypeAlias = Append | Appended | Commit | Vote | Voted | Snapshot | Received | StepDown | Forward


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    match message:
        case Append():
            entries = message.entries
            fields = (message.term, message.previous_index, message.previous_term, message.commit, len(entries))
            if len(entries) == 1:
                entry = entries[0]
                return b"A %d %d %d %d %d\n%d %d\n%b" % (*fields, entry.term, len(entry.data), entry.data)
            parts = [b"A %d %d %d %d %d\n" % fields]
            for entry in entries:
                parts.append(b"%d %d\n" % (entry.term, len(entry.data)))
                parts.append(entry.data)
            return b"".join(parts)
        case Appended():
            return b"a %d %d %d %d\n" % (message.term, message.agrees, message.index, message.previous)
        case Commit():
            return b"C %d %d\n" % (message.term, message.commit)
        case Vote():
            return b"V %d %d %d\n" % (message.term, message.last_index, message.last_term)
        case Voted():
            return b"v %d %d\n" % (message.term, message.granted)
        case Snapshot():
            numbers = (message.term, message.index, message.index_term, message.offset, message.size)
            return b"S %d %d %d %d %d\n%b" % (*numbers, message.data)
        case Received():
            return b"s %d %d %d\n" % (message.term, message.index, message.offset)
        case StepDown():
            return b"D %d %b\n" % (message.term, message.following.encode() or b"-")
        case Forward():
            return b"F %d\n%b" % (message.term, message.data)


def decode(data: bytes) -> Message:
    """The message of bytes that `encode` made."""
    end = data.index(b"\n")
    kind, words = data[:1], data[2:end].split(b" ")
    # The most frequent first.
    if kind == b"A":
        term, index, index_term, commit, count = map(int, words)
        return Append(term, index, index_term, commit, _entries(data, end + 1, count) if count else ())
    if kind == b"a":
        term, agrees, index, previous = map(int, words)
        return Appended(term, bool(agrees), index, previous)
    if kind == b"C":
        term, commit = map(int, words)
        return Commit(term, commit)
    rest = data[end + 1 :]
    match kind:
        case b"D":
            return StepDown(int(words[0]), "" if words[1] == b"-" else words[1].decode())
        case b"V":
            return Vote(*map(int, words))
        case b"v":
            return Voted(int(words[0]), bool(int(words[1])))
        case b"S":
            term, index, index_term, offset, size = map(int, words)
            return Snapshot(term, index, index_term, offset, size, rest)
        case b"s":
            return Received(*map(int, words))
        case _:
            return Forward(int(words[0]), rest)


def _entries(data: bytes, at: int, count: int) -> tuple[Entry, ...]:
    entries = []
    for _ in range(count):
        end = data.index(b"\n", at)
        term, size = data[at:end].split(b" ")
        at = end + 1 + int(size)
        entries.append(Entry(int(term), data[end + 1 : at]))
    return tuple(entries)
