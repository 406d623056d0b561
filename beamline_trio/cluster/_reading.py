"""The JSON of servers -> what was seen, as nats-server 2.15 writes it. Lenient: what has another form is left out.

Facts of the real server that are not in its documentation. A leader knows its replicas since it leads: one that it
never heard in that time has `active` 0 and is not `current`. One that was killed stays `current` for 10 s while its
`active` grows. A group without a leader lists all of its members as replicas, the one that answers among them, with an
`active` that tells of nobody's health: of others it is 0, or the time since that one led; of itself since it last stood
for election, which may be days.

Must not ask, and must not judge.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from ._records import META_GROUP, GroupSeen, NodeSeen, Sighting

_NANOSECONDS: Final = 1_000_000_000
_NUMBER_MAX: Final = 2**63 - 1
_UNKNOWN: Final = "Server name unknown"


def read_json(payload: bytes) -> Mapping[str, Any]:
    """A JSON object; empty where it is none."""
    try:
        return table(json.loads(payload))
    except (ValueError, RecursionError):
        return {}


def table(value: object) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def read_group(name: str, cluster: object, told_at: datetime.datetime | None = None) -> Sighting:
    """The `cluster` section of a stream's or a consumer's information: the group, and its members as nodes.

    A server that stands alone writes none, or one with nothing but itself as leader; it has a quorum.

    Args:
        name: the group's.
        cluster: the section.
        told_at: by the clock of the server that wrote it; None = it has not said.
    """
    section = table(cluster)
    region, leader = _text(section, "name"), _text(section, "leader")
    replicas = [table(one) for one in _several(section, "replicas")]
    leads_seconds = _leads_seconds(section, told_at)
    told = [_replica(one, region, leads_seconds) for one in replicas if _is_name(_text(one, "name"))]
    some_unnamed = len(told) < len(replicas)
    if not leader:  # who answers has no contact with the others
        told = [NodeSeen(name=node.name, region=region) for node in told]
    nodes = [*told, NodeSeen(name=leader, region=region, age_seconds=0.0)] if leader and region else told
    members = tuple(sorted({node.name for node in nodes}))
    led = bool(leader) or not replicas
    group = GroupSeen(name=name, region=region, led=led, leader=leader, members=members)
    return Sighting(nodes=tuple(nodes), groups=(group,), some_unnamed=some_unnamed)


def read_statuses(answers: Iterable[Mapping[str, Any]]) -> Sighting:
    """What servers say to `$SYS.REQ.SERVER.PING.STATSZ`, one answer for each that is there."""
    nodes: list[NodeSeen] = []
    metas: list[tuple[str, Mapping[str, Any]]] = []
    for answer in answers:
        server, status = table(answer.get("server")), table(answer.get("statsz"))
        name = _text(server, "name")
        if name:
            nodes.append(_node(name, _text(server, "cluster"), status))
            metas.append((name, _meta(status)))
    return attrs.evolve(_meta_sighting(metas), nodes=tuple(nodes), all_nodes=bool(nodes))


def read_instances(answers: Iterable[Mapping[str, Any]]) -> Sighting:
    """Who has answered `$SRV.PING`, each once by its id (ADR-32)."""
    return Sighting(instances=len({_text(answer, "id") for answer in answers} - {""}))


def read_varz(answers: Iterable[Mapping[str, Any]]) -> Sighting:
    """What servers say at /varz of their monitoring endpoints, those that have answered."""
    nodes: list[NodeSeen] = []
    metas: list[tuple[str, Mapping[str, Any]]] = []
    for answer in answers:
        name = _text(answer, "server_name")
        if name:
            nodes.append(_node(name, _text(table(answer.get("cluster")), "name"), answer))
            metas.append((name, _meta(answer)))
    return attrs.evolve(_meta_sighting(metas), nodes=tuple(nodes))


def _is_name(text: str) -> bool:
    """After a start of all servers a leader does not know yet how a peer is called, and says that instead."""
    return bool(text) and not text.startswith(_UNKNOWN)


def _leads_seconds(section: Mapping[str, Any], told_at: datetime.datetime | None) -> float:
    """For how long the leader leads, by its own clock, which nobody else's must be compared with; 0 = unknown."""
    try:
        since = datetime.datetime.fromisoformat(_text(section, "leader_since"))
    except ValueError:
        return 0.0
    if told_at is None or told_at.tzinfo is None or since.tzinfo is None:
        return 0.0
    return max((told_at - since).total_seconds(), 0.0)


def _replica(replica: Mapping[str, Any], region: str, leads_seconds: float) -> NodeSeen:
    name, active = _text(replica, "name"), _number(replica, "active")
    if not active and replica.get("current") is not True:
        return NodeSeen(name=name, region=region, sought_seconds=leads_seconds)
    return NodeSeen(name=name, region=region, age_seconds=None if active is None else active / _NANOSECONDS)


def _node(name: str, region: str, status: Mapping[str, Any]) -> NodeSeen:
    memory, connections = (_number(status, key) for key in ("mem", "connections"))
    return NodeSeen(
        name=name,
        region=region,
        age_seconds=0.0,
        memory_bytes=None if memory is None else int(memory),
        connections=None if connections is None else int(connections),
    )


def _meta(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return table(table(status.get("jetstream")).get("meta"))


def _meta_group(metas: list[tuple[str, Mapping[str, Any]]]) -> tuple[GroupSeen, ...]:
    """The meta group, whose leader is the one that says so itself, else the one that most name."""
    if not any(meta for _, meta in metas):
        return ()
    own = [name for name, meta in metas if _text(meta, "leader") == name]
    named = Counter(_text(meta, "leader") for _, meta in metas if _text(meta, "leader"))
    most = sorted(named, key=lambda name: (-named[name], name))
    leader = (*sorted(own), *most, "")[0]
    return (GroupSeen(name=META_GROUP, led=bool(leader), leader=leader),)


def _meta_sighting(metas: list[tuple[str, Mapping[str, Any]]]) -> Sighting:
    """The meta group, and all JetStream servers: its leader lists the others, until an operator removes one.

    Where no leader has answered itself, nobody has listed them.
    """
    groups = _meta_group(metas)
    lists = [_several(meta, "replicas") for name, meta in metas if _text(meta, "leader") == name]
    listed = [_text(table(one), "name") for one_list in lists for one in one_list]
    names = {name for name in listed if _is_name(name)}
    some_unnamed = bool(groups) and (not lists or not all(map(_is_name, listed)))
    return Sighting(groups=groups, expected=tuple(sorted(names)), some_unnamed=some_unnamed)


def _several(section: Mapping[str, Any], key: str) -> list[Any]:
    value = section.get(key)
    return value if isinstance(value, list) else []


def _number(section: Mapping[str, Any], key: str) -> float | None:
    """A count or a time that Go can have written; whatever is none must not come into what is counted with."""
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value <= _NUMBER_MAX else None


def _text(section: Mapping[str, Any], key: str) -> str:
    """A text that can be written: JSON may escape half a character, which metrics and logs cannot say."""
    value = section.get(key)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
