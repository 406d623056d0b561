"""JetStream of one server of a cluster: its members of the groups, and what the meta group tells it to have.

    meta group --assignments--> members of streams and consumers on this server --leader--> Stream, Consumer

Must not know requests (`_api`), nor how groups decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._advisories import consumer_action, stream_action
from .._service import JetStream
from .._storage import Storage
from ._asking import Asking
from ._disks import ClusterDisk
from ._group import Group
from ._hub import Hub
from ._info import group_fields, meta_fields
from ._membership import Membership
from ._presence import Presence

if TYPE_CHECKING:
    from ..._interest import Subscription
    from ..._process import Process
    from .._consumer import Consumer
    from ._api import ClusterAPI
    from ._consumer_member import ConsumerMember
    from ._replicated_consumer import ReplicatedConsumer
    from ._stream_member import ReplicatedStream

META_GROUP: Final = "_meta_"
_GROUP_ID_LENGTH: Final = 8
_UNUSED_RETRY_SECONDS: Final = 1.0
_SERVER_SHUTDOWN: Final = (409, "Server Shutdown")


class ClusteredJetStream(JetStream):
    """The streams and consumers that a server has a part in.

    Args:
        process: of the server.
        storage: what is on disk.
        epoch: nanoseconds since 1970 at virtual time 0.
        peers: the servers of the meta group, its own too.
        slow_disk_seconds: what a write takes at the moment.

    Attributes:
        members: of streams and consumers on this server.
        assignments: what the meta group has decided.
        meta: its group.
        api: answers requests; set by who makes it.
    """

    api: ClusterAPI

    def __init__(
        self,
        process: Process,
        storage: Storage,
        epoch: int,
        peers: Sequence[str],
        slow_disk_seconds: Callable[[], float],
    ) -> None:
        super().__init__(process, storage, epoch)
        if storage.cluster is None:
            storage.cluster = ClusterDisk()
        self._disk = storage.cluster
        self._hub = Hub(process, slow_disk_seconds)
        syncs = not process.config.jetstream_sync_interval_seconds
        self.members = Membership(self, self._hub, self._disk, syncs=syncs)
        self._serving: dict[object, list[Subscription]] = {}
        self.asking = Asking(self._hub, self._answer_question)
        self._presence = Presence(self._hub, peers)
        self.assignments = self._disk.meta.assignments
        files = self._disk.meta.files
        new = None if not files.term else False
        self.meta = Group(self._hub, META_GROUP, peers, files, _MetaMachine(self), preferred=new)
        self.members.begin()
        process.on_server_message = self._told

    # ------------------------------------------------------------------------------------------------- what it needs

    @property
    def cluster_name(self) -> str:
        """Of its cluster."""
        return self._process.identity.cluster

    def leads(self, stream: str, consumer: str) -> bool:
        """Whether this server leads a stream, one of its consumers, or, without a name, the meta group."""
        if not stream:
            return self.meta.leading
        found = self.members.stream(stream)
        return found is not None and (consumer in found.consumers if consumer else found.leads)

    def cluster_of(self, server: str) -> str:
        """Of which cluster another server is."""
        return self._process.region_of(server)

    def peers(self) -> tuple[str, ...]:
        """All servers with JetStream, this one too."""
        return self.meta.members

    def _told(self, peer: str, message: bytes) -> None:
        if self.ended:
            return
        name, _, data = message.partition(b" ")
        group = name.decode()
        if not (self._hub.told(peer, group, data) or self.asking.told(peer, group, data)):
            self._presence.told(peer, group)

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call back at the end of this event."""
        self._process.at_end(callback)

    def is_there(self, server: str) -> bool:
        """Whether a server is there, as far as it is known here."""
        return self._presence.is_there(server)

    def meta_fields(self) -> dict[str, Any] | None:
        """What is told of the meta group."""
        return meta_fields(self.meta, self.cluster_name, self._process.now(), self.is_there)

    def group_count(self) -> int:
        """How many groups of more than one server it has a part in, beside the meta group."""
        return sum(len(group.members) > 1 for group in self._hub.groups() if group is not self.meta)

    def health(self) -> str:
        """What is wrong with it: no leader of the meta group, or of a stream that it has a part in."""
        if not self.meta.leader:
            return "JetStream has not established contact with a meta leader"
        for stream in self.streams.values():
            member = self.members.stream(stream.name)
            if member is not None and member.group.is_leaderless:
                return f"JetStream stream '$G > {stream.name}' is not current"
        return ""

    def knows_stream(self, name: str) -> bool:
        """Whether the meta group knows a stream of this name."""
        return name in self.assignments.streams

    def draw_group_id(self) -> str:
        """What makes the name of a group unique."""
        return self.draw_id()[:_GROUP_ID_LENGTH]

    def cluster_fields(self, group: Group) -> dict[str, Any]:
        """Who leads a group and who follows, as it stands in a reply."""
        return group_fields(group, self.cluster_name, self._process.now(), self.text_at, self.is_there)

    # ------------------------------------------------------------------------------------------- what leaders listen to

    def unused(self, stream: str, consumer: str) -> None:
        """A consumer has gone unused for too long."""
        if self.ended or self.assignments.consumer(stream, consumer) is None:
            return
        entry = {"op": "remove_consumer", "stream": stream, "consumer": consumer}
        self.meta.forward(json.dumps(entry).encode())
        self._process.call_later(_UNUSED_RETRY_SECONDS, self.unused, stream, consumer)

    def stream_led(self, stream: ReplicatedStream) -> None:
        """This server leads a stream."""
        self._serving[stream] = self.api.serve_stream(stream)

    def stream_followed(self, stream: ReplicatedStream) -> None:
        """It does no longer."""
        for sub in self._serving.pop(stream, ()):
            self.forget(sub)

    def stream_created(self, stream: ReplicatedStream, reply: str) -> None:
        """A stream has its first leader."""
        stream_action(self, stream.name, "create")
        self.api.stream_created(stream, reply)

    def consumer_led(self, member: ConsumerMember, consumer: ReplicatedConsumer) -> None:
        """This server leads a consumer."""
        member.stream.consumers[consumer.name] = consumer
        self.consumer_added(consumer)
        self._serving[consumer] = self.api.serve_consumer(consumer)

    def consumer_followed(self, member: ConsumerMember, consumer: ReplicatedConsumer) -> None:
        """It does no longer."""
        member.stream.consumers.pop(consumer.name, None)
        for sub in [*self._serving.pop(consumer, ()), *self._listening.pop(consumer, ())]:
            self.forget(sub)

    def consumer_created(self, consumer: ReplicatedConsumer, reply: str) -> None:
        """A consumer has its first leader."""
        consumer_action(consumer, "create")
        self.api.consumer_created(consumer, reply)

    def consumer_changed(self, consumer: Consumer) -> None:
        """Its books are kept by its group."""

    def _answer_question(self, question: dict[str, Any]) -> dict[str, Any]:
        return self.api.answer_question(question)

    # ----------------------------------------------------------------------------------------------------- its end

    def step_down(self) -> None:
        """Hand over the lead of the meta group, if this server has it."""
        self.meta.raft.step_down()

    def shut_down(self, *, telling: bool) -> None:
        """End in order: the lead of all groups is handed over, and nothing is listened to any more.

        Args:
            telling: whether those who wait for messages are told.
        """
        if self.ended:
            return
        self._presence.end()
        self.members.end(_SERVER_SHUTDOWN if telling else None)
        for group in self._hub.groups():
            group.raft.step_down()
            group.stop()
        self.api.close()
        super().shut_down(telling=telling)


class _MetaMachine:
    """The state machine of the meta group."""

    def __init__(self, jetstream: ClusteredJetStream) -> None:
        self._jetstream = jetstream

    def apply(self, data: bytes) -> None:
        """Take a decided entry."""
        self._jetstream.assignments.apply(data, self._jetstream.members)
        self._jetstream.api.decided(json.loads(data))

    def snapshot(self) -> bytes:
        """All of its state."""
        return self._jetstream.assignments.pack()

    def restore(self, data: bytes) -> None:
        """Be what `snapshot` made."""
        self._jetstream.assignments.unpack(data)
        self._jetstream.members.all_assigned()

    def lead(self) -> None:
        """This server answers for the cluster from now on."""

    def follow(self) -> None:
        """It does no longer."""
        self._jetstream.api.forget_undecided()

    def led_elsewhere(self) -> None:
        """Another server answers for the cluster."""
