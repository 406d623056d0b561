r"""A consumer of a cluster, as one of its servers has it: the state machine of its group.

Its books change by entries alone, in the same order everywhere. The leader works with books of its own that are ahead
of them, and keeps to itself what it would send until it is decided (`ReplicatedConsumer`).

    D <sequence> <deliveries> <time>    delivered         A <sequence>            acknowledged
    L <sequence> <number>               all up to it      G <sequence> <count>    given up
    W <sequence> <time>                 waits since
    = {...}                             all books         + <reply>   - <reply>   a request waits, or no longer

Must not know how entries are decided.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .. import _headers as headers
from .._golang import MILLISECOND
from .._messages import StoredMessage, meets
from ._assignments import ConsumerAssignment
from ._replicated_consumer import ReplicatedConsumer
from ._snapshots import pack_books, unpack_books

if TYPE_CHECKING:
    from ..._surroundings import Timer
    from .._consumer_state import ConsumerState
    from ._disks import ConsumerDisk
    from ._group import Group
    from ._jetstream import ClusteredJetStream
    from ._stream_member import ReplicatedStream

_LEADERSHIP_CHANGE: Final = headers.block(409, "Leadership Change")
# The stream here may lack what was handed out before: it comes, or a power failure has taken it everywhere. So often is
# looked for it while the stream has all that is decided.
_CATCH_UP: Final = 10 * MILLISECOND
_CATCH_UP_TRIES: Final = 1000


class ConsumerMember:
    """A member of a consumer: a `Machine`.

    Args:
        jetstream: of the server.
        stream: the member of its stream here.
        assignment: what the meta group says of it.
        disk: what is on disk of it.

    Attributes:
        group: its group; set by who makes it.
        consumer: the consumer, on the leader.
        created_for: where its making is answered, as long as nobody has.
    """

    group: Group

    def __init__(
        self,
        jetstream: ClusteredJetStream,
        stream: ReplicatedStream,
        assignment: ConsumerAssignment,
        disk: ConsumerDisk,
    ) -> None:
        self._jetstream = jetstream
        self._disk = disk
        self._unsent: deque[tuple[int, Callable[[], object]]] = deque()
        self._proposed = 0
        self._wait: Timer | None = None
        self._patience = 0
        self.stream = stream
        self.assignment = assignment
        self.consumer: ReplicatedConsumer | None = None
        self.created_for = ""

    @property
    def name(self) -> str:
        """Its name."""
        return self.assignment.name

    def wants(self, subject: bytes) -> bool:
        """Whether a subject meets its filters."""
        filters = self.assignment.config.filters
        return not filters or meets(subject, filters)

    def needs(self, message: StoredMessage) -> bool:
        """Whether a message is still to be acknowledged here."""
        if not self.wants(message.subject):
            return False
        books = self._disk.books
        return books is None or books.needs(message.sequence, explicit=self.assignment.config.ack_policy == "explicit")

    # --------------------------------------------------------------------------------------------------- the leader

    def lead(self) -> None:
        """From now on this server hands out, as soon as its own stream has all that was handed out before."""
        self._patience = _CATCH_UP_TRIES
        self._begin()

    def _begin(self) -> None:
        self._wait = None
        books, last = self._disk.books, self.stream.messages.last_sequence
        behind = books is not None and last < books.last_stream
        if behind and self._patience:
            self._patience -= self.stream.group.raft.current
            self._wait = self._jetstream.call_at(self._jetstream.now() + _CATCH_UP, self._begin)
            return
        state = None if books is None else books.stored()
        if state is not None:
            state.cut(last)
        self.consumer = ReplicatedConsumer(self, self._jetstream, self.stream, state)
        if books is None or behind:
            self.propose_books(self.consumer.state)
        self._jetstream.consumer_led(self, self.consumer)
        for reply in self._disk.pulls:
            self._jetstream.send(reply.encode(), b"", header=_LEADERSHIP_CHANGE)
            self.propose(b"- " + reply.encode())
        reply, self.created_for = self.created_for, ""
        if reply:
            consumer = self.consumer
            self.in_order(lambda: self._jetstream.consumer_created(consumer, reply))

    def follow(self) -> None:
        """This server does no longer: what it has not sent stays unsent."""
        if self._wait is not None:
            self._wait.cancel()
        self._unsent.clear()
        self._proposed = 0  # another leader may have put less in the place of it
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            self._jetstream.consumer_followed(self, consumer)
            consumer.close()

    def led_elsewhere(self) -> None:
        """Another member leads, and will say that the consumer is there."""
        self.created_for = ""

    def end(self, status: tuple[int, str] | None, *, counts: bool) -> None:
        """The consumer is gone, or the server is about to: who waits at the leader is told, see `Waiting.close`."""
        consumer, self.consumer = self.consumer, None
        if consumer is None:
            return
        self._unsent.clear()
        self._proposed = 0
        self._jetstream.consumer_followed(self, consumer)
        consumer.close(status, counts=counts)

    def propose(self, data: bytes) -> None:
        """Have a change of the books decided."""
        self._proposed = self.group.propose(data) or self._proposed

    def propose_books(self, books: ConsumerState) -> None:
        """Have the books replaced."""
        self.propose(b"= " + json.dumps(pack_books(books), separators=(",", ":")).encode())

    def in_order(self, action: Callable[[], object]) -> None:
        """Do something as soon as everything that was proposed is decided; never, if it does not lead then."""
        if self._unsent or self.group.files.applied < self._proposed:
            self._unsent.append((self._proposed, action))
        else:
            action()

    def reconfigured(self) -> None:
        """It has another configuration."""
        if self.consumer is not None:
            self.consumer.update(self.assignment.config)

    # --------------------------------------------------------------------------------------------- the state machine

    def apply(self, data: bytes) -> None:
        """Take a decided entry."""
        kind, _, rest = data.partition(b" ")
        if kind == b"=":
            self._disk.books = unpack_books(json.loads(rest))
        elif kind == b"+":
            self._disk.pulls[rest.decode()] = None
        elif kind == b"-":
            self._disk.pulls.pop(rest.decode(), None)
        elif self._disk.books is not None:
            self._apply_to(self._disk.books, kind, [int(word) for word in rest.split(b" ")])
        if self._unsent:
            self._jetstream.at_end(self._send)

    def _apply_to(self, books: ConsumerState, kind: bytes, numbers: list[int]) -> None:
        done: tuple[int, ...] | None = None
        if kind == b"D":
            sequence, deliveries, at = numbers
            acknowledges = self.assignment.config.ack_policy != "none"
            books.delivered(sequence, at, acknowledges=acknowledges)
            if deliveries > 1:
                books.redelivered[sequence] = deliveries - 1
            done = None if acknowledges else (sequence,)
        elif kind == b"A":
            done = books.acknowledge(numbers[0])
        elif kind == b"L":
            done = books.acknowledge_all(*numbers)
        elif kind == b"W":
            books.waits_since(*numbers)
        else:
            books.give_up(*numbers)
        books.next_stream = books.last_stream + 1
        if done:
            self.stream.settled(done)

    def _send(self) -> None:
        while self._unsent and self._unsent[0][0] <= self.group.files.applied:
            self._unsent.popleft()[1]()

    def snapshot(self) -> bytes:
        """All of its state."""
        books = self._disk.books
        return json.dumps([None if books is None else pack_books(books), list(self._disk.pulls)]).encode()

    def restore(self, data: bytes) -> None:
        """A peer's state is this one's now."""
        books, pulls = json.loads(data)
        self._disk.books = None if books is None else unpack_books(books)
        self._disk.pulls = dict.fromkeys(pulls)
        self._disk.sync()

    def cluster_fields(self) -> dict[str, Any]:
        """Who leads it and who follows."""
        return {"cluster": self._jetstream.cluster_fields(self.group)}
