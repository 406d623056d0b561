"""A consumer on the leader of its group: what it does to its books is decided first, then it is seen.

Must not know how entries are decided, nor what other members do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._consumer import Consumer
from .._consumer_state import ConsumerState
from .._messages import StoredMessage
from .._reading import Reading
from .._waiting import Waiting

if TYPE_CHECKING:
    from .._pulls import PullRequest
    from ._consumer_member import ConsumerMember
    from ._jetstream import ClusteredJetStream
    from ._stream_member import ReplicatedStream


class _LeaderState(ConsumerState):
    """Books whose changes are proposed as they happen."""

    __slots__ = ("_member",)

    def __init__(self, member: ConsumerMember, books: ConsumerState) -> None:
        super().__init__(1)
        self._member = member
        for name in ConsumerState.__slots__:
            setattr(self, name, getattr(books, name))

    def delivered(self, sequence: int, now: int, *, acknowledges: bool) -> None:
        super().delivered(sequence, now, acknowledges=acknowledges)
        self._member.propose(b"D %d %d %d" % (sequence, self.redelivered.get(sequence, 0) + 1, now))

    def waits_since(self, sequence: int, at: int) -> None:
        super().waits_since(sequence, at)
        self._member.propose(b"W %d %d" % (sequence, at))

    def acknowledge(self, sequence: int) -> tuple[int, ...]:
        done = super().acknowledge(sequence)
        if done:
            self._member.propose(b"A %d" % sequence)
        return done

    def acknowledge_all(self, sequence: int, number: int) -> tuple[int, ...] | None:
        done = super().acknowledge_all(sequence, number)
        if done is not None:
            self._member.propose(b"L %d %d" % (sequence, number))
        return done

    def give_up(self, sequence: int, redeliveries: int) -> None:
        super().give_up(sequence, redeliveries)
        self._member.propose(b"G %d %d" % (sequence, redeliveries))

    def purge(self, start: int, get: Any) -> bool:
        waited = super().purge(start, get)
        self._member.propose_books(self)
        return waited


class _OrderedWaiting(Waiting):
    """Those who wait are told behind what they are sent; whoever follows hears when somebody waits no longer."""

    def __init__(self, member: ConsumerMember, checked: Callable[[], None], *args: Any) -> None:
        super().__init__(*args)
        self._member = member
        self._checked = checked

    def replies(self) -> dict[str, None]:
        """Where those who wait listen."""
        return {request.reply.decode("utf-8", "replace"): None for request in self._queue}

    def check(self, *, end_of_stream: bool) -> int:
        """End what is over; the other members are told of that."""
        asked = super().check(end_of_stream=end_of_stream)
        self._checked()
        return asked

    def tell(self, to: bytes, status: int, text: str, **fields: object) -> None:
        self._member.in_order(lambda: super(_OrderedWaiting, self).tell(to, status, text, **fields))


class ReplicatedConsumer(Consumer):
    """The consumer of a member that leads."""

    waiting: _OrderedWaiting

    def __init__(
        self,
        member: ConsumerMember,
        jetstream: ClusteredJetStream,
        stream: ReplicatedStream,
        state: ConsumerState | None,
    ) -> None:
        self._member = member
        self._known: dict[str, None] = {}
        assignment = member.assignment
        super().__init__(jetstream, stream, assignment.config, assignment.name, assignment.created, state)

    def _read(self, state: ConsumerState | None) -> Reading:
        if state is not None:
            return Reading(self.stream.messages, self.config, _LeaderState(self._member, state))
        reading = Reading(self.stream.messages, self.config, None)
        reading.state = _LeaderState(self._member, reading.state)
        return reading

    def _wait(self) -> Waiting:
        return _OrderedWaiting(self._member, self._waiting_checked, self.jetstream, self.config, self.state)

    def request(self, reply: bytes, body: bytes) -> None:
        """Somebody asks for messages; the other members are told of those who wait."""
        super().request(reply, body)
        self._tell_of_waiting()

    def restored(self) -> None:
        """Its stream here has become what a peer's is: hand out what has come with that."""
        self.reading.restored(self.stream.messages)
        self.jetstream.soon(self.signal)

    def _waiting_checked(self) -> None:
        if len(self._known) != len(self.waiting):
            self._tell_of_waiting()

    def _tell_of_waiting(self) -> None:
        if self.closed:
            return
        now = self.waiting.replies()
        for reply in now:
            if reply not in self._known:
                self._member.propose(b"+ " + reply.encode())
        for reply in self._known:
            if reply not in now:
                self._member.propose(b"- " + reply.encode())
        self._known = now

    def _send(
        self, message: StoredMessage, deliveries: int, request: PullRequest, reply: bytes, header: bytes, payload: bytes
    ) -> None:
        send = super()._send
        self._member.in_order(
            lambda: None if self.closed else send(message, deliveries, request, reply, header, payload)
        )

    def _answer(self, reply: bytes, answer: bool) -> None:
        answer_now = super()._answer
        if reply and answer:
            self._member.in_order(lambda: answer_now(reply, answer))

    def changed(self) -> None:
        """Its books are kept by its group."""

    def _cluster_fields(self) -> dict[str, Any]:
        return self._member.cluster_fields()
