"""What a cluster's meta group decides: which streams and consumers there are, and on which servers.

A state machine: entries change it, in the same order everywhere. Must not know groups, servers or requests.
"""

from __future__ import annotations

import json
from typing import Any, Protocol, TypeVar

import attrs

from .._consumer_config import ConsumerConfig
from .._stream_config import StreamConfig

C = TypeVar("C", StreamConfig, ConsumerConfig)


@attrs.frozen
class Members:
    """The servers of one group, and the one that should lead first."""

    name: str
    peers: tuple[str, ...]
    preferred: str

    def pack(self) -> list[Any]:
        """As it stands in an entry."""
        return [self.name, list(self.peers), self.preferred]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Members:
        """What `pack` made."""
        return cls(packed[0], tuple(packed[1]), packed[2])


@attrs.define
class ConsumerAssignment:
    """A consumer; `created` in nanoseconds since the epoch."""

    name: str
    config: ConsumerConfig
    created: int
    members: Members


@attrs.define
class StreamAssignment:
    """A stream with its consumers by name; `created` in nanoseconds since the epoch."""

    config: StreamConfig
    created: int
    members: Members
    consumers: dict[str, ConsumerAssignment] = attrs.field(factory=dict)


class Listener(Protocol):
    """What is told of changes; `reply` is where somebody waits for the answer to this one, or empty."""

    def stream_assigned(self, stream: StreamAssignment, reply: str) -> None:
        """There is a new stream."""
        ...

    def stream_reconfigured(self, stream: StreamAssignment, reply: str) -> None:
        """A stream has another configuration."""
        ...

    def stream_removed(self, stream: StreamAssignment, reply: str) -> None:
        """A stream is gone."""
        ...

    def consumer_assigned(self, stream: StreamAssignment, consumer: ConsumerAssignment, reply: str) -> None:
        """There is a new consumer."""
        ...

    def consumer_reconfigured(self, stream: StreamAssignment, consumer: ConsumerAssignment, reply: str) -> None:
        """A consumer has another configuration."""
        ...

    def consumer_removed(self, stream: StreamAssignment, consumer: ConsumerAssignment, reply: str) -> None:
        """A consumer is gone."""
        ...

    def all_assigned(self) -> None:
        """Everything may be another one now."""
        ...


class Assignments:
    """The streams by name."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamAssignment] = {}

    def consumer(self, stream: str, name: str) -> ConsumerAssignment | None:
        """A consumer, if there is one of this name."""
        found = self.streams.get(stream)
        return None if found is None else found.consumers.get(name)

    # ------------------------------------------------------------------------------------------------------- entries

    def apply(self, data: bytes, listener: Listener) -> None:
        """Take a decided entry."""
        entry = json.loads(data)
        reply = entry.get("reply", "")
        stream = self.streams.get(entry["stream"])
        match entry["op"]:
            case "stream" if stream is None:
                added = self.streams[entry["stream"]] = StreamAssignment(*_stream(entry))
                listener.stream_assigned(added, reply)
            case "stream" if stream is not None:
                stream.config = unpack(StreamConfig, entry["config"])
                listener.stream_reconfigured(stream, reply)
            case "remove" if stream is not None:
                del self.streams[entry["stream"]]
                listener.stream_removed(stream, reply)
            case "consumer" if stream is not None:
                self._consumer(stream, entry, listener, reply)
            case "remove_consumer" if stream is not None and entry["consumer"] in stream.consumers:
                listener.consumer_removed(stream, stream.consumers.pop(entry["consumer"]), reply)
            case _:
                pass

    def _consumer(self, stream: StreamAssignment, entry: dict[str, Any], listener: Listener, reply: str) -> None:
        known = stream.consumers.get(entry["consumer"])
        if known is None:
            added = stream.consumers[entry["consumer"]] = ConsumerAssignment(*_consumer(entry))
            listener.consumer_assigned(stream, added, reply)
        else:
            known.config = unpack(ConsumerConfig, entry["config"])
            listener.consumer_reconfigured(stream, known, reply)

    # ------------------------------------------------------------------------------------------------------ snapshots

    def pack(self) -> bytes:
        """All of it."""
        entries: list[dict[str, Any]] = []
        for stream in self.streams.values():
            entries.append(stream_entry(stream))
            entries += [consumer_entry(stream.config.name, consumer) for consumer in stream.consumers.values()]
        return json.dumps(entries).encode()

    def unpack(self, data: bytes) -> None:
        """Be what `pack` made."""
        self.streams = {}
        for entry in json.loads(data):
            if entry["op"] == "stream":
                self.streams[entry["stream"]] = StreamAssignment(*_stream(entry))
            else:
                consumer = ConsumerAssignment(*_consumer(entry))
                self.streams[entry["stream"]].consumers[consumer.name] = consumer


def stream_entry(stream: StreamAssignment, reply: str = "") -> dict[str, Any]:
    """The entry that makes a stream, or gives it another configuration."""
    return {
        "op": "stream",
        "stream": stream.config.name,
        "config": pack(stream.config),
        "created": stream.created,
        "members": stream.members.pack(),
        "reply": reply,
    }


def consumer_entry(stream: str, consumer: ConsumerAssignment, reply: str = "") -> dict[str, Any]:
    """The entry that makes a consumer, or gives it another configuration."""
    return {
        "op": "consumer",
        "stream": stream,
        "consumer": consumer.name,
        "config": pack(consumer.config),
        "created": consumer.created,
        "members": consumer.members.pack(),
        "reply": reply,
    }


def pack(config: StreamConfig | ConsumerConfig) -> dict[str, Any]:
    """A configuration, for JSON."""
    return attrs.asdict(config, recurse=False)


def unpack(kind: type[C], packed: dict[str, Any]) -> C:
    """What `pack` made, through JSON."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in packed.items()
    }
    return kind(**fields)


def _stream(entry: dict[str, Any]) -> tuple[StreamConfig, int, Members]:
    return unpack(StreamConfig, entry["config"]), entry["created"], Members.unpack(entry["members"])


def _consumer(entry: dict[str, Any]) -> tuple[str, ConsumerConfig, int, Members]:
    members = Members.unpack(entry["members"])
    return entry["consumer"], unpack(ConsumerConfig, entry["config"]), entry["created"], members
