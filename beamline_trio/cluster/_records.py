"""What one look at a cluster has seen, and what is known of its nodes, groups and regions at a moment.

Must not judge: whether something is down is decided in `_state`.
"""

from __future__ import annotations

from typing import Final

from ..protocol import frozen

# The group of all JetStream servers, as the server calls it.
META_GROUP: Final = "_meta_"


@frozen(kw_only=True)
class NodeSeen:
    """A server that somebody has told of.

    Attributes:
        name: its name.
        region: its cluster; empty where that was not told.
        age_seconds: for how long it has not been heard by who tells of it; None = who tells has never heard it.
        sought_seconds: for how long who tells has waited to hear it, where it never has; 0 = it does not wait.
        memory_bytes: what it uses, if it was told.
        connections: its clients, if it was told.
    """

    name: str
    region: str = ""
    age_seconds: float | None = None
    sought_seconds: float = 0.0
    memory_bytes: int | None = None
    connections: int | None = None


@frozen(kw_only=True)
class GroupSeen:
    """A group that was asked about.

    Attributes:
        name: `_meta_`, a stream's, or `STREAM > CONSUMER`.
        region: the cluster that it is in, told by a member of it; empty where none has answered.
        led: whether it has a leader. Of a server that stands alone that is itself, without a name.
        leader: its name.
        members: those that were told, the leader among them.
    """

    name: str
    region: str = ""
    led: bool = False
    leader: str = ""
    members: tuple[str, ...] = ()


@frozen(kw_only=True)
class Sighting:
    """What one of those who look has seen.

    Attributes:
        nodes: those that were told of.
        groups: those that were asked about, answered or not.
        all_nodes: whether every server was asked for itself, so that one which is not here did not answer.
        expected: names of servers that there should be, by who leads them or lists them, heard or not.
        some_unnamed: whether there should be others, and nobody has told how they are called.
        instances: how many instances of the program have answered; None = they were not asked for.
    """

    nodes: tuple[NodeSeen, ...] = ()
    groups: tuple[GroupSeen, ...] = ()
    all_nodes: bool = False
    expected: tuple[str, ...] = ()
    some_unnamed: bool = False
    instances: int | None = None


@frozen(kw_only=True)
class NodeStatus:
    """What is known of a server; times are those of `trio.current_time()`.

    Attributes:
        name: its name.
        region: its cluster; empty until somebody has said.
        seen_at: when it was last seen.
        looked_at: when it was last looked for.
        expected_at: when it was last a member of something, or nobody could say whether it is.
        down_at: when it was last seen before it went down; None = it is up.
        memory_bytes: what it used when it last said so.
        connections: the clients that it had then.
    """

    name: str
    region: str = ""
    seen_at: float
    looked_at: float
    expected_at: float
    down_at: float | None = None
    memory_bytes: int | None = None
    connections: int | None = None

    @property
    def up(self) -> bool:
        """Whether it is."""
        return self.down_at is None


@frozen(kw_only=True)
class GroupStatus:
    """What is known of a group; times are those of `trio.current_time()`.

    Attributes:
        name: `_meta_`, a stream's, or `STREAM > CONSUMER`.
        region: the cluster that it is in.
        leader: its last one.
        members: of which most must be up.
        led_at: when it last had a leader.
        asked_at: when it was last asked about.
        leaderless_at: when it was first asked about and had no leader, or nobody answered; None = it has one.
        lost_at: since when it has no quorum; None = it has one.
    """

    name: str
    region: str = ""
    leader: str = ""
    members: tuple[str, ...] = ()
    led_at: float
    asked_at: float
    leaderless_at: float | None = None
    lost_at: float | None = None

    @property
    def quorum(self) -> bool:
        """Whether it can decide: it has a leader, or is just choosing one."""
        return self.lost_at is None

    @property
    def leaderless_seconds(self) -> float:
        """For how long it was seen to have no leader; 0 while it has one."""
        return 0.0 if self.leaderless_at is None else self.asked_at - self.leaderless_at


@frozen(kw_only=True)
class RegionStatus:
    """What is known of a region; times are those of `trio.current_time()`.

    Attributes:
        name: of its cluster.
        seen_at: when something of it was last seen.
        looked_at: when it was last looked for.
        cut_at: when it was last seen before it was cut off; None = it is connected.
    """

    name: str
    seen_at: float
    looked_at: float
    cut_at: float | None = None

    @property
    def connected(self) -> bool:
        """Whether anything of it is seen from here."""
        return self.cut_at is None
