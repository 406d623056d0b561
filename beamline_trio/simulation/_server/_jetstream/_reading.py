"""Where a consumer is in its stream: where it begins, which message is the next one, and how many are left.

Must not know who gets the messages, nor deliveries that come again.
"""

from __future__ import annotations

from ._consumer_config import ConsumerConfig
from ._consumer_state import ConsumerState
from ._messages import Messages, StoredMessage, meets


class Reading:
    """The place of one consumer in a stream.

    Args:
        messages: of the stream.
        config: of the consumer.
        state: where it goes on; None = it begins as its policy says.

    Attributes:
        filters: what it wants; none = everything.
        state: its books, whose `next_stream` is the place.
        left: messages that it has not handed out.
    """

    def __init__(self, messages: Messages, config: ConsumerConfig, state: ConsumerState | None) -> None:
        self._messages = messages
        self._config = config
        self._last_sequences: list[int] = []  # of each subject, for deliver_policy last_per_subject
        self._resume_at = 0
        self.filters = config.filters
        self.state = ConsumerState(self._first()) if state is None else state
        self.left = self._count()

    def wants(self, message: StoredMessage) -> bool:
        """Whether a message meets the filters."""
        return not self.filters or meets(message.subject, self.filters)

    def next(self) -> StoredMessage | None:
        """Go on to the next message; None at the end, or when it is gone."""
        if self._last_sequences:
            return self._next_last()
        message = self._messages.next(self.state.next_stream, self.filters)
        if message is None:
            self.state.next_stream = self._messages.last_sequence + 1
            self.left = 0
        else:
            self.state.next_stream = message.sequence + 1
        return message

    def step_back(self, message: StoredMessage) -> bool:
        """The message that came last was not handed out; False when it is not just before this place.

        Of the last messages of subjects, one that could not be handed out is left behind: nats-server 2.15 does that.
        """
        if message.sequence != self.state.next_stream - 1:
            return False
        self.left += 1
        self.state.next_stream -= 1
        return True

    def stored(self) -> None:
        """There is one more message."""
        self.left += 1

    def removed(self, message: StoredMessage) -> None:
        """A message is gone."""
        if message.sequence >= self.state.next_stream and self.wants(message):
            self.left -= 1

    def restored(self, messages: Messages) -> None:
        """The stream has other messages now, of the same history: go on in them."""
        self._messages = messages
        self.recount()

    def recount(self) -> None:
        """Messages have gone, other than one by one, or come, or the filters have changed."""
        self._last_sequences = [one for one in self._last_sequences if self._messages.get(one) is not None]
        self.left = self._count()

    def _count(self) -> int:
        if self._last_sequences:
            return len(self._last_sequences)
        return self._messages.count_from(self.state.next_stream, self.filters)

    def _next_last(self) -> StoredMessage | None:
        sequence = self._last_sequences.pop(0)
        self.state.next_stream = (sequence if self._last_sequences else self._resume_at) + 1
        return self._messages.get(sequence)

    def _first(self) -> int:
        first, last = self._messages.first_sequence, self._messages.last_sequence
        start = self._first_by_policy()
        if not self._config.opt_start_seq:
            if not first:
                return 1
            start = min(start, last + 1)
        return max(start, first)

    def _first_by_policy(self) -> int:
        messages, config = self._messages, self._config
        if config.opt_start_seq:
            return config.opt_start_seq
        match config.deliver_policy:
            case "all":
                return messages.first_sequence
            case "last":
                return self._last_matching()
            case "last_per_subject":
                return self._first_of_last()
            case "by_start_time":
                return messages.sequence_at(config.opt_start_time)
            case _:
                return messages.last_sequence + 1

    def _last_matching(self) -> int:
        if not self.filters:
            return self._messages.last_sequence
        found = [self._messages.last_of(one) for one in self.filters]
        return max((one.sequence for one in found if one is not None), default=0)

    def _first_of_last(self) -> int:
        messages = self._messages
        if messages.config.max_msgs_per_subject == 1:
            return messages.first_sequence
        subjects = {subject: None for one in self.filters for subject in messages.matching(one)}
        found = [messages.last_of(subject) for subject in subjects]
        self._last_sequences = sorted(one.sequence for one in found if one is not None)
        self._resume_at = messages.last_sequence
        return self._last_sequences[0] if self._last_sequences else messages.last_sequence
