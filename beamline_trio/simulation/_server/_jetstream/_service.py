"""JetStream of one running server: its streams, and what they need of the server around them.

What reaches it is worked off a moment later, in order and in one event, as the server does it in goroutines of its own
beside the connections: a PONG may come before a PubAck that was asked for first.

Must not know the protocol's bytes beyond a message's parts, nor what the requests of the API mean (`_api`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .._delivery import publish_from_server
from .._interest import Subscription
from ._consumer import Consumer
from ._golang import SECOND, timestamp
from ._messages import Messages
from ._storage import ConsumerFiles, Storage, StreamFiles
from ._stream import Stream
from ._stream_config import StreamConfig

if TYPE_CHECKING:
    from .._config import ServerConfig
    from .._connection import ClientConnection
    from .._delivery import MessageParts
    from .._process import Process
    from .._surroundings import Observer, Timer

# Subject, reply, headers, payload.
Handler: TypeAlias = Callable[[bytes, bytes, bytes, bytes], None]

_WORK_SECONDS: Final = 0.0001
_STATE_SECONDS: Final = 0.1
_ID_LENGTH: Final = 22
_NAME_LENGTH: Final = 8
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SERVER_SHUTDOWN: Final = (409, "Server Shutdown")


class JetStream:
    """The streams of a running server.

    Args:
        process: of the server.
        storage: what is on disk.
        epoch: nanoseconds since 1970 at virtual time 0.

    Attributes:
        streams: by name.
        config: of the server.
        ended: it was shut down.
        api_counts: requests and errors so far; set by who makes it.
    """

    api_counts: Callable[[], dict[str, int]]

    def __init__(self, process: Process, storage: Storage, epoch: int) -> None:
        self._process = process
        self._storage = storage
        self._epoch = epoch
        self._work: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._states: dict[Consumer, None] = {}
        self._states_at = -_STATE_SECONDS
        self._states_timer: Timer | None = None
        self._listening: dict[Consumer, list[Subscription]] = {}
        self.config: ServerConfig = process.config
        self.host = process.host
        self.random: Random = process.random
        self.domain = process.config.jetstream_domain
        self.server_name = process.identity.server_name
        self.streams: dict[str, Stream] = {}
        self.ended = False
        for files in storage.streams.values():
            self._restore(files)

    def _restore(self, files: StreamFiles) -> None:
        stream = self.streams[files.config.name] = Stream(self, files.config, files.created, files.messages, files)
        if files.dirty:  # the process that would have synced it is gone
            files.dirty = False
            self.files_changed(files)
        for kept in list(files.consumers.values()):
            stream.restore_consumer(kept.config, kept.name, kept.created, kept.written.stored())

    # --------------------------------------------------------------------------------------- time, chance, trace

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        return self._epoch + round(self._process.now() * SECOND)

    def text_at(self, seconds: float) -> str:
        """A moment of virtual time, as JetStream writes moments."""
        return timestamp(self._epoch + round(seconds * SECOND))

    def call_at(self, moment: int, callback: Callable[[], None]) -> Timer:
        """Call back at a moment, or when the process goes on if it is paused then."""
        return self._process.call_later(max(moment - self.now(), 0) / SECOND, callback)

    def soon(self, callback: Callable[..., object], *args: object) -> None:
        """Call back when what is being done is done."""
        if not self._work:
            self._process.call_later(_WORK_SECONDS, self._do)
        self._work.append((callback, args))

    def _do(self) -> None:
        work, self._work = self._work, deque()
        for callback, args in work:
            if not self.ended:
                callback(*args)

    # ------------------------------------------------------------------------------------------ what monitoring says

    def meta_fields(self) -> dict[str, Any] | None:
        """What is told of the meta group; None = there is none."""
        return None

    def group_count(self) -> int:
        """How many groups it has a part in."""
        return 0

    def health(self) -> str:
        """What is wrong with it, in the server's words; empty = nothing."""
        return ""

    def draw_id(self) -> str:
        """An id of an event."""
        return "".join([_BASE62[self.random.randrange(62)] for _ in range(_ID_LENGTH)])

    def draw_name(self) -> str:
        """A name for a consumer that was given none."""
        return "".join([_BASE62[self.random.randrange(62)] for _ in range(_NAME_LENGTH)])

    def later(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        """Call back after some time, unless it has ended by then."""
        self._process.call_later(seconds, self._unless_ended, callback, args)

    def _unless_ended(self, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        if not self.ended:
            callback(*args)

    def step_down(self) -> None:
        """Hand over the lead of the meta group; a server of its own has nobody to hand it to."""

    def leads(self, stream: str, consumer: str) -> bool:
        """Whether this server answers for a stream or a consumer; alone it does for all there are."""
        found = self.streams.get(stream)
        return not stream or (found is not None and (not consumer or consumer in found.consumers))

    @property
    def notes(self) -> bool:
        """Whether anything is done with what is noted."""
        return self._process.notes

    def note(self, kind: str, **fields: str | int | float | bool | None) -> None:
        """Note something in the trace."""
        self._process.note(kind, **fields)

    @property
    def observer(self) -> Observer | None:
        """What is told of messages."""
        return self._process.observer

    # -------------------------------------------------------------------------------------------------- messages

    def is_wanted(self, subject: bytes) -> bool:
        """Whether anybody would be given a message on this subject."""
        gateways = self._process.gateways
        return bool(self._process.interest.match(subject)) or (gateways is not None and gateways.wanted(subject))

    def send(self, subject: bytes, payload: bytes, *, header: bytes = b"") -> None:
        """Publish a message."""
        self.deliver(subject, subject, payload, header=header)

    def deliver(self, to: bytes, subject: bytes, payload: bytes, *, header: bytes = b"", reply: bytes = b"") -> None:
        """Give a message to those who listen to `to`; they see its own subject."""
        size = len(header)
        parts = (subject, reply, size, b"%d" % size, b"%d" % (size + len(payload)), b"%b%b\r\n" % (header, payload))
        publish_from_server(self._process, to, parts)

    def listen(self, subject: bytes, handler: Handler) -> Subscription:
        """Have a handler called with each message on a subject."""

        def take(message: MessageParts, source: ClientConnection | None) -> bool:
            own, reply, size, _, _, data = message
            self.soon(handler, own, reply, data[:size], data[size:-2])
            return True

        return self.serve(subject, take)

    def serve(self, subject: bytes, service: Callable[[MessageParts, ClientConnection | None], bool]) -> Subscription:
        """Have a service asked for each message on a subject; it says whether it takes it."""
        sub = Subscription(subject, service=service)
        self._process.interest.insert(sub)
        self._process.subscribed(sub)
        return sub

    def forget(self, sub: Subscription) -> None:
        """End a subscription."""
        self._process.interest.remove(sub)
        self._process.unsubscribed(sub)

    # --------------------------------------------------------------------------------------------------- streams

    def knows_stream(self, name: str) -> bool:
        """Whether there is a stream of this name."""
        return name in self.streams

    def add_stream(self, config: StreamConfig) -> Stream:
        """Make a stream."""
        messages, created = Messages(config), self.now()
        files = StreamFiles(config, created, messages) if config.storage == "file" else None
        if files is not None:
            self._storage.streams[config.name] = files
        stream = self.streams[config.name] = Stream(self, config, created, messages, files)
        self.note("js_stream", stream=config.name)
        return stream

    def delete_stream(self, stream: Stream) -> None:
        """End a stream and its consumers."""
        del self.streams[stream.name]
        self._storage.streams.pop(stream.name, None)
        for consumer in list(stream.consumers.values()):
            stream.delete_consumer(consumer)
        stream.close()
        self.note("js_stream_deleted", stream=stream.name)

    def consumer_added(self, consumer: Consumer) -> None:
        """A stream has a new consumer: listen for its acknowledgements, and keep it."""
        if consumer.config.ack_policy != "none":
            subjects = consumer.acks.listened
            self._listening[consumer] = [self.listen(subject, self._ack_handler(consumer)) for subject in subjects]
        files = consumer.stream.files
        if files is not None and not consumer.config.mem_storage and consumer.name not in files.consumers:
            state = consumer.state.stored()
            files.consumers[consumer.name] = ConsumerFiles(consumer.config, consumer.name, consumer.created, state)
            self.note("js_consumer", stream=consumer.stream.name, consumer=consumer.name)

    def consumer_removed(self, consumer: Consumer) -> None:
        """A stream has lost a consumer."""
        for sub in self._listening.pop(consumer, ()):
            self.forget(sub)
        self._states.pop(consumer, None)
        if consumer.stream.files is not None:
            consumer.stream.files.consumers.pop(consumer.name, None)
        self.note("js_consumer_deleted", stream=consumer.stream.name, consumer=consumer.name)

    def _ack_handler(self, consumer: Consumer) -> Handler:
        def take(subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
            if not consumer.closed:
                consumer.acknowledge(subject, reply, payload)

        return take

    # --------------------------------------------------------------------------------------------------- storage

    def files_changed(self, files: StreamFiles) -> None:
        """Something was written; it is on the disk after the next sync."""
        interval = self.config.jetstream_sync_interval_seconds
        if interval and not files.dirty:
            files.dirty = True
            self._process.call_later(interval, files.sync)

    def consumer_changed(self, consumer: Consumer) -> None:
        """A consumer's state is written soon, and not more often than ten times a second."""
        files = consumer.stream.files
        if files is None or consumer.config.mem_storage:
            return
        self._states[consumer] = None
        if self._states_timer is None:
            wait = max(self._states_at + _STATE_SECONDS - self._process.now(), 0.0)
            self._states_timer = self._process.call_later(wait, self._write_states)

    def _write_states(self) -> None:
        self._states_timer = None
        self._states_at = self._process.now()
        states, self._states = self._states, {}
        for consumer in states:
            files = consumer.stream.files
            kept = None if files is None else files.consumers.get(consumer.name)
            if files is None or kept is None:
                continue
            kept.written = consumer.state.stored()
            kept.config = consumer.config
            if self.config.jetstream_sync_interval_seconds:
                self.files_changed(files)
            else:
                kept.synced = kept.written

    def shut_down(self, *, telling: bool) -> None:
        """End in order: what is to be written is, and nothing is listened to any more; requests stay unanswered.

        Args:
            telling: whether those who wait for messages are told, which the server omits in lame duck mode.
        """
        if self.ended:
            return
        self._write_states()
        self.ended = True
        for stream in self.streams.values():
            stream.close()
            for consumer in stream.consumers.values():
                consumer.close(_SERVER_SHUTDOWN if telling else None, counts=True)
                for sub in self._listening.pop(consumer, ()):
                    self.forget(sub)
        self.streams = {}
