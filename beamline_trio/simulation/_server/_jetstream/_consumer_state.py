"""What a consumer has handed out and what of it is acknowledged: numbers, and what is kept of them over a restart.

Must not know time, messages or clients.
"""

from __future__ import annotations

from collections.abc import Callable

from ._golang import SECOND


class ConsumerState:
    """The books of one consumer.

    Attributes:
        next_stream: the stream sequence that is looked at next.
        last_stream: the highest one that was handed out, or was left out at the start.
        next_consumer: the number of the next delivery.
        floor_stream: everything up to here is acknowledged.
        floor_consumer: likewise, as a number of deliveries.
        kept_stream: the floor that is kept and reported: what was given up does not raise it.
        kept_consumer: likewise, as a number of deliveries.
        pending: stream sequence -> the number of its first delivery, and since when it waits, in nanoseconds.
        redelivered: stream sequence -> how often it was delivered again.
    """

    __slots__ = (
        "floor_consumer",
        "floor_stream",
        "kept_consumer",
        "kept_stream",
        "last_stream",
        "next_consumer",
        "next_stream",
        "pending",
        "redelivered",
    )

    def __init__(self, start: int) -> None:
        self.next_stream = start
        self.last_stream = self.floor_stream = self.kept_stream = start - 1
        self.next_consumer = 1
        self.floor_consumer = self.kept_consumer = 0
        self.pending: dict[int, list[int]] = {}
        self.redelivered: dict[int, int] = {}

    def stored(self) -> ConsumerState:
        """What is on disk after a write: it begins behind what was handed out, and counts whole seconds."""
        other = ConsumerState(self.last_stream + 1)
        other.next_consumer = self.next_consumer
        other.floor_stream = other.kept_stream = self.kept_stream
        other.floor_consumer = other.kept_consumer = self.kept_consumer
        other.pending = {sequence: [number, at // SECOND * SECOND] for sequence, (number, at) in self.pending.items()}
        other.redelivered = dict(self.redelivered)
        return other

    def cut(self, last: int) -> None:
        """The stream ends here, because it has lost what was behind."""
        if self.last_stream <= last:
            return
        self.last_stream = last
        self.next_stream = last + 1
        self.floor_stream, self.kept_stream = min(self.floor_stream, last), min(self.kept_stream, last)
        self.pending = {sequence: one for sequence, one in self.pending.items() if sequence <= last}
        self.redelivered = {sequence: count for sequence, count in self.redelivered.items() if sequence <= last}

    def delivered(self, sequence: int, now: int, *, acknowledges: bool) -> None:
        """A message was handed out."""
        number = self.next_consumer
        self.next_consumer += 1
        self.last_stream = max(self.last_stream, sequence)
        if not acknowledges:
            self.floor_consumer = self.kept_consumer = number
            self.floor_stream = self.kept_stream = sequence
            return
        known = self.pending.get(sequence)
        if known is None:
            self.pending[sequence] = [number, now]
        else:
            known[1] = now

    def waits_since(self, sequence: int, at: int) -> None:
        """A message that was handed out, and waits to be acknowledged, is to be seen as if it did since then."""
        known = self.pending.get(sequence)
        if known is not None:
            known[1] = at

    def acknowledge(self, sequence: int) -> tuple[int, ...]:
        """One message is acknowledged; which ones are now."""
        known = self.pending.pop(sequence, None)
        self.redelivered.pop(sequence, None)
        if known is None:
            return ()
        self.floor_consumer, self.floor_stream = self._risen(known[0], sequence, self.floor_consumer, self.floor_stream)
        self.kept_consumer, self.kept_stream = self._risen(known[0], sequence, self.kept_consumer, self.kept_stream)
        return (sequence,)

    def acknowledge_all(self, sequence: int, number: int) -> tuple[int, ...] | None:
        """Everything up to a message is acknowledged; which ones are now, None when all of them were before."""
        if number <= self.floor_consumer or sequence <= self.floor_stream:
            return None
        self.floor_consumer = self.kept_consumer = number
        self.floor_stream = self.kept_stream = sequence
        done = tuple(sorted(one for one in self.pending if one <= sequence))
        for one in done:
            del self.pending[one]
            self.redelivered.pop(one, None)
        return done

    def give_up(self, sequence: int, redeliveries: int) -> None:
        """A message will not be delivered again; it is no longer waited for, and remembered."""
        known = self.pending.pop(sequence, None)
        if known is not None:
            self.floor_consumer, self.floor_stream = self._risen(
                known[0], sequence, self.floor_consumer, self.floor_stream
            )
        self.redelivered[sequence] = redeliveries

    def purge(self, start: int, get: Callable[[int], object] | None) -> bool:
        """What is before this sequence is done with; with `get`, also what has no message any more.

        Returns:
            Whether any of it had been delivered and not acknowledged.
        """
        waited = len(self.pending)
        self.next_stream = max(self.next_stream, start)
        self.last_stream = self.next_stream - 1
        if self.floor_stream < start:
            self.floor_stream = start - 1
            gone = [one for one in self.pending if one < start or (get is not None and get(one) is None)]
            for sequence in gone:
                self.floor_consumer = max(self.floor_consumer, self.pending.pop(sequence)[0])
                self.redelivered.pop(sequence, None)
        if not self.pending:
            self.redelivered.clear()
            self.raise_floor()
        self.kept_consumer, self.kept_stream = self.floor_consumer, self.floor_stream
        return len(self.pending) < waited

    def raise_floor(self) -> None:
        """Nothing waits for an acknowledgement."""
        self.floor_consumer, self.floor_stream = self.next_consumer - 1, self.last_stream

    def needs(self, sequence: int, *, explicit: bool) -> bool:
        """Whether a message is still to be acknowledged."""
        if sequence > self.floor_stream and (not explicit or sequence >= self.next_stream or sequence in self.pending):
            return True
        return sequence in self.redelivered

    def _risen(self, number: int, sequence: int, consumer: int, stream: int) -> tuple[int, int]:
        """A floor, as deliveries and as stream sequence, when a message is done with."""
        if not self.pending:
            return self.next_consumer - 1, self.last_stream
        if number != consumer + 1:
            return consumer, stream
        for following in range(sequence + 1, self.last_stream + 1):
            if following in self.pending:
                return self.pending[following][0] - 1, following - 1
        return number, sequence
