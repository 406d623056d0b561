"""A stream: takes messages, answers their publishers, keeps them as long as its configuration says.

Must not know the wire of the API; `_ingest` decides whether a message is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from . import _headers as headers
from ._advisories import consumer_action
from ._consumer import Consumer
from ._consumer_config import ConsumerConfig
from ._consumer_state import ConsumerState
from ._duplicates import Duplicates
from ._errors import APIError, api_error
from ._feed import Feed, feed_subject
from ._golang import MILLISECOND, SECOND, GoError, duration, encode, timestamp
from ._ingest import check_message
from ._messages import Messages, StoredMessage, StoreFullError, meets
from ._sourcing import Copy, Sourcing
from ._stream_config import StreamConfig

if TYPE_CHECKING:
    from .._interest import Subscription
    from .._surroundings import Observer, Timer
    from ._service import JetStream
    from ._storage import StreamFiles

_EXPIRY_CHECK: Final = 250 * MILLISECOND
_IDENTITY_LENGTH: Final = 8
_CONSUMER_DELETED: Final = (409, "Consumer Deleted")


class Stream:
    """One stream of a running server.

    Args:
        jetstream: sends, counts time and draws chance.
        config: how it is configured.
        created: when it was made, in nanoseconds since the epoch.
        messages: what it has.
        files: where it is kept; None = in memory.

    Attributes:
        consumers: by name.
        duplicates: the ids that it has seen.
    """

    def __init__(
        self,
        jetstream: JetStream,
        config: StreamConfig,
        created: int,
        messages: Messages,
        files: StreamFiles | None,
    ) -> None:
        self._jetstream = jetstream
        self.config = config
        self.created = created
        self.messages = messages
        self.files = files
        self.consumers: dict[str, Consumer] = {}
        self.duplicates = Duplicates()
        self._expiry_timer: Timer | None = None
        self._expiry_due = 0
        self._listening: list[Subscription] = []
        self._feed = Feed(jetstream, self)
        self._sourcing = Sourcing(jetstream, self)
        messages.removed = self._removed
        self._begin()

    def _begin(self) -> None:
        self._recall()
        self.listen()
        self._watch_expiry()

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def last_id(self) -> bytes:
        """Of the last message, if it had one."""
        return self.duplicates.last_id

    def _now(self) -> int:
        return self._jetstream.now()

    @property
    def _observer(self) -> Observer | None:
        return self._jetstream.observer

    def listen(self) -> None:
        """Subscribe to its subjects, and to no others; be copied, and copy."""
        self.stop_listening()
        self._listening = [self._jetstream.listen(pattern, self.receive) for pattern in self.config.patterns]
        self._listening.append(self._jetstream.listen(feed_subject(self.name), self._feed.ask))
        self._sourcing.start()

    def stop_listening(self) -> None:
        """Subscribe to nothing; be not copied, nor copy."""
        self._feed.close()
        self._sourcing.stop()
        for sub in self._listening:
            self._jetstream.forget(sub)
        self._listening = []

    # ------------------------------------------------------------------------------------------------- publishing

    def receive(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        """A message was published on one of its subjects."""
        try:
            answer = self._take(subject, header, payload)
        except APIError as error:
            answer = self._refusal(error)
        if reply and not self.config.no_ack:
            self._jetstream.send(reply, answer)

    def _take(self, subject: bytes, header: bytes, payload: bytes) -> bytes:
        duplicate = check_message(self, subject, header, payload)
        if duplicate:
            return self._pub_ack(duplicate, duplicate=True)
        now = self._now()
        identity = headers.find(header, headers.MESSAGE_ID) or b"" if header else b""
        if self.config.retention == "interest" and not self._is_wanted(subject):
            sequence = self.messages.skip(now)
            self._remember(identity, sequence, now)
        else:
            sequence = self._store(subject, header, payload, now, identity)
        self._changed()
        return self._pub_ack(sequence)

    def _store(self, subject: bytes, header: bytes, payload: bytes, now: int, identity: bytes) -> int:
        try:
            ttl_seconds = headers.time_to_live(header) if header else 0
        except GoError:
            raise api_error(10165) from None
        least = self.config.subject_delete_marker_ttl // SECOND
        if 0 < ttl_seconds < least and self.config.max_msgs_per_subject != 1:
            ttl_seconds, header = least, headers.with_time_to_live(header, least)
        try:
            message = self.messages.store(subject, header, payload, now, ttl_seconds)
        except StoreFullError as refusal:
            raise api_error(10077, refusal) from None
        self._remember(identity, message.sequence, now)
        if self._jetstream.notes:
            crc = crc32(payload, crc32(header))
            self._jetstream.note("js_store", stream=self.name, seq=message.sequence, size=message.size, crc=crc)
        observer = self._observer
        if observer is not None:
            observer.stored(self._jetstream.host, self.name, message.sequence, subject, header)
        self._watch_expiry()
        for consumer in list(self.consumers.values()):
            consumer.message_stored(message)
        if self._feed.waiting:
            self._feed.message_stored()
        self._roll_up(message)
        return message.sequence

    def take_copy(self, copy: Copy, done: Callable[[bool], None]) -> None:
        """Store what a mirror or a source has; `done` is told whether there was room."""
        done(self._take_copy(copy))

    def _take_copy(self, copy: Copy) -> bool:
        if copy.sequence and copy.sequence <= self.messages.last_sequence:
            return True
        identity = headers.find(copy.header, headers.MESSAGE_ID) or b"" if copy.header else b""
        if not copy.sequence and identity and self.seen(identity):
            return True
        if copy.sequence:
            self.messages.skip_to(copy.sequence)
        try:
            self._store(copy.subject, copy.header, copy.payload, copy.time or self._now(), identity)
        except APIError:
            return False
        self._changed()
        return True

    @property
    def identity(self) -> str:
        """Which stream it is: another one of its name, made later, has another."""
        return sha256(f"{self.name}/{self.created}".encode("utf-8", "surrogateescape")).hexdigest()[:_IDENTITY_LENGTH]

    def _is_wanted(self, subject: bytes) -> bool:
        return any(
            not consumer.reading.filters or meets(subject, consumer.reading.filters)
            for consumer in self.consumers.values()
        )

    def _roll_up(self, message: StoredMessage) -> None:
        how = headers.find(message.header, headers.ROLLUP) if message.header else None
        if how == b"sub":
            self.purge(message.subject, 0, 1)
        elif how == b"all":
            self.purge(b"", 0, 1)

    def _refusal(self, error: APIError) -> bytes:
        return encode({"error": error.fields(), "stream": self.name, "seq": 0})

    def _pub_ack(self, sequence: int, *, duplicate: bool = False) -> bytes:
        domain = self._jetstream.domain
        start = f'{{"stream":"{self.name}"' + (f',"domain":"{domain}"' if domain else "")
        end = ',"duplicate": true}' if duplicate else "}"
        return f'{start},"seq":{sequence}{end}'.encode()

    # ------------------------------------------------------------------------------------------------- duplicates

    def seen(self, identity: bytes) -> int:
        """The sequence of the message with this id, if it came within the window; else 0."""
        return self.duplicates.sequence_of(identity, self._now() - self.config.duplicate_window)

    def _remember(self, identity: bytes, sequence: int, now: int) -> None:
        self.duplicates.remember(identity, sequence, now, self._now() - self.config.duplicate_window)

    def _recall(self) -> None:
        """A restart: the ids are those of the messages that are there."""
        oldest = self._jetstream.now() - self.config.duplicate_window
        for message in self.messages:
            if message.time < oldest or not message.header:
                continue
            identity = headers.find(message.header, headers.MESSAGE_ID)
            if identity:
                self.duplicates.recall(identity, message.sequence, message.time)
                if message.sequence == self.messages.last_sequence:
                    self.duplicates.last_id = identity

    # --------------------------------------------------------------------------------------------- what leaves it

    def acknowledged(self, sequence: int) -> None:
        """A consumer is done with a message, which a stream that keeps what is needed may let go."""
        message = self.messages.get(sequence)
        if message is None:
            return
        if self.config.retention == "workqueue" or not self._is_needed(message):
            self.messages.remove(sequence)
            self._changed()

    def _is_needed(self, message: StoredMessage) -> bool:
        return any(consumer.needs(message) for consumer in self.consumers.values())

    def interest_changed(self) -> None:
        """Consumers have changed: a stream that keeps what is wanted lets the rest go."""
        if self.config.retention != "interest":
            return
        if not self.consumers:
            self.messages.purge()
            return
        unneeded = [message.sequence for message in self.messages if not self._is_needed(message)]
        for sequence in unneeded:
            self.messages.remove(sequence)

    def _removed(self, message: StoredMessage) -> None:
        for consumer in list(self.consumers.values()):
            consumer.message_removed(message)

    def delete_message(self, sequence: int) -> bool:
        """Remove one message; False when there is none."""
        removed = self.messages.remove(sequence)
        self._changed()
        return removed

    def purge(self, pattern: bytes, below: int, keep: int) -> int:
        """Remove messages, see `Messages.purge`."""
        count = self.messages.purge(pattern, below, keep)
        self._jetstream.note("js_purge", stream=self.name, count=count)
        for consumer in self.consumers.values():
            consumer.purged(pattern)
        self._changed()
        return count

    def _watch_expiry(self) -> None:
        due = self.messages.next_expiry()
        if not due:
            return
        due = max(due, self._jetstream.now() + _EXPIRY_CHECK)
        if self._expiry_timer is not None:
            if self._expiry_due <= due:
                return
            self._expiry_timer.cancel()
        self._expiry_due = due
        self._expiry_timer = self._jetstream.call_at(due, self._expire)

    def _expire(self) -> None:
        self._expiry_timer = None
        self._expire_now()

    def _expire_now(self) -> None:
        count, marked = self.messages.expire(self._now())
        for message in marked:
            self._mark(message)
        if count or marked:
            self._jetstream.note("js_expire", stream=self.name, count=count + len(marked))
            self._changed()
        self._watch_expiry()

    def _mark(self, message: StoredMessage) -> None:
        """Store a marker, whose roll-up removes what has expired; without room that stays, and is tried again."""
        header = headers.marker(duration(self.config.subject_delete_marker_ttl // SECOND * SECOND))
        try:
            self._store(message.subject, header, b"", self._now(), b"")
        except APIError:
            self.messages.expire_again(message)

    # -------------------------------------------------------------------------------------------- life and end

    def update(self, config: StreamConfig) -> None:
        """Take on another configuration."""
        self.config = self.messages.config = config
        self.listen()
        self.messages.enforce()
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        self._watch_expiry()
        if self.files is not None:
            self.files.config = config
        self._changed()

    def add_consumer(self, config: ConsumerConfig, name: str) -> Consumer:
        """Make a consumer."""
        consumer = Consumer(self._jetstream, self, config, name, self._jetstream.now())
        self.consumers[name] = consumer
        self._jetstream.consumer_added(consumer)
        consumer_action(consumer, "create")
        return consumer

    def restore_consumer(self, config: ConsumerConfig, name: str, created: int, state: ConsumerState) -> None:
        """A restart: a consumer goes on where it was."""
        state.cut(self.messages.last_sequence)
        self.consumers[name] = consumer = Consumer(self._jetstream, self, config, name, created, state)
        self._jetstream.consumer_added(consumer)

    def delete_consumer(self, consumer: Consumer) -> None:
        """End a consumer; those who wait for messages are told."""
        del self.consumers[consumer.name]
        consumer_action(consumer, "delete")
        consumer.close(_CONSUMER_DELETED)
        self._jetstream.consumer_removed(consumer)
        self.interest_changed()
        self._changed()

    def close(self) -> None:
        """The server ends, or the stream does."""
        self.stop_listening()
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()

    def _changed(self) -> None:
        if self.files is not None:
            self._jetstream.files_changed(self.files)

    def state(self, subjects: dict[str, int] | None = None, *, deleted: bool = False) -> dict[str, Any]:
        """As it stands in a reply.

        Args:
            subjects: those that were asked for, with how many messages they have.
            deleted: whether deleted sequences are listed.
        """
        state = self.messages.state()
        if subjects:
            state["subjects"] = subjects
        missing = self.messages.deleted()
        if deleted and self.config.storage == "file" and not self.messages.first_sequence:
            missing = [0]  # so the server counts in a file
        if missing:
            state["num_deleted"] = len(missing)
            if deleted:
                state["deleted"] = missing
        state["consumer_count"] = self._consumer_count
        return state

    def _cluster_fields(self, leader: str) -> dict[str, Any]:
        return {"cluster": {"leader": leader}} if leader else {}

    @property
    def _consumer_count(self) -> int:
        return len(self.consumers)

    def info(self, state: dict[str, Any] | None = None, *, served: bool = True, leader: str = "") -> dict[str, Any]:
        """As it stands in a reply; `leader` = who answers for it, where that is said."""
        fields: dict[str, Any] = {
            "config": self.config.fields(served=served),
            "created": timestamp(self.created),
            "state": self.state() if state is None else state,
        }
        if self._jetstream.domain:
            fields["domain"] = self._jetstream.domain
        fields |= self._cluster_fields(leader) | self._sourcing.fields()
        fields["ts"] = timestamp(self._jetstream.now())
        return fields
