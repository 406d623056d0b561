"""This server's members of streams and consumers: it has those that the meta group assigns to it, and no others.

Must not know requests, nor how groups decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._advisories import consumer_action, stream_action
from ._assignments import Assignments, ConsumerAssignment, StreamAssignment
from ._consumer_member import ConsumerMember
from ._disks import ClusterDisk, ConsumerDisk, StreamDisk
from ._group import Group
from ._hub import Hub
from ._stream_member import ReplicatedStream

if TYPE_CHECKING:
    from ._jetstream import ClusteredJetStream

_CONSUMER_DELETED: Final = (409, "Consumer Deleted")


class Membership:
    """The members: a `Listener` of the meta group.

    Args:
        jetstream: of the server.
        hub: of the server.
        disk: what is on disk.
        syncs: everything is synced before it is answered.
    """

    def __init__(self, jetstream: ClusteredJetStream, hub: Hub, disk: ClusterDisk, *, syncs: bool) -> None:
        self._jetstream = jetstream
        self._hub = hub
        self._disk = disk
        self._syncs = syncs
        self._host = hub.host
        self._streams: dict[str, ReplicatedStream] = {}

    @property
    def _assignments(self) -> Assignments:
        return self._disk.meta.assignments

    def begin(self) -> None:
        """The process has started: be what is on disk."""
        for assignment in self._assignments.streams.values():
            self._join(assignment, new=False)

    def end(self, status: tuple[int, str] | None) -> None:
        """The process is about to end: those who wait for messages are told, if so."""
        for stream in self._streams.values():
            for member in stream.members.values():
                member.end(status, counts=True)
        self._streams = {}

    def stream(self, name: str) -> ReplicatedStream | None:
        """The member of a stream."""
        return self._streams.get(name)

    def consumer(self, stream: str, name: str) -> ConsumerMember | None:
        """The member of a consumer."""
        found = self._streams.get(stream)
        return None if found is None else found.members.get(name)

    # --------------------------------------------------------------------------------------------- joining and leaving

    def _join(self, assignment: StreamAssignment, reply: str = "", *, new: bool) -> None:
        """Be a member of a stream and of its consumers, if this server is one."""
        members = assignment.members
        if self._host not in members.peers:
            return
        disk = self._disk.streams.get(members.name)
        if disk is None:
            disk = self._disk.streams[members.name] = StreamDisk(assignment.config, syncs=self._syncs)
        elif assignment.config.storage == "memory":
            disk.lose_memory()
        stream = ReplicatedStream(self._jetstream, assignment, disk)
        stream.created_for = reply
        self._streams[assignment.config.name] = self._jetstream.streams[assignment.config.name] = stream
        self._jetstream.note("js_stream", stream=stream.name)
        preferred = new and members.preferred == self._host
        stream.group = Group(self._hub, members.name, members.peers, disk.files, stream, preferred=preferred)
        if not self._syncs:
            self._hub.syncs_later(stream.group, disk)
        for consumer in assignment.consumers.values():
            self._join_consumer(stream, consumer, new=new)

    def _join_consumer(
        self, stream: ReplicatedStream, assignment: ConsumerAssignment, reply: str = "", *, new: bool
    ) -> None:
        members = assignment.members
        if self._host not in members.peers:
            return
        disk = self._disk.consumers.get(members.name)
        if disk is None:
            disk = self._disk.consumers[members.name] = ConsumerDisk(syncs=self._syncs)
        elif assignment.config.mem_storage or stream.config.storage == "memory":
            disk.lose_memory()
        member = ConsumerMember(self._jetstream, stream, assignment, disk)
        member.created_for = reply
        stream.members[assignment.name] = member
        self._jetstream.note("js_consumer", stream=stream.name, consumer=assignment.name)
        preferred = new and members.preferred == self._host
        member.group = Group(self._hub, members.name, members.peers, disk.files, member, preferred=preferred)
        if not self._syncs:
            self._hub.syncs_later(member.group, disk)

    def _leave(self, name: str) -> ReplicatedStream | None:
        stream = self._streams.pop(name, None)
        if stream is None:
            return None
        del self._jetstream.streams[name]
        for consumer in list(stream.members):
            self._leave_consumer(stream, consumer)
        stream.group.stop()
        stream.close()
        self._disk.streams.pop(stream.group.name, None)
        self._jetstream.note("js_stream_deleted", stream=name)
        return stream

    def _leave_consumer(self, stream: ReplicatedStream, name: str) -> bool:
        """Whether this server had led it."""
        member = stream.members.pop(name, None)
        if member is None:
            return False
        led = member.consumer
        if led is not None:
            consumer_action(led, "delete")
            member.end(_CONSUMER_DELETED, counts=False)
        member.group.stop()
        self._disk.consumers.pop(member.group.name, None)
        self._jetstream.note("js_consumer_deleted", stream=stream.name, consumer=name)
        stream.interest_changed()
        return led is not None

    # ------------------------------------------------------------------------------------------- what meta has decided

    def stream_assigned(self, stream: StreamAssignment, reply: str) -> None:
        """There is a new stream."""
        self._join(stream, reply, new=True)

    def stream_reconfigured(self, stream: StreamAssignment, reply: str) -> None:
        """A stream has another configuration: its leader has all members take it, in the order of messages."""
        member = self._streams.get(stream.config.name)
        if member is not None and member.leads:
            member.configure(stream.config, lambda _: self._jetstream.api.stream_updated(member, reply))

    def stream_removed(self, stream: StreamAssignment, reply: str) -> None:
        """A stream is gone: its leader says so, or its members if nobody leads, or the meta group's if all are away."""
        name = stream.config.name
        member = self._streams.get(name)
        led = member is not None and member.leads
        leaderless = member is not None and not member.group.leader
        self._leave(name)
        if led:
            stream_action(self._jetstream, name, "delete")
        there = any(self._jetstream.is_there(peer) for peer in stream.members.peers)
        if led or leaderless or (self._jetstream.meta.leading and not there):
            self._jetstream.api.removed("stream_delete", reply)

    def consumer_assigned(self, stream: StreamAssignment, consumer: ConsumerAssignment, reply: str) -> None:
        """There is a new consumer."""
        member = self._streams.get(stream.config.name)
        if member is not None:
            self._join_consumer(member, consumer, reply, new=True)

    def consumer_reconfigured(self, stream: StreamAssignment, consumer: ConsumerAssignment, reply: str) -> None:
        """A consumer has another configuration."""
        member = self.consumer(stream.config.name, consumer.name)
        if member is not None:
            member.reconfigured()
            if member.consumer is not None:
                self._jetstream.api.consumer_created(member.consumer, reply)

    def consumer_removed(self, stream: StreamAssignment, consumer: ConsumerAssignment, reply: str) -> None:
        """A consumer is gone; its leader says so, or the meta group's where there was none."""
        member = self._streams.get(stream.config.name)
        known = None if member is None else member.members.get(consumer.name)
        leaderless = known is None or not known.group.leader
        led = member is not None and self._leave_consumer(member, consumer.name)
        there = any(self._jetstream.is_there(peer) for peer in consumer.members.peers)
        if led or (self._jetstream.meta.leading and ((leaderless and known is not None) or not there)):
            self._jetstream.api.removed("consumer_delete", reply)

    def all_assigned(self) -> None:
        """Everything may be another one now: a snapshot came."""
        for name, member in list(self._streams.items()):
            found = self._assignments.streams.get(name)
            if found is None or found.members.name != member.group.name:
                self._leave(name)
        for assignment in self._assignments.streams.values():
            known_stream = self._streams.get(assignment.config.name)
            if known_stream is None:
                self._join(assignment, new=False)
                continue
            member = known_stream
            member.assignment = assignment
            for consumer_name, one in list(member.members.items()):
                wanted = assignment.consumers.get(consumer_name)
                if wanted is None or wanted.members.name != one.group.name:
                    self._leave_consumer(member, consumer_name)
            for consumer in assignment.consumers.values():
                known = member.members.get(consumer.name)
                if known is None:
                    self._join_consumer(member, consumer, new=False)
                else:
                    known.assignment = consumer
                    known.reconfigured()
