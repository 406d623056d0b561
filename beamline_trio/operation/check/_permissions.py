"""What the user of a connection may publish and subscribe to, as the server tells it ($SYS.REQ.USER.INFO, 2.15).

Asked of patterns, not of single subjects: a pattern is allowed when all that it matches is. So a permission is known
without an operation that tries it, which on a queue group would take messages from others.

Must not ask a server.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from ._patterns import covers, overlap


@attrs.frozen(kw_only=True)
class SubjectPermissions:
    """Of one kind of operation.

    Attributes:
        allow: patterns, for subscriptions also with a queue group behind a blank; None = everything.
        deny: patterns that are taken from it.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    def allows(self, pattern: str, queue_group: str | None = None) -> bool:
        """Whether all of a pattern is allowed; for a subscription, in this queue group."""
        if self.allow is not None and not any(_grants(one, pattern, queue_group) for one in self.allow):
            return False
        return not any(_forbids(one, pattern, queue_group) for one in self.deny)


@attrs.frozen(kw_only=True)
class Permissions:
    """Of one user.

    Attributes:
        user: the user's name, or an empty string.
        publish: what may be published to.
        subscribe: what may be subscribed to.
        responses: whether it may answer each request, wherever that wants its answer.
    """

    user: str = ""
    publish: SubjectPermissions = attrs.field(factory=SubjectPermissions)
    subscribe: SubjectPermissions = attrs.field(factory=SubjectPermissions)
    responses: bool = False


def read_permissions(answer: bytes) -> Permissions | None:
    """What the server's answer says; None when it is no such answer."""
    try:
        data = json.loads(answer)["data"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if not isinstance(data, dict):
        return None
    given = data.get("permissions")
    table: dict[str, Any] = given if isinstance(given, dict) else {}
    user = data.get("user")
    return Permissions(
        user=user if isinstance(user, str) else "",
        publish=_read(table.get("publish")),
        subscribe=_read(table.get("subscribe")),
        responses=bool(table.get("responses")),
    )


def _read(raw: object) -> SubjectPermissions:
    table: dict[str, Any] = raw if isinstance(raw, dict) else {}
    return SubjectPermissions(allow=_texts(table.get("allow")) or None, deny=_texts(table.get("deny")))


def _texts(raw: object) -> tuple[str, ...]:
    return tuple(one for one in raw if isinstance(one, str)) if isinstance(raw, list) else ()


def _grants(entry: str, pattern: str, queue_group: str | None) -> bool:
    subject, _, group = entry.partition(" ")
    if not covers(subject, pattern):
        return False
    return not group or (queue_group is not None and covers(group.strip(), queue_group))


def _forbids(entry: str, pattern: str, queue_group: str | None) -> bool:
    subject, _, group = entry.partition(" ")
    if not overlap(subject, pattern):
        return False
    return not group or (queue_group is not None and covers(group.strip(), queue_group))
