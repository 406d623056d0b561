"""A pull consumer: messages of a stream meet those who wait for them, and are acknowledged or come again.

    stream --Reading--> next message --> next request <--Waiting-- pulls
                             ^------ Redelivery <-- deliveries that are not acknowledged

It works as the server's own loop does: whenever something may have changed (`signal`), it hands out what it can, and
then looks after those who still wait.

Must not know the wire of requests and acknowledgements beyond `_acks`, nor where its state is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import attrs

from .._subjects import is_subset
from . import _acks
from . import _headers as headers
from ._advisories import naked, terminated
from ._consumer_config import EPHEMERAL_THRESHOLD, ConsumerConfig
from ._consumer_state import ConsumerState
from ._golang import MILLISECOND, timestamp
from ._messages import StoredMessage
from ._reading import Reading
from ._redelivery import Redelivery
from ._waiting import Waiting

if TYPE_CHECKING:
    from .._surroundings import Timer
    from ._pulls import PullRequest
    from ._service import JetStream
    from ._stream import Stream

_DELETED: Final = "Unacknowledged message was deleted"


class Consumer:
    """One consumer of a stream.

    Args:
        jetstream: sends, counts time and draws chance.
        stream: whose messages it hands out.
        config: how.
        name: its name.
        created: when it was made.
        state: where it goes on; None = it starts as its policy says.

    Attributes:
        reading: where it is in the stream.
        state: what it has handed out and what is acknowledged.
        waiting: requests for messages.
        redelivery: what waits for an acknowledgement.
        acks: the subjects of its acknowledgements.
        closed: it has ended.
    """

    def __init__(
        self,
        jetstream: JetStream,
        stream: Stream,
        config: ConsumerConfig,
        name: str,
        created: int,
        state: ConsumerState | None = None,
    ) -> None:
        self.jetstream = jetstream
        self.stream = stream
        self.config = config
        self.name = name
        self.created = created
        self.closed = False
        self.acks = _acks.AckSubjects.of(stream.name, name, jetstream.domain, v2=jetstream.config.jetstream_ack_v2)
        self.reading = self._read(state)
        self.state = self.reading.state
        self.waiting = self._wait()
        self.redelivery = Redelivery(self)
        self._delivered_at = self._acknowledged_at = 0
        self._running = False
        self._signalled = False  # it will be, in a moment
        self._threshold = 0
        self._idle_timer: Timer | None = None
        if state is not None:
            self.redelivery.go_on()
        self._watch_use()

    def _read(self, state: ConsumerState | None) -> Reading:
        return Reading(self.stream.messages, self.config, state)

    def _wait(self) -> Waiting:
        return Waiting(self.jetstream, self.config, self.state)

    # -------------------------------------------------------------------------------------------------- deliveries

    def request(self, reply: bytes, body: bytes) -> None:
        """Somebody asks for messages."""
        if self.waiting.take(reply, body, self.config, self._available):
            self.signal()

    def signal(self) -> None:
        """There may be something to do."""
        self._signalled = False
        if self._running or self.closed:
            return
        self._running = True
        stalled = False
        while len(self.waiting):
            message, deliveries, stalled = self._next_message()
            if message is None or not self._hand_out(message, deliveries):
                break
        self._running = False
        self.waiting.check(end_of_stream=not stalled)

    def _available(self) -> int:
        return self.reading.left + len(self.redelivery)

    def _next_message(self) -> tuple[StoredMessage | None, int, bool]:
        """The next message, which delivery of it this is, and whether only acknowledgements are missing."""
        again = self.redelivery.next()
        if again is not None:
            return *again, False
        if 0 < self.config.max_ack_pending <= len(self.state.pending):
            return None, 0, True
        return self.reading.next(), 1, False

    def _hand_out(self, message: StoredMessage, deliveries: int) -> bool:
        """Deliver a message to the next request; False when there is none, and it stays the next one."""
        if deliveries == 1:
            self.reading.left -= 1
        reply = self._ack_reply(message, deliveries)
        header, payload = message.header, message.payload
        if self.config.headers_only:
            header, payload = headers.with_size_only(header, len(payload)), b""
        request = self.waiting.next(len(message.subject) + len(reply) + len(header) + len(payload))
        if request is None:
            if deliveries != 1 or not self.reading.step_back(message):
                self.redelivery.step_back(message.sequence)
            return False
        self._deliver(message, deliveries, request, reply, header, payload)
        return True

    def _ack_reply(self, message: StoredMessage, deliveries: int) -> bytes:
        numbers = (deliveries, message.sequence, self.state.next_consumer, message.time, self.reading.left)
        return f"{self.acks.prefix}{'.'.join(map(str, numbers))}".encode()

    def _deliver(
        self, message: StoredMessage, deliveries: int, request: PullRequest, reply: bytes, header: bytes, payload: bytes
    ) -> None:
        now, sequence = self.jetstream.now(), message.sequence
        acknowledges = self.config.ack_policy != "none"
        self._delivered_at = self.waiting.used_at = now
        self.state.delivered(sequence, now, acknowledges=acknowledges)
        if acknowledges:
            self.redelivery.delivered(sequence)
        self._send(message, deliveries, request, reply, header, payload)
        self.changed()
        if not acknowledges and self.stream.config.retention != "limits":
            self.stream.acknowledged(sequence)

    def _send(
        self, message: StoredMessage, deliveries: int, request: PullRequest, reply: bytes, header: bytes, payload: bytes
    ) -> None:
        sequence = message.sequence
        if self.jetstream.notes:
            self.jetstream.note(
                "js_redeliver" if deliveries > 1 else "js_deliver",
                stream=self.stream.name,
                consumer=self.name,
                seq=sequence,
                count=deliveries,
                crc=crc32(payload, crc32(header)),
            )
        self.jetstream.deliver(request.reply, message.subject, payload, header=header, reply=reply)
        observer = self.jetstream.observer
        if observer is not None:
            observer.handed_out(self.jetstream.host, self.stream.name, self.name, sequence, deliveries, header)
        self.waiting.served(request)

    # ------------------------------------------------------------------------------------------- acknowledgements

    def acknowledge(self, subject: bytes, reply: bytes, body: bytes) -> None:
        """A client says something on the subject that stands for a delivery."""
        delivered = _acks.read_subject(subject)
        answer = bool(delivered.stream_sequence)
        if body in (b"", b"+ACK", b"+OK"):
            answer = self._acknowledged(delivered) and answer
        elif body.startswith(b"+NXT"):
            self._acknowledged(delivered)
            self.request(reply, body[4:])
            answer = False
        elif body.startswith(b"-NAK"):
            self._naked(delivered, body[4:])
        elif body == b"+WPI":
            self._in_progress(delivered.stream_sequence)
        elif body.startswith(b"+TERM"):
            taken = self._acknowledged(delivered)
            self._answer(reply, taken and answer)
            terminated(self, delivered, body[5:].strip().decode("utf-8", "replace"))
            return
        self._answer(reply, answer)

    def _answer(self, reply: bytes, answer: bool) -> None:
        if reply and answer:
            self.jetstream.send(reply, b"")

    def _acknowledged(self, delivered: _acks.Delivered) -> bool:
        """Take an acknowledgement; False when it is about nothing that was delivered, and not answered."""
        sequence = delivered.stream_sequence
        if sequence >= self.state.next_stream and sequence not in self.state.pending:
            return False
        limit = self.config.max_ack_pending
        stalled = 0 < limit <= len(self.state.pending)
        done: tuple[int, ...] | None
        if self.config.ack_policy == "explicit":
            done = self.state.acknowledge(sequence)
        else:
            done = self.state.acknowledge_all(sequence, delivered.consumer_sequence)
        if done is None:
            return True
        self._acknowledged_at = self.jetstream.now()
        for one in (sequence, *done):
            self.redelivery.done(one)
        if done:
            self.jetstream.note("js_ack", stream=self.stream.name, consumer=self.name, seq=sequence, count=len(done))
            observer = self.jetstream.observer
            if observer is not None:
                observer.acknowledged(self.jetstream.host, self.stream.name, self.name, done)
        self.changed()
        if self.stream.config.retention != "limits":
            for one in done:
                self.stream.acknowledged(one)
        if stalled:
            self.jetstream.soon(self.signal)
        return True

    def _naked(self, delivered: _acks.Delivered, argument: bytes) -> None:
        sequence = delivered.stream_sequence
        number = delivered.consumer_sequence
        if sequence not in self.state.pending or not self.state.floor_consumer < number <= self.state.next_consumer:
            return
        naked(self, delivered)
        delay = _acks.nak_delay(argument)
        if delay is None:
            self.redelivery.again(sequence)
            self.jetstream.soon(self.signal)
            return
        self.redelivery.delay(sequence, delay)
        self.changed()

    def _in_progress(self, sequence: int) -> None:
        if sequence in self.state.pending:
            self.state.waits_since(sequence, self.jetstream.now())
            self.changed()

    def _deleted(self, delivered: _acks.Delivered) -> None:
        self._acknowledged(delivered)
        terminated(self, delivered, _DELETED)

    # ------------------------------------------------------------------------------------- what happens to messages

    def message_stored(self, message: StoredMessage) -> None:
        """The stream has a new message."""
        if not self.reading.wants(message):
            return
        self.reading.stored()
        if len(self.waiting) and not self._signalled:
            self._signalled = True
            self.jetstream.soon(self.signal)

    def message_removed(self, message: StoredMessage) -> None:
        """A message is gone from the stream."""
        sequence = message.sequence
        self.reading.removed(message)
        pending = self.state.pending.get(sequence)
        if pending is not None:
            deliveries = self.state.redelivered.get(sequence, 0) + 1
            self.jetstream.soon(self._deleted, _acks.Delivered(deliveries, sequence, pending[0]))
        elif self.state.redelivered.pop(sequence, None) is not None:
            self._acknowledged_at = self.jetstream.now()
            self.changed()

    def purged(self, pattern: bytes) -> None:
        """The stream was purged, of a pattern or altogether: what is before its first message now is done with."""
        messages, filters = self.stream.messages, self.reading.filters
        start, get = messages.first_sequence, None
        if pattern and any(is_subset(one, pattern) for one in filters):
            first = messages.next(start, (pattern,))
            start = messages.last_sequence + 1 if first is None else first.sequence
        elif pattern and filters and not any(is_subset(pattern, one) for one in filters):
            start = 0
        elif pattern:
            get = messages.get
        if start and self.state.purge(start, get):
            self._acknowledged_at = self.jetstream.now()
        if start:
            self.redelivery.purged()
        self.reading.recount()
        self.changed()

    def needs(self, message: StoredMessage) -> bool:
        """Whether a message is still to be acknowledged here, for streams that keep what is needed."""
        explicit = self.config.ack_policy == "explicit"
        return self.reading.wants(message) and self.state.needs(message.sequence, explicit=explicit)

    # ------------------------------------------------------------------------------------------------- life and end

    def update(self, config: ConsumerConfig) -> None:
        """Take on another configuration."""
        self.config = config
        if self.reading.filters != config.filters:
            self.reading.filters = config.filters
            self.reading.recount()
            self.stream.interest_changed()
        self.redelivery.reconfigured()
        self._watch_use()
        self.signal()

    def changed(self) -> None:
        """Its state is another one than what is kept."""
        self.jetstream.consumer_changed(self)

    def close(self, status: tuple[int, str] | None = None, *, counts: bool = False) -> None:
        """End it; see `Waiting.close`."""
        if self.closed:
            return
        self.closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self.redelivery.close()
        self.waiting.close(status, counts=counts)

    def _watch_use(self) -> None:
        """How long it may go unused: without a durable name never for ever, and always a little longer than it says."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if not self.config.inactive_threshold and not self.config.durable_name:
            self.config = attrs.evolve(self.config, inactive_threshold=EPHEMERAL_THRESHOLD)
        if self.config.inactive_threshold:
            jitter = 100 + self.jetstream.random.randrange(900)
            self._threshold = self.config.inactive_threshold + jitter * MILLISECOND
            self._idle_timer = self.jetstream.call_at(self.jetstream.now() + self._threshold, self._check_use)

    def _check_use(self) -> None:
        now, threshold = self.jetstream.now(), self._threshold
        unused = now - self.waiting.used_at
        if unused < threshold:
            wait = threshold - unused
        else:
            self.waiting.check(end_of_stream=True)
            wait = threshold if len(self.waiting) else self.redelivery.longest(now, threshold)
        if wait > 0:
            self._idle_timer = self.jetstream.call_at(now + wait, self._check_use)
            return
        self._idle_timer = None
        self.stream.delete_consumer(self)

    def info(self, *, served: bool = True) -> dict[str, Any]:
        """As it stands in a reply."""
        if len(self.waiting):
            self.waiting.check(end_of_stream=False)
        state = self.state
        last = state.last_stream
        if (
            not last
            and state.next_consumer == 1
            and (self.config.mem_storage or self.stream.config.storage == "memory")
        ):
            last = state.next_stream - 1  # in memory there is no state before the first delivery
        delivered: dict[str, Any] = {"consumer_seq": state.next_consumer - 1, "stream_seq": last}
        floor: dict[str, Any] = {"consumer_seq": state.kept_consumer, "stream_seq": state.kept_stream}
        for fields, at in ((delivered, self._delivered_at), (floor, self._acknowledged_at)):
            if at:
                fields["last_active"] = timestamp(at)
        return {
            "stream_name": self.stream.name,
            "name": self.name,
            "created": timestamp(self.created),
            "config": self.config.fields(served=served),
            "delivered": delivered,
            "ack_floor": floor,
            "num_ack_pending": len(state.pending),
            "num_redelivered": 0 if self.config.max_deliver == 1 else len(state.redelivered),
            "num_waiting": len(self.waiting),
            "num_pending": self.reading.left,
            **self._cluster_fields(),
            "ts": timestamp(self.jetstream.now()),
        }

    def _cluster_fields(self) -> dict[str, Any]:
        """Who leads it and who follows, for a server in a cluster."""
        return {}
