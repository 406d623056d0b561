r"""A stream of a cluster, as one of its servers has it: the state machine of its group, and on the leader the stream.

All members take the same entries in the same order, with the leader's time, and so come to the same messages, the same
duplicates and the same refusals. Only the leader listens, and answers whom it has promised to.

    M <time> <wanted> <subject size> <header size>\n <subject> <header> <payload>      a message was published
    C <time> <sequence> <stored> <subject size> <header size>\n <subject> <header> <payload>      a mirror's or source's
    R <sequence>...                                                        messages that nobody needs any more
    J {"op": ...}                                              purge, delete, expire, configure

Must not know who reads, nor how entries are decided.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _headers as headers
from .._errors import APIError, api_error
from .._messages import StoredMessage
from .._sourcing import Copy
from .._stream import Stream
from .._stream_config import StreamConfig
from ._assignments import StreamAssignment, pack, unpack
from ._snapshots import pack_stream, unpack_stream

if TYPE_CHECKING:
    from ..._surroundings import Observer
    from .._consumer import Consumer
    from ._consumer_member import ConsumerMember
    from ._disks import StreamDisk
    from ._group import Group
    from ._jetstream import ClusteredJetStream


class ReplicatedStream(Stream):
    """A member of a stream: a `Machine`.

    Args:
        jetstream: of the server.
        assignment: what the meta group says of it.
        disk: what is on disk of it.

    Attributes:
        members: of its consumers, here.
        group: its group; set by who makes it.
        created_for: where its making is answered, as long as nobody has.
    """

    group: Group

    def __init__(self, jetstream: ClusteredJetStream, assignment: StreamAssignment, disk: StreamDisk) -> None:
        self._cluster = jetstream
        self._disk = disk
        self._time = 0
        self._wanted = True
        self._undecided: set[bytes] = set()  # ids of messages that this leader has proposed
        self.assignment = assignment
        self.members: dict[str, ConsumerMember] = {}
        self.created_for = ""
        super().__init__(jetstream, disk.config, assignment.created, disk.messages, None)

    def _begin(self) -> None:
        self.duplicates = self._disk.duplicates

    @property
    def leads(self) -> bool:
        """Whether this server answers for it."""
        return self.group.leading

    # --------------------------------------------------------------------------------------------------- the leader

    def lead(self) -> None:
        """From now on this server takes and answers."""
        self.listen()
        self._cluster.stream_led(self)
        self._watch_expiry()
        self.interest_changed()
        if self.assignment.config != self.config:
            self.configure(self.assignment.config)
        reply, self.created_for = self.created_for, ""
        if reply:
            self._cluster.stream_created(self, reply)

    def follow(self) -> None:
        """This server does no longer."""
        self.stop_listening()
        self._undecided.clear()
        self._cluster.stream_followed(self)

    def led_elsewhere(self) -> None:
        """Another member leads, and has said that the stream is there."""
        self.created_for = ""

    def listen(self) -> None:
        """Subscribe to its subjects, if this server leads."""
        if self.leads:
            super().listen()

    def receive(self, subject: bytes, reply: bytes, header: bytes, payload: bytes) -> None:
        """A message was published on one of its subjects: answered when it is decided."""
        answers = bool(reply) and not self.config.no_ack
        identity = headers.find(header, headers.MESSAGE_ID) if header else None
        if identity in self._undecided:
            if answers:
                self._answer(reply, self._refusal(api_error(10158)))
            return
        wanted = self.config.retention != "interest" or any(one.wants(subject) for one in self.members.values())
        numbers = (self._jetstream.now(), wanted, len(subject), len(header))
        entry = b"M %d %d %d %d\n%b%b%b" % (*numbers, subject, header, payload)
        if self.group.propose(entry, partial(self._answer, reply) if answers else None) and identity:
            self._undecided.add(identity)

    def take_copy(self, copy: Copy, done: Callable[[bool], None]) -> None:
        """Have what a mirror or a source has stored: in the order in which it comes."""
        numbers = (self._jetstream.now(), copy.sequence, copy.time, len(copy.subject), len(copy.header))
        self.group.propose(b"C %d %d %d %d %d\n%b%b%b" % (*numbers, copy.subject, copy.header, copy.payload), done)

    def _answer(self, reply: bytes, answer: bytes) -> None:
        self._jetstream.send(reply, answer)

    def _propose(self, entry: dict[str, Any], done: Callable[[Any], None] | None = None) -> None:
        entry["at"] = self._jetstream.now()
        self.group.propose(b"J" + json.dumps(entry, separators=(",", ":")).encode(), done)

    def propose_purge(self, pattern: bytes, below: int, keep: int, done: Callable[[int], None]) -> None:
        """Have messages removed; `done` is told how many."""
        self._propose({"op": "purge", "pattern": pattern.decode("latin-1"), "below": below, "keep": keep}, done)

    def propose_delete(self, sequence: int, done: Callable[[bool], None]) -> None:
        """Have a message removed; `done` is told whether it was there."""
        self._propose({"op": "delete", "sequence": sequence}, done)

    def configure(self, config: StreamConfig, done: Callable[[Any], None] | None = None) -> None:
        """Have it configured anew."""
        self._propose({"op": "configure", "config": pack(config)}, done)

    def _remove_all(self, sequences: list[int]) -> None:
        if sequences:
            self.group.propose(b"R " + b" ".join([b"%d" % sequence for sequence in sequences]))

    def _expire(self) -> None:
        self._expiry_timer = None
        self._propose({"op": "expire"})

    def _watch_expiry(self) -> None:
        if self.leads:
            super()._watch_expiry()

    def acknowledged(self, sequence: int) -> None:
        """A consumer here is done with a message, and will be everywhere: see `settled`."""

    def settled(self, sequences: Iterable[int]) -> None:
        """It is decided that a consumer is done with messages: those that nobody needs may go."""
        if self.leads and self.config.retention != "limits":
            found = (self.messages.get(sequence) for sequence in sequences)
            self._remove_all([one.sequence for one in found if one is not None and self._is_over(one)])

    def interest_changed(self) -> None:
        """Consumers have changed, or the leader has: what nobody needs any more goes."""
        if self.leads and self.config.retention != "limits":
            self._remove_all([one.sequence for one in self.messages if self._is_over(one)])

    def _is_over(self, message: StoredMessage) -> bool:
        if self._is_needed(message):
            return False
        work = self.config.retention == "workqueue"
        return not work or any(one.wants(message.subject) for one in self.members.values())

    def _is_needed(self, message: StoredMessage) -> bool:
        return any(one.needs(message) for one in self.members.values())

    def delete_consumer(self, consumer: Consumer) -> None:
        """A consumer has gone unused for too long: the meta group decides that it is over."""
        self._cluster.unused(self.name, consumer.name)

    # --------------------------------------------------------------------------------------------- the state machine

    def apply(self, data: bytes) -> Any:
        """Take a decided entry."""
        kind = data[:1]
        made: Any = None
        if kind == b"M":
            made = self._apply_message(data)
        elif kind == b"R":
            for sequence in data[2:].split(b" "):
                self.messages.remove(int(sequence))
        elif kind == b"C":
            made = self._apply_copy(data)
        else:
            entry = json.loads(data[1:])
            self._time = entry["at"]
            made = self._apply_change(entry)
        self._keep()
        return made

    def _apply_message(self, data: bytes) -> bytes:
        line, _, rest = data.partition(b"\n")
        time, wanted, subject_size, header_size = map(int, line.split(b" ")[1:])
        self._time, self._wanted = time, bool(wanted)
        at = subject_size + header_size
        header = rest[subject_size:at]
        if self._undecided:
            self._undecided.discard(headers.find(header, headers.MESSAGE_ID) or b"")
        try:
            return self._take(rest[:subject_size], header, rest[at:])
        except APIError as error:
            return self._refusal(error)

    def _apply_copy(self, data: bytes) -> bool:
        line, _, rest = data.partition(b"\n")
        self._time, sequence, stored, subject_size, header_size = map(int, line.split(b" ")[1:])
        at = subject_size + header_size
        return self._take_copy(Copy(sequence, stored, rest[:subject_size], rest[subject_size:at], rest[at:]))

    def _apply_change(self, entry: dict[str, Any]) -> Any:
        match entry["op"]:
            case "purge":
                return self.purge(entry["pattern"].encode("latin-1"), entry["below"], entry["keep"])
            case "delete":
                return self.delete_message(entry["sequence"])
            case "expire":
                self._expire_now()
            case "configure":
                self.update(unpack(StreamConfig, entry["config"]))
                if self.leads:
                    self._cluster.stream_followed(self)
                    self._cluster.stream_led(self)
            case _:
                raise AssertionError(f"no operation of a stream: {entry}")
        return None

    def snapshot(self) -> bytes:
        """All of its state."""
        return pack_stream(self.config, self.messages, self.duplicates)

    def restore(self, data: bytes) -> None:
        """A peer's state is this one's now."""
        self.config, self.messages, self.duplicates = unpack_stream(data)
        self.messages.removed = self._removed
        self._keep()
        self._disk.sync()
        for member in self.members.values():
            if member.consumer is not None:
                member.consumer.restored()
        self._jetstream.note("js_snapshot", stream=self.name, last=self.messages.last_sequence)

    def _keep(self) -> None:
        disk = self._disk
        disk.config, disk.messages, disk.duplicates = self.config, self.messages, self.duplicates

    def _now(self) -> int:
        return self._time

    def _is_wanted(self, subject: bytes) -> bool:
        return self._wanted

    @property
    def _observer(self) -> Observer | None:
        return self._jetstream.observer if self.group.raft.leads else None

    # ------------------------------------------------------------------------------------------------------- its info

    @property
    def _consumer_count(self) -> int:
        return len(self.assignment.consumers)

    def _cluster_fields(self, leader: str) -> dict[str, Any]:
        return {"cluster": self._cluster.cluster_fields(self.group)}
