"""The messages of a stream: stored by sequence, found by subject, and limited in number, bytes and age.

What a file stream has here is what its file has; a killed process loses nothing of it. The sizes are those of the
server's records, since `max_bytes` and the reported bytes count them.

Must not know consumers: `removed` is told of each message that goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from .._subjects import has_wildcard, is_subset
from ._golang import SECOND, timestamp
from ._headers import is_marker
from ._stream_config import StreamConfig

_FILE_RECORD_BYTES: Final = 30
_FILE_HEADER_BYTES: Final = 4
_MEMORY_RECORD_BYTES: Final = 16


class StoreFullError(Exception):
    """The limits do not let a message in, and the stream discards new ones."""


class StoredMessage:
    """One message of a stream.

    Attributes:
        time: nanoseconds since the epoch, when it was stored.
        expires: nanoseconds since the epoch, by its own TTL; 0 = it has none, -1 = not even by the stream's age.
        size: bytes of its record.
    """

    __slots__ = ("expires", "header", "payload", "sequence", "size", "subject", "time")

    def __init__(
        self, sequence: int, subject: bytes, header: bytes, payload: bytes, time: int, expires: int, size: int
    ) -> None:
        self.sequence = sequence
        self.subject = subject
        self.header = header
        self.payload = payload
        self.time = time
        self.expires = expires
        self.size = size


class Messages:
    """The store of one stream.

    Args:
        config: whose limits hold.

    Attributes:
        removed: told of every message that is removed.
        last_sequence: of the last message that was ever stored.
        last_time: when that was.
        bytes: of all records.
    """

    def __init__(self, config: StreamConfig) -> None:
        self.config = config
        self.removed: Callable[[StoredMessage], None] | None = None
        self._by_sequence: dict[int, StoredMessage] = {}
        self._by_subject: dict[bytes, dict[int, None]] = {}
        self._expiring: list[tuple[int, int]] = []
        self._first = config.first_seq
        self.last_sequence = max(config.first_seq - 1, 0)
        self.last_time = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._by_sequence)

    def __iter__(self) -> Iterator[StoredMessage]:
        return iter(self._by_sequence.values())

    @property
    def first_sequence(self) -> int:
        """Of the first message that is there; when there is none, of the next one, or 0 if there never was one."""
        return self._first

    @property
    def subjects(self) -> dict[bytes, int]:
        """How many messages each subject has."""
        return {subject: len(sequences) for subject, sequences in self._by_subject.items()}

    def copy(self) -> Messages:
        """What is there now; the messages are shared."""
        other = Messages(self.config)
        other._by_sequence = dict(self._by_sequence)
        other._by_subject = {subject: dict(sequences) for subject, sequences in self._by_subject.items()}
        other._expiring = list(self._expiring)
        other._first, other.last_sequence, other.last_time = self._first, self.last_sequence, self.last_time
        other.bytes = self.bytes
        return other

    @classmethod
    def restored(cls, config: StreamConfig, found: Iterable[StoredMessage], place: Sequence[int]) -> Messages:
        """Those messages, at the `place` of the store that they come from."""
        messages = cls(config)
        for message in found:
            messages._by_sequence[message.sequence] = message
            messages._by_subject.setdefault(message.subject, {})[message.sequence] = None
            messages.bytes += message.size
            if message.expires > 0:
                heappush(messages._expiring, (message.expires, message.sequence))
        messages._first, messages.last_sequence, messages.last_time = place
        return messages

    def place(self) -> tuple[int, int, int]:
        """Where it begins and ends: what its messages alone do not tell."""
        return self._first, self.last_sequence, self.last_time

    # --------------------------------------------------------------------------------------------------- reading

    def get(self, sequence: int) -> StoredMessage | None:
        """The message of a sequence."""
        return self._by_sequence.get(sequence)

    def next(self, sequence: int, filters: tuple[bytes, ...] = ()) -> StoredMessage | None:
        """The first message from this sequence on that meets a filter."""
        messages = self._by_sequence
        for at in range(max(sequence, self.first_sequence), self.last_sequence + 1):
            message = messages.get(at)
            if message is not None and (not filters or meets(message.subject, filters)):
                return message
        return None

    def last_of(self, subject: bytes) -> StoredMessage | None:
        """The last message on a subject, which may be a pattern."""
        last = 0
        for one in self.matching(subject):
            last = max(last, next(reversed(self._by_subject[one])))
        return self._by_sequence.get(last)

    def matching(self, pattern: bytes) -> list[bytes]:
        """The subjects that meet a pattern."""
        if not has_wildcard(pattern):
            return [pattern] if pattern in self._by_subject else []
        return [subject for subject in self._by_subject if is_subset(subject, pattern)]

    def count_from(self, sequence: int, filters: tuple[bytes, ...]) -> int:
        """How many messages there are from this sequence on that meet a filter."""
        if sequence <= self.first_sequence and not filters:
            return len(self._by_sequence)
        return sum(
            1
            for message in self._by_sequence.values()
            if message.sequence >= sequence and (not filters or meets(message.subject, filters))
        )

    def sequence_at(self, time: int) -> int:
        """Of the first message that is not older than this moment; behind the last one if all are."""
        for message in self._by_sequence.values():
            if message.time >= time:
                return message.sequence
        return self.last_sequence + 1

    def deleted(self) -> list[int]:
        """The sequences between the first and the last that are not there."""
        if not self._by_sequence:
            return []
        return [at for at in range(self.first_sequence, self.last_sequence + 1) if at not in self._by_sequence]

    def state(self) -> dict[str, Any]:
        """As it stands in a reply, without what is said of consumers and subjects."""
        first = self._by_sequence.get(self.first_sequence)
        state: dict[str, Any] = {
            "messages": len(self._by_sequence),
            "bytes": self.bytes,
            "first_seq": self.first_sequence,
            "first_ts": timestamp(0 if first is None else first.time),
            "last_seq": self.last_sequence,
            "last_ts": timestamp(self.last_time),
        }
        if self._by_subject:
            state["num_subjects"] = len(self._by_subject)
        return state

    # --------------------------------------------------------------------------------------------------- storing

    def store(self, subject: bytes, header: bytes, payload: bytes, time: int, ttl_seconds: int) -> StoredMessage:
        """Store a message, and remove those that the limits leave no room for.

        Raises:
            StoreFullError: the stream discards new messages, and there is no room.
        """
        size = self._size(subject, header, payload)
        replaced = self._check_room(subject, size) if self.config.discard == "new" else None
        sequence = self.last_sequence + 1
        expires = time + ttl_seconds * SECOND if ttl_seconds > 0 else ttl_seconds
        message = StoredMessage(sequence, subject, header, payload, time, expires, size)
        if not self._by_sequence:
            self._first = sequence
        self._by_sequence[sequence] = message
        self._by_subject.setdefault(subject, {})[sequence] = None
        self.bytes += size
        self.last_sequence, self.last_time = sequence, time
        if expires > 0:
            heappush(self._expiring, (expires, sequence))
        if replaced is not None:
            self.remove(replaced)
        self.enforce(subject)
        return message

    def skip_to(self, sequence: int) -> None:
        """The next message is to have this sequence, which is higher than all so far."""
        self.last_sequence = sequence - 1
        if not self._by_sequence:
            self._first = sequence

    def skip(self, time: int) -> int:
        """Use up a sequence without a message; which one."""
        self.last_sequence += 1
        self.last_time = time
        if not self._by_sequence:
            self._first = self.last_sequence + 1
        return self.last_sequence

    def enforce(self, subject: bytes | None = None) -> None:
        """Remove what is over the limits: on a subject that was just stored, or on all."""
        config = self.config
        if config.max_msgs_per_subject > 0:
            for one in [subject] if subject is not None else list(self._by_subject):
                while len(self._by_subject.get(one, ())) > config.max_msgs_per_subject:
                    self.remove(next(iter(self._by_subject[one])))
        while 0 < config.max_msgs < len(self._by_sequence):
            self.remove(self.first_sequence)
        while 0 < config.max_bytes < self.bytes:
            self.remove(self.first_sequence)

    def remove(self, sequence: int) -> bool:
        """Remove a message; False when there is none."""
        message = self._by_sequence.pop(sequence, None)
        if message is None:
            return False
        sequences = self._by_subject[message.subject]
        del sequences[sequence]
        if not sequences:
            del self._by_subject[message.subject]
        self.bytes -= message.size
        if sequence == self._first:
            self._first = self._next_sequence(sequence)
        if self.removed is not None:
            self.removed(message)
        return True

    def purge(self, pattern: bytes = b"", below: int = 0, keep: int = 0) -> int:
        """Remove messages; how many.

        Args:
            pattern: only on these subjects; empty = on all.
            below: only before this sequence; 0 = all.
            keep: but so many of the last ones.
        """
        if pattern and b"*" not in pattern and b">" not in pattern:  # as at each change of a key
            found = list(self._by_subject.get(pattern, ()))
        else:
            messages = self._by_sequence.values()
            found = [one.sequence for one in messages if not pattern or is_subset(one.subject, pattern)]
        chosen = [sequence for sequence in found if sequence < below] if below else found
        if keep:
            chosen = chosen[:-keep]
        removed, self.removed = self.removed, None
        for sequence in chosen:
            self.remove(sequence)
        self.removed = removed
        if not pattern and not keep and (not below or below > self.last_sequence + 1):
            self.last_sequence = max(self.last_sequence, below - 1)
            self._first = self.last_sequence + 1
        return len(chosen)

    # -------------------------------------------------------------------------------------------------- expiring

    def next_expiry(self) -> int:
        """When the next message expires; 0 = none does."""
        while self._expiring and self._expiring[0][1] not in self._by_sequence:
            heappop(self._expiring)
        times = [self._expiring[0][0]] if self._expiring else []
        if self.config.max_age:
            first = self._by_sequence.get(self._first)
            if first is not None and first.expires < 0:
                first = next((one for one in self._by_sequence.values() if one.expires >= 0), None)
            if first is not None:
                times.append(first.time + self.config.max_age)
        return min(times, default=0)

    def expire(self, now: int) -> tuple[int, list[StoredMessage]]:
        """Remove what has expired; how many, and those that stay, since a marker is to roll them up."""
        count, marked = 0, []
        for sequence in self._expired(now):
            message = self._by_sequence[sequence]
            if self._leaves_marker(message):
                marked.append(message)
            else:
                count += self.remove(sequence)
        return count, marked

    def expire_again(self, message: StoredMessage) -> None:
        """There was no room for a marker: the message stays for now."""
        if message.expires > 0:
            heappush(self._expiring, (message.expires, message.sequence))

    def _leaves_marker(self, message: StoredMessage) -> bool:
        if not self.config.subject_delete_marker_ttl or len(self._by_subject[message.subject]) > 1:
            return False
        return not is_marker(message.header)

    def _expired(self, now: int) -> list[int]:
        chosen: dict[int, None] = {}
        while self._expiring and self._expiring[0][0] <= now:
            chosen[heappop(self._expiring)[1]] = None
        if self.config.max_age:
            for message in self._by_sequence.values():
                if message.time + self.config.max_age > now:
                    break
                if message.expires >= 0:
                    chosen[message.sequence] = None
        return sorted(sequence for sequence in chosen if sequence in self._by_sequence)

    def _next_sequence(self, sequence: int) -> int:
        at = sequence + 1
        while at <= self.last_sequence and at not in self._by_sequence:
            at += 1
        return at

    def _check_room(self, subject: bytes, size: int) -> int | None:
        """The message that has to go for the new one, if one has to."""
        config, oldest = self.config, None
        sequences = self._by_subject.get(subject)
        if sequences and 0 < config.max_msgs_per_subject <= len(sequences):
            if config.discard_new_per_subject:
                raise StoreFullError("maximum messages per subject exceeded")
            oldest = next(iter(sequences))
        if oldest is None and 0 < config.max_msgs <= len(self._by_sequence):
            raise StoreFullError("maximum messages exceeded")
        if 0 < config.max_bytes < self.bytes + size and (oldest is None or self._by_sequence[oldest].size <= size):
            raise StoreFullError("maximum bytes exceeded")
        return oldest

    def _size(self, subject: bytes, header: bytes, payload: bytes) -> int:
        size = len(subject) + len(header) + len(payload)
        if self.config.storage == "memory":
            return size + _MEMORY_RECORD_BYTES
        return size + _FILE_RECORD_BYTES + (_FILE_HEADER_BYTES if header else 0)


def meets(subject: bytes, filters: tuple[bytes, ...]) -> bool:
    """Whether a subject meets one of the filters."""
    return any(subject == one or is_subset(subject, one) for one in filters)
