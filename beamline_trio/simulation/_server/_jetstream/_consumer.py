"""A pull consumer: which message goes next, to whom, and what becomes of it when nobody acknowledges it.

It works as the server's own loop does: whenever something may have changed (`signal`), it hands out what it can, ends
requests that are over, and sets a timer for the next end or heartbeat. A second timer looks after what waits for an
acknowledgement, a third one ends a consumer that nobody uses.

Must not know the wire of requests and acknowledgements beyond `_pulls` and `_acks`, nor where its state is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import attrs

from .._subjects import is_subset
from . import _acks
from . import _headers as headers
from ._advisories import deliveries_exceeded, naked, terminated
from ._consumer_config import EPHEMERAL_THRESHOLD, ConsumerConfig
from ._consumer_state import ConsumerState
from ._golang import MILLISECOND, SECOND, GoError, duration, timestamp
from ._messages import StoredMessage, meets
from ._pulls import PullQueue, PullRequest

if TYPE_CHECKING:
    from .._surroundings import Timer
    from ._service import JetStream
    from ._stream import Stream

_ACK_WAIT_DELAY: Final = MILLISECOND
_NAK_CHECK: Final = 10 * MILLISECOND
_FULL_CHECK: Final = SECOND
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
        state: what it has handed out and what is acknowledged.
        waiting: requests for messages.
        pending_count: messages that it has not handed out.
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
        self.filters = config.filters
        self.waiting = PullQueue(config.max_waiting)
        self.acks = _acks.AckSubjects.of(stream.name, name, jetstream.domain, v2=jetstream.config.jetstream_ack_v2)
        self._last_sequences: list[int] = []  # of each subject, for deliver_policy last_per_subject
        self._resume_at = 0
        self._redeliver: dict[int, None] = {}
        self._request_timer: Timer | None = None
        self._pending_timer: Timer | None = None
        self._pending_due = 0
        self._idle_timer: Timer | None = None
        self._used_at = jetstream.now()
        self._checked_at = 0
        self._delivered_at = self._acknowledged_at = 0
        self._running = False
        self._signalled = False  # it will be, in a moment
        self._threshold = 0
        self.closed = False
        self.state = state if state is not None else ConsumerState(self._select_start())
        self.pending_count = self._count_pending()
        if state is not None:
            self._go_on()
        self._watch_use()

    # ---------------------------------------------------------------------------------------------- where it starts

    def _select_start(self) -> int:
        messages, config = self.stream.messages, self.config
        first, last = messages.first_sequence, messages.last_sequence
        start = self._start_by_policy()
        if not config.opt_start_seq:
            if not first:
                return 1
            start = min(start, last + 1)
        return max(start, first)

    def _start_by_policy(self) -> int:
        messages, config = self.stream.messages, self.config
        if config.opt_start_seq:
            return config.opt_start_seq
        match config.deliver_policy:
            case "all":
                return messages.first_sequence
            case "last":
                return self._last_matching()
            case "last_per_subject":
                return self._start_at_last_of_subjects()
            case "by_start_time":
                return messages.sequence_at(config.opt_start_time)
            case _:
                return messages.last_sequence + 1

    def _last_matching(self) -> int:
        messages = self.stream.messages
        if not self.filters:
            return messages.last_sequence
        found = [messages.last_of(one) for one in self.filters]
        return max((one.sequence for one in found if one is not None), default=0)

    def _start_at_last_of_subjects(self) -> int:
        messages = self.stream.messages
        if self.stream.config.max_msgs_per_subject == 1:
            return messages.first_sequence
        subjects = {subject: None for one in self.filters for subject in messages.matching(one)}
        found = [messages.last_of(subject) for subject in subjects]
        self._last_sequences = sorted(one.sequence for one in found if one is not None)
        self._resume_at = messages.last_sequence
        return self._last_sequences[0] if self._last_sequences else messages.last_sequence

    def _count_pending(self) -> int:
        if self._last_sequences:
            return len(self._last_sequences)
        return self.stream.messages.count_from(self.state.next_stream, self.filters)

    def _go_on(self) -> None:
        """A restart: look soon at what was not acknowledged."""
        if self.state.pending:
            soon = SECOND // 2 + self.jetstream.random.randrange(1000) * MILLISECOND
            self._watch_pending(min(soon, self.config.ack_wait + _ACK_WAIT_DELAY))

    # ---------------------------------------------------------------------------------------------------- requests

    def request(self, reply: bytes, body: bytes) -> None:
        """Somebody asks for messages."""
        now = self.jetstream.now()
        try:
            request = PullRequest(reply, body, now)
        except GoError as error:
            self._tell(reply, 400, f"Bad Request - {error}")
            return
        excess = self._excess(request, now)
        if excess is not None:
            self._tell(reply, 409, excess)
            return
        if self.waiting.full and now - self._checked_at > _FULL_CHECK:
            self._process_waiting(end_of_stream=False)
        if request.no_wait and self._refuses_to_wait(request):
            return
        if self.waiting.full:
            if not request.heartbeat:
                self._tell(reply, 409, "Exceeded MaxWaiting")
            return
        self.waiting.add(request)
        self._used_at = now
        self.signal()

    def _excess(self, request: PullRequest, now: int) -> str | None:
        config = self.config
        if 0 < config.max_batch < request.left:
            return f"Exceeded MaxRequestBatch of {config.max_batch}"
        if request.expires and config.max_expires and request.expires > now + config.max_expires:
            return f"Exceeded MaxRequestExpires of {duration(config.max_expires)}"
        if 0 < config.max_bytes < request.bytes_left:
            return f"Exceeded MaxRequestMaxBytes of {config.max_bytes}"
        return None

    def _refuses_to_wait(self, request: PullRequest) -> bool:
        available = self.pending_count + len(self._redeliver)
        if not available:
            if request.expires:
                return False
            self._used_at = self.jetstream.now()
            self._tell(request.reply, 404, "No Messages")
            return True
        if available < self._process_waiting(end_of_stream=False):
            self._used_at = self.jetstream.now()
            self._tell(request.reply, 408, "Requests Pending")
            return True
        return False

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
        self._process_waiting(end_of_stream=not stalled)

    def _process_waiting(self, *, end_of_stream: bool) -> int:
        """End what is over, send heartbeats, set the timer; how many messages are asked for."""
        now = self._checked_at = self.jetstream.now()
        asked, due = 0, 0
        for request in self.waiting:
            if self._is_over(request, now, end_of_stream=end_of_stream):
                self.waiting.remove(request)
                continue
            asked += request.left
            if request.heartbeat_due and now >= request.heartbeat_due:
                self._send_heartbeat(request.reply)
                request.heartbeat_due = now + request.heartbeat
            for moment in (request.heartbeat_due, request.expires):
                if moment and (not due or moment < due):
                    due = moment
        if self._request_timer is not None:
            self._request_timer.cancel()
        self._request_timer = self.jetstream.call_at(due, self._requests_due) if due else None
        return asked

    def _is_over(self, request: PullRequest, now: int, *, end_of_stream: bool) -> bool:
        if request.expires and now >= request.expires:
            self._tell(request.reply, 408, "Request Timeout", **request.pending)
            return True
        if end_of_stream and request.no_wait and (not request.expires or request.given):
            self._tell(request.reply, 404, "No Messages")
            return True
        return not self.jetstream.is_wanted(request.reply)

    def _requests_due(self) -> None:
        self._request_timer = None
        self._process_waiting(end_of_stream=True)

    def _send_heartbeat(self, reply: bytes) -> None:
        state = self.state
        self._tell(
            reply,
            100,
            "Idle Heartbeat",
            Nats_Last_Consumer=state.next_consumer - 1,
            Nats_Last_Stream=state.next_stream - 1,
        )

    # -------------------------------------------------------------------------------------------------- deliveries

    def _next_message(self) -> tuple[StoredMessage | None, int, bool]:
        """The next message, which delivery of it this is, and whether only acknowledgements are missing."""
        again = self._next_redelivery()
        if again is not None:
            return *again, False
        if 0 < self.config.max_ack_pending <= len(self.state.pending):
            return None, 0, True
        if self._last_sequences:
            return self._next_last_sequence(), 1, False
        message = self.stream.messages.next(self.state.next_stream, self.filters)
        self.state.next_stream = (self.stream.messages.last_sequence if message is None else message.sequence) + 1
        return message, 1, False

    def _next_last_sequence(self) -> StoredMessage | None:
        sequence = self._last_sequences.pop(0)
        self.state.next_stream = (sequence if self._last_sequences else self._resume_at) + 1
        return self.stream.messages.get(sequence)

    def _next_redelivery(self) -> tuple[StoredMessage, int] | None:
        state = self.state
        while self._redeliver:
            sequence = next(iter(self._redeliver))
            del self._redeliver[sequence]
            state.redelivered[sequence] = state.redelivered.get(sequence, 0) + 1
            deliveries = state.redelivered[sequence] + 1
            if 0 < self.config.max_deliver < deliveries:
                self._give_up(sequence, deliveries)
                continue
            message = self.stream.messages.get(sequence)
            if message is not None:
                return message, deliveries
            self._count_back(sequence)
        return None

    def _hand_out(self, message: StoredMessage, deliveries: int) -> bool:
        """Deliver a message to the next request; False when there is none, and it stays the next one."""
        state = self.state
        if deliveries == 1:
            self.pending_count -= 1
        reply = self._ack_reply(message, deliveries)
        header, payload = message.header, message.payload
        if self.config.headers_only:
            header, payload = headers.with_size_only(header, len(payload)), b""
        request = self._next_request(len(message.subject) + len(reply) + len(header) + len(payload))
        if request is None:
            if deliveries == 1 and message.sequence == state.next_stream - 1:
                state.next_stream -= 1
                self.pending_count += 1
            elif message.sequence not in self._redeliver:
                self._count_back(message.sequence)
                self._redeliver[message.sequence] = None
            return False
        if request.heartbeat:
            request.heartbeat_due = self.jetstream.now() + request.heartbeat
        self._deliver(message, deliveries, request.reply, reply, header, payload)
        if request.left <= 0 and request.bytes_left > 0:
            self._tell(request.reply, 409, "Batch Completed", **request.pending)
        return True

    def _count_back(self, sequence: int) -> None:
        """A message was not delivered after all."""
        redelivered = self.state.redelivered
        redelivered[sequence] -= 1
        if not redelivered[sequence]:
            del redelivered[sequence]

    def _ack_reply(self, message: StoredMessage, deliveries: int) -> bytes:
        numbers = (deliveries, message.sequence, self.state.next_consumer, message.time, self.pending_count)
        return f"{self.acks.prefix}{'.'.join(map(str, numbers))}".encode()

    def _next_request(self, size: int) -> PullRequest | None:
        now = self.jetstream.now()
        while (request := self.waiting.peek()) is not None:
            if request.expires and now >= request.expires:
                self._tell(request.reply, 408, "Request Timeout", **request.pending)
            elif request.bytes_left > 0 and size > request.bytes_left:
                self._tell(request.reply, 409, "Message Size Exceeds MaxBytes", **request.pending)
            else:
                if request.bytes_left > 0:
                    request.bytes_left -= size
                    if not request.bytes_left:
                        request.left = 1
                if self.jetstream.is_wanted(request.reply):
                    self.waiting.use(request)
                    return request
            self.waiting.remove(request)
        return None

    def _deliver(
        self, message: StoredMessage, deliveries: int, to: bytes, reply: bytes, header: bytes, payload: bytes
    ) -> None:
        now = self.jetstream.now()
        acknowledges = self.config.ack_policy != "none"
        self._delivered_at = self._used_at = now
        self.state.delivered(message.sequence, deliveries, now, acknowledges=acknowledges)
        if acknowledges:
            self._watch_pending(self._wait_of(message.sequence) + _ACK_WAIT_DELAY)
        self.jetstream.note(
            "js_redeliver" if deliveries > 1 else "js_deliver",
            stream=self.stream.name,
            consumer=self.name,
            seq=message.sequence,
            count=deliveries,
            crc=crc32(payload, crc32(header)),
        )
        self.jetstream.deliver(to, message.subject, payload, header=header, reply=reply)
        observer = self.jetstream.observer
        if observer is not None:
            observer.handed_out(self.jetstream.host, self.stream.name, self.name, message.sequence, deliveries, header)
        self.changed()
        if not acknowledges and self.stream.config.retention != "limits":
            self.stream.acknowledged(message.sequence)

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
            self._redeliver.pop(one, None)
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
            self._redeliver[sequence] = None
            self.jetstream.soon(self.signal)
            return
        self._redeliver.pop(sequence, None)
        self.state.pending[sequence][1] = self.jetstream.now() - self.config.ack_wait + delay
        self.changed()
        self._watch_pending(_NAK_CHECK, again=True)

    def _in_progress(self, sequence: int) -> None:
        pending = self.state.pending.get(sequence)
        if pending is not None:
            pending[1] = self.jetstream.now()
            self.changed()

    def _deleted(self, delivered: _acks.Delivered) -> None:
        self._acknowledged(delivered)
        terminated(self, delivered, _DELETED)

    # ------------------------------------------------------------------------------------------------- redelivery

    def _wait_of(self, sequence: int) -> int:
        """How long this delivery of a message may go without an acknowledgement."""
        backoff = self.config.backoff
        if not backoff:
            return self.config.ack_wait
        return backoff[min(self.state.redelivered.get(sequence, 0), len(backoff) - 1)]

    def _watch_pending(self, after: int, *, again: bool = False) -> None:
        due = self.jetstream.now() + after
        if self._pending_timer is not None:
            if self._pending_due <= due and not again:
                return
            self._pending_timer.cancel()
        self._pending_due = due
        self._pending_timer = self.jetstream.call_at(due, self._check_pending)

    def _check_pending(self) -> None:
        self._pending_timer = None
        state, now = self.state, self.jetstream.now()
        if not self.config.ack_wait:
            return
        following = self.config.backoff[-1] if self.config.backoff else self.config.ack_wait + _ACK_WAIT_DELAY
        expired: list[int] = []
        for sequence, (_, at) in list(state.pending.items()):
            wait = self._wait_of(sequence)
            if self.config.backoff:
                later = min(state.redelivered.get(sequence, 0) + 1, len(self.config.backoff) - 1)
                following = min(following, self.config.backoff[later])
            if now - at < wait:
                following = min(following, wait - (now - at))
            elif sequence not in self._redeliver and not self._is_exhausted(sequence):
                expired.append(sequence)
        self._expire(sorted(expired), now)
        if state.pending:
            self._watch_pending(following)
        else:
            state.raise_floor()
        if expired:
            self.signal()

    def _expire(self, expired: list[int], now: int) -> None:
        if not expired:
            return
        offset = now - self.state.pending[expired[0]][1]
        for sequence in expired:
            self._redeliver[sequence] = None
            self.state.pending[sequence][1] += offset

    def _is_exhausted(self, sequence: int) -> bool:
        """Whether a message has been delivered as often as it may; then it is given up."""
        deliveries = max(self.state.redelivered.get(sequence, 0) + 1, 1)
        if not 0 < self.config.max_deliver <= deliveries:
            return False
        self._give_up(sequence, deliveries + 1)
        return True

    def _give_up(self, sequence: int, deliveries: int) -> None:
        if deliveries == self.config.max_deliver + 1:
            deliveries_exceeded(self, sequence, deliveries - 1)
        self.state.give_up(sequence, deliveries - 1)
        self.changed()
        self.jetstream.soon(self.signal)

    # ------------------------------------------------------------------------------------- what happens to messages

    def message_stored(self, message: StoredMessage) -> None:
        """The stream has a new message."""
        if self.filters and not meets(message.subject, self.filters):
            return
        self.pending_count += 1
        if len(self.waiting) and not self._signalled:
            self._signalled = True
            self.jetstream.soon(self.signal)

    def message_removed(self, message: StoredMessage) -> None:
        """A message is gone from the stream."""
        sequence = message.sequence
        if sequence >= self.state.next_stream and (not self.filters or meets(message.subject, self.filters)):
            self.pending_count -= 1
        pending = self.state.pending.get(sequence)
        if pending is not None:
            deliveries = self.state.redelivered.get(sequence, 0) + 1
            delivered = _acks.Delivered(deliveries, sequence, pending[0])
            self.jetstream.soon(self._deleted, delivered)
        elif self.state.redelivered.pop(sequence, None) is not None:
            self._acknowledged_at = self.jetstream.now()
            self.changed()

    def purged(self, pattern: bytes) -> None:
        """The stream was purged, of a pattern or altogether: what is before its first message now is done with."""
        messages = self.stream.messages
        start, get = messages.first_sequence, None
        if pattern and any(is_subset(one, pattern) for one in self.filters):
            first = messages.next(start, (pattern,))
            start = messages.last_sequence + 1 if first is None else first.sequence
        elif pattern and self.filters and not any(is_subset(pattern, one) for one in self.filters):
            start = 0
        elif pattern:
            get = messages.get
        if start and self.state.purge(start, get):
            self._acknowledged_at = self.jetstream.now()
        if start:
            self._redeliver = {one: None for one in self._redeliver if one >= self.state.next_stream}
        self._last_sequences = [one for one in self._last_sequences if messages.get(one) is not None]
        self.pending_count = self._count_pending()
        self.changed()

    def needs(self, message: StoredMessage) -> bool:
        """Whether a message is still to be acknowledged here, for streams that keep what is needed."""
        if self.filters and not meets(message.subject, self.filters):
            return False
        return self.state.needs(message.sequence, explicit=self.config.ack_policy == "explicit")

    # ------------------------------------------------------------------------------------------------- life and end

    def update(self, config: ConsumerConfig) -> None:
        """Take on another configuration."""
        self.config = config
        if self.filters != config.filters:
            self.filters = config.filters
            self.pending_count = self._count_pending()
            self.stream.interest_changed()
        if self.state.pending:
            self._watch_pending(config.ack_wait + _ACK_WAIT_DELAY, again=True)
        self._watch_use()
        self.signal()

    def changed(self) -> None:
        """Its state is another one than what is kept."""
        self.jetstream.consumer_changed(self)

    def close(self, status: tuple[int, str] | None = None, *, counts: bool = False) -> None:
        """End it.

        Args:
            status: what those who wait are told.
            counts: and what they did not get.
        """
        if self.closed:
            return
        self.closed = True
        for timer in (self._request_timer, self._pending_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        if status is not None:
            for request in self.waiting:
                self._tell(request.reply, *status, **(request.pending if counts else {}))

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
        unused = now - self._used_at
        if unused < threshold:
            wait = threshold - unused
        else:
            self._process_waiting(end_of_stream=True)
            wait = threshold if len(self.waiting) else self._longest_pending(now)
        if wait > 0:
            self._idle_timer = self.jetstream.call_at(now + wait, self._check_use)
            return
        self._idle_timer = None
        self.stream.delete_consumer(self)

    def _longest_pending(self, now: int) -> int:
        ends = (
            at + self._wait_of(sequence) + _ACK_WAIT_DELAY + self._threshold
            for sequence, (_, at) in self.state.pending.items()
        )
        return max((end - now for end in ends), default=0)

    def _tell(self, to: bytes, status: int, text: str, **fields: object) -> None:
        self.jetstream.send(to, b"", header=headers.block(status, text, **fields))

    def info(self, *, served: bool = True) -> dict[str, Any]:
        """As it stands in a reply."""
        if len(self.waiting):
            self._process_waiting(end_of_stream=False)
        state = self.state
        last = state.last_stream
        if not last and state.next_consumer == 1 and (self.config.mem_storage or self.stream.files is None):
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
            "num_pending": self.pending_count,
            "ts": timestamp(self.jetstream.now()),
        }
