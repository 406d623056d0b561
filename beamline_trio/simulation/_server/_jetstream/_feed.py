"""What a stream gives to those that copy it: its messages in order, asked for piece by piece.

Who copies asks on `$JS.SOURCE.<stream>` from a sequence on. A piece of messages comes, then a status that says how far
the stream was read and how many are left; with nothing to give the question waits, at most a second. Each answer names
its question, and its place, so that who asks sees what was lost on the way and asks again.

nats-server does this with a consumer of its own kind, which clients do not see either; the times are its.
Must not remember who copies: a question has all that is needed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from . import _headers as headers
from ._errors import NOT_MODELLED, not_modelled
from ._golang import SECOND

if TYPE_CHECKING:
    from .._surroundings import Timer
    from ._messages import StoredMessage
    from ._service import JetStream
    from ._stream import Stream

_PREFIX: Final = b"$JS.SOURCE."
_HEARTBEAT: Final = 1 * SECOND
_PIECE_MESSAGES_MAX: Final = 500
_PIECE_BYTES_MAX: Final = 1024 * 1024
_WAITING_MAX: Final = 1024


def feed_subject(stream: str) -> bytes:
    """Where a stream is asked for what it has."""
    return _PREFIX + stream.encode("utf-8", "surrogateescape")


@attrs.frozen
class Question:
    """What somebody who copies wants.

    Attributes:
        number: of the question.
        sequence: from which on.
        time: or not older than that, in nanoseconds since the epoch; 0 = however old.
        filters: only on these subjects; none = all.
    """

    number: int
    sequence: int
    time: int = 0
    filters: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """As it is sent."""
        fields = {"number": self.number, "sequence": self.sequence, "time": self.time}
        return json.dumps({**fields, "filters": [one.decode("latin-1") for one in self.filters]}).encode()

    @classmethod
    def decode(cls, body: bytes) -> Question:
        """What was sent."""
        fields: dict[str, Any] = json.loads(body)
        filters = tuple(one.encode("latin-1") for one in fields["filters"])
        return cls(fields["number"], fields["sequence"], fields["time"], filters)


class Feed:
    """The answers of one stream.

    Args:
        jetstream: sends, and counts time.
        stream: whose messages they are.

    Attributes:
        waiting: questions that nothing is there for, and until when they wait, by where they are answered.
    """

    def __init__(self, jetstream: JetStream, stream: Stream) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._timer: Timer | None = None
        self.waiting: dict[bytes, tuple[Question, int]] = {}

    def ask(self, subject: bytes, reply: bytes, header: bytes, body: bytes) -> None:
        """A question has come."""
        question = Question.decode(body)
        self.waiting.pop(reply, None)
        if self._stream.config.retention == "interest":
            what = f"a copy of {self._stream.name!r}, which keeps what is of interest,"
            self._jetstream.send(reply, b"", header=headers.block(NOT_MODELLED, not_modelled(what).description))
        elif not self._answer(question, reply) and len(self.waiting) < _WAITING_MAX:
            self.waiting[reply] = (question, self._jetstream.now() + _HEARTBEAT)
            self._watch()

    def message_stored(self) -> None:
        """There is something new: those who wait are answered."""
        for reply, (question, _) in list(self.waiting.items()):
            if self._answer(question, reply):
                del self.waiting[reply]

    def close(self) -> None:
        """Nobody is answered any more; who asks notices the silence."""
        self.waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer(self, question: Question, reply: bytes) -> bool:
        """Send a piece; False when there is nothing to send."""
        messages = self._stream.messages
        at = max(question.sequence, messages.sequence_at(question.time) if question.time else 0)
        place = size = 0
        while place < _PIECE_MESSAGES_MAX and size < _PIECE_BYTES_MAX:
            message = messages.next(at, question.filters)
            if message is None:
                at = messages.last_sequence + 1
                break
            place, size, at = place + 1, size + message.size, message.sequence + 1
            self._send(question, reply, message, place)
        if place:
            self._send_status(question, reply, at, place)
        return bool(place)

    def _send(self, question: Question, reply: bytes, message: StoredMessage, place: int) -> None:
        numbers = (question.number, message.sequence, place, message.time)
        ack = f"$JS.ACK.{self._stream.identity}.{'.'.join(map(str, numbers))}".encode()
        self._jetstream.deliver(reply, message.subject, message.payload, header=message.header, reply=ack)

    def _send_status(self, question: Question, reply: bytes, at: int, place: int) -> None:
        messages = self._stream.messages
        left = messages.count_from(at, question.filters) if at <= messages.last_sequence else 0
        numbers = (question.number, max(at, question.sequence), place, left)
        status = f"{self._stream.identity}.{'.'.join(map(str, numbers))}".encode()
        self._jetstream.send(reply, status, header=headers.block(100, "Idle Heartbeat"))

    def _watch(self) -> None:
        if self._timer is None and self.waiting:
            due = next(iter(self.waiting.values()))[1]
            self._timer = self._jetstream.call_at(due, self._heartbeat)

    def _heartbeat(self) -> None:
        self._timer = None
        now = self._jetstream.now()
        for reply, (question, due) in list(self.waiting.items()):
            if due <= now:
                del self.waiting[reply]
                self._send_status(question, reply, question.sequence, 0)
        self._watch()
