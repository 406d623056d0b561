"""What becomes of messages that nobody acknowledges: a timer looks after them, and they come again or are given up.

Must not know requests: who gets a message again is `_consumer`'s matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._advisories import deliveries_exceeded
from ._golang import MILLISECOND, SECOND
from ._messages import StoredMessage

if TYPE_CHECKING:
    from .._surroundings import Timer
    from ._consumer import Consumer

# The server looks a little later than the time is over, so that those that came together go together.
LATER: Final = MILLISECOND
_NAK_CHECK: Final = 10 * MILLISECOND


class Redelivery:
    """The deliveries of one consumer that wait for an acknowledgement."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._jetstream = consumer.jetstream
        self._state = consumer.state
        self._due: dict[int, None] = {}
        self._timer: Timer | None = None
        self._timer_due = 0

    def __len__(self) -> int:
        """How many messages are to be delivered again now."""
        return len(self._due)

    def go_on(self) -> None:
        """A restart: look soon at what was not acknowledged."""
        if self._state.pending:
            soon = SECOND // 2 + self._jetstream.random.randrange(1000) * MILLISECOND
            self._watch(min(soon, self._consumer.config.ack_wait + LATER))

    def delivered(self, sequence: int) -> None:
        """A message waits for its acknowledgement from now on."""
        self._watch(self.wait_of(sequence) + LATER)

    def done(self, sequence: int) -> None:
        """A message is not delivered again."""
        self._due.pop(sequence, None)

    def again(self, sequence: int) -> None:
        """A message is to be delivered again now."""
        self._due[sequence] = None

    def delay(self, sequence: int, nanoseconds: int) -> None:
        """A message is to be delivered again after some time."""
        self._due.pop(sequence, None)
        self._state.waits_since(sequence, self._jetstream.now() - self._consumer.config.ack_wait + nanoseconds)
        self._watch(_NAK_CHECK, anew=True)

    def purged(self) -> None:
        """What was purged is not delivered again."""
        self._due = {one: None for one in self._due if one >= self._state.next_stream}

    def reconfigured(self) -> None:
        """Another time to wait holds."""
        if self._state.pending:
            self._watch(self._consumer.config.ack_wait + LATER, anew=True)

    def close(self) -> None:
        """The consumer ends."""
        if self._timer is not None:
            self._timer.cancel()

    def next(self) -> tuple[StoredMessage, int] | None:
        """The next message that is to be delivered again, and which delivery of it this is."""
        state, most = self._state, self._consumer.config.max_deliver
        while self._due:
            sequence = next(iter(self._due))
            del self._due[sequence]
            state.redelivered[sequence] = state.redelivered.get(sequence, 0) + 1
            deliveries = state.redelivered[sequence] + 1
            if 0 < most < deliveries:
                self._give_up(sequence, deliveries)
                continue
            message = self._consumer.stream.messages.get(sequence)
            if message is not None:
                return message, deliveries
            self._count_back(sequence)
        return None

    def step_back(self, sequence: int) -> None:
        """The message that came last was not delivered."""
        if sequence not in self._due:
            self._count_back(sequence)
            self._due[sequence] = None

    def wait_of(self, sequence: int) -> int:
        """How long this delivery of a message may go without an acknowledgement."""
        backoff = self._consumer.config.backoff
        if not backoff:
            return self._consumer.config.ack_wait
        return backoff[min(self._state.redelivered.get(sequence, 0), len(backoff) - 1)]

    def longest(self, now: int, more: int) -> int:
        """How long the last acknowledgement may still take, and some time more; 0 or less = none is waited for."""
        ends = (at + self.wait_of(sequence) + LATER + more for sequence, (_, at) in self._state.pending.items())
        return max((end - now for end in ends), default=0)

    def _count_back(self, sequence: int) -> None:
        redelivered = self._state.redelivered
        redelivered[sequence] = redelivered.get(sequence, 0) - 1
        if not redelivered[sequence]:
            del redelivered[sequence]

    def _watch(self, after: int, *, anew: bool = False) -> None:
        due = self._jetstream.now() + after
        if self._timer is not None:
            if self._timer_due <= due and not anew:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._jetstream.call_at(due, self._check)

    def _check(self) -> None:
        self._timer = None
        config, now = self._consumer.config, self._jetstream.now()
        if not config.ack_wait:
            return
        following = config.backoff[-1] if config.backoff else config.ack_wait + LATER
        expired: list[int] = []
        for sequence, (_, at) in list(self._state.pending.items()):
            wait = self.wait_of(sequence)
            if config.backoff:
                later = min(self._state.redelivered.get(sequence, 0) + 1, len(config.backoff) - 1)
                following = min(following, config.backoff[later])
            if now - at < wait:
                following = min(following, wait - (now - at))
            elif sequence not in self._due and not self._is_exhausted(sequence):
                expired.append(sequence)
        self._expire(sorted(expired), now)
        if self._state.pending:
            self._watch(following)
        else:
            self._state.raise_floor()
        if expired:
            self._consumer.signal()

    def _expire(self, expired: list[int], now: int) -> None:
        if not expired:
            return
        offset = now - self._state.pending[expired[0]][1]
        for sequence in expired:
            self._due[sequence] = None
            self._state.pending[sequence][1] += offset

    def _is_exhausted(self, sequence: int) -> bool:
        """Whether a message has been delivered as often as it may; then it is given up."""
        deliveries = self._state.redelivered.get(sequence, 0) + 1
        if not 0 < self._consumer.config.max_deliver <= deliveries:
            return False
        self._give_up(sequence, deliveries + 1)
        return True

    def _give_up(self, sequence: int, deliveries: int) -> None:
        if deliveries == self._consumer.config.max_deliver + 1:
            deliveries_exceeded(self._consumer, sequence, deliveries - 1)
        self._state.give_up(sequence, deliveries - 1)
        self._consumer.changed()
        self._jetstream.soon(self._consumer.signal)
