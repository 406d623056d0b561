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
# Heard of so lately, a peer that has everything is current.
_CURRENT_SECONDS: Final = 10.0


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
    """The meta group as monitoring tells of it: all others, of whom only a leader knows how far they are."""
    raft = group.raft
    fields: dict[str, Any] = {"name": cluster}
    if raft.leader:
        fields |= {"leader": raft.leader, "peer": peer_id(raft.leader)}
    others = [peer for peer in group.members if peer != group.hub.host]
    if raft.leads:
        fields["replicas"] = [_replica(group, peer, now, is_there) for peer in others]
    else:
        fields["replicas"] = [_other(peer, raft.leader, is_there) for peer in others]
    pending = max(raft.last_index - raft.commit, 0)
    return fields | {
        "cluster_size": len(group.members),
        "quorum_needed": len(group.members) // 2 + 1,
        "pending": pending,
        "pending_requests": 0,
        "pending_infos": 0,
    }


def _other(name: str, leader: str, is_there: Callable[[str], bool]) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": name, "current": name == leader}
    if not is_there(name):
        fields["offline"] = True
    return fields | {"active": 0, "peer": peer_id(name)}


def _replica(group: Group, name: str, now: float, is_there: Callable[[str], bool]) -> dict[str, Any]:
    peer, raft = group.raft.peer(name), group.raft
    heard = now if peer is None else max(now - peer.heard_at, 0.0)
    current = peer is not None and heard < _CURRENT_SECONDS and peer.agreed >= raft.commit
    fields: dict[str, Any] = {"name": name, "current": current}
    if not is_there(name):
        fields["offline"] = True
    fields["active"] = round(heard * SECOND)
    lag = 0 if peer is None else raft.last_index - peer.agreed
    if lag > 0:
        fields["lag"] = lag
    return fields | {"peer": peer_id(name)}
