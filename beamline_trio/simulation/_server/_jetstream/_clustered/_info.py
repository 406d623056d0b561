"""The section `cluster` of an info: who leads a group, who follows, and how far.

Must not know what the group is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .._golang import SECOND

if TYPE_CHECKING:
    from ._group import Group

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH: Final = 8
# Heard of so lately, a peer that has everything is current, and for a follower its leader.
_CURRENT_SECONDS: Final = 10.0
_LEADER_CURRENT_SECONDS: Final = 2.0


def peer_id(server: str) -> str:
    """How groups call a server: by the hash of its name."""
    return "".join(_BASE62[byte % 62] for byte in hashlib.sha256(server.encode()).digest()[:_ID_LENGTH])


def group_fields(
    group: Group, cluster: str, now: float, text_at: Callable[[float], str], is_there: Callable[[str], bool]
) -> dict[str, Any]:
    """The section, as the server that answers sees it: it leaves itself out, unless there is no leader."""
    raft = group.raft
    if len(group.members) == 1:
        return {"name": cluster, "leader": group.members[0]}
    fields: dict[str, Any] = {"name": cluster, "raft_group": group.name}
    if raft.leader:
        fields["leader"] = raft.leader
    if group.leading:
        fields["leader_since"] = text_at(raft.leader_since)
    fields |= {"system_account": True, "traffic_account": "$SYS"}
    left_out = (raft.leader, group.hub.host) if raft.leader else ()
    others = [peer for peer in group.members if peer not in left_out]
    return fields | {"replicas": [_replica(group, peer, now, is_there) for peer in others]}


def meta_fields(group: Group, cluster: str, now: float, is_there: Callable[[str], bool]) -> dict[str, Any]:
    """The meta group as monitoring tells of it: all others."""
    raft = group.raft
    fields: dict[str, Any] = {"name": cluster}
    if raft.leader:
        fields |= {"leader": raft.leader, "peer": peer_id(raft.leader)}
    others = [peer for peer in group.members if peer != group.hub.host]
    fields["replicas"] = [_replica(group, peer, now, is_there) for peer in others]
    pending = max(raft.last_index - raft.commit, 0)
    return fields | {
        "cluster_size": len(group.members),
        "quorum_needed": len(group.members) // 2 + 1,
        "pending": pending,
        "pending_requests": 0,
        "pending_infos": 0,
    }


def _replica(group: Group, name: str, now: float, is_there: Callable[[str], bool]) -> dict[str, Any]:
    """A member as the one that answers sees it.

    It knows for how long it has not heard of its leader, or of its peers while it leads; of all others it says 0. It
    takes itself for current, whatever it is.
    """
    raft, peer = group.raft, group.raft.peer(name)
    seen_at = raft.seen_at(name)
    active = 0.0 if seen_at is None else max(now - seen_at, 0.0)
    lag = 0 if peer is None else max(raft.commit - peer.agreed, 0)
    if name == group.hub.host:
        current = True
    elif peer is not None:
        current = lag == 0
    else:
        current = name == raft.leader and active <= _LEADER_CURRENT_SECONDS
    fields: dict[str, Any] = {"name": name, "current": current and active <= _CURRENT_SECONDS}
    if not is_there(name):
        fields["offline"] = True
    fields["active"] = round(active * SECOND)
    if lag > 0:
        fields["lag"] = lag
    return fields | {"peer": peer_id(name)}
