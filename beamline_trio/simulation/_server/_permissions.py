"""What a user may publish and subscribe to, decided as the server does.

A wildcard subscription that only overlaps a denied subject is allowed; from the first such one on, each delivery to
that client is checked against what is denied.

Must not know connections: it answers, and whoever asks acts.
"""

from __future__ import annotations

from typing import Final

from ._config import User
from ._interest import Interest, Subscription
from ._subjects import collide, has_wildcard, is_subset

_CACHED_MAX: Final = 4096


class Permissions:
    """The permissions of one client."""

    def __init__(self, user: User) -> None:
        self._publish_allow = _patterns(user.publish.allow or (), queues=False)
        self._publish_deny = _patterns(user.publish.deny, queues=False)
        self._subscribe_allow = _patterns(user.subscribe.allow or (), queues=True)
        self._subscribe_deny = _patterns(user.subscribe.deny, queues=True)
        self._denied_subjects = [_split(text)[0] for text in user.subscribe.deny]
        self._filtering = False
        self._may_publish: dict[bytes, bool] = {}
        self._undelivered: dict[tuple[bytes, bytes | None], bool] = {}
        self.restricts_publish = self._publish_allow is not None or self._publish_deny is not None

    def may_publish(self, subject: bytes) -> bool:
        """Whether a message may be published to a subject."""
        may = self._may_publish.get(subject)
        if may is None:
            if len(self._may_publish) >= _CACHED_MAX:
                self._may_publish = {}
            may = self._may_publish[subject] = self._decide_publish(subject)
        return may

    def may_subscribe(self, subject: bytes, queue: bytes | None) -> bool:
        """Whether there may be such a subscription. An allowed one that overlaps what is denied starts the filter."""
        if not self._decide_subscribe(subject, queue):
            return False
        if not self._filtering and (queue is not None or has_wildcard(subject)):
            self._filtering = any(collide(denied, subject) for denied in self._denied_subjects)
        return True

    def withholds(self, subject: bytes, queue: bytes | None) -> bool:
        """Whether a message is not delivered although there is a subscription that it meets."""
        if not self._filtering or self._subscribe_deny is None:
            return False
        key = (subject, queue)
        withheld = self._undelivered.get(key)
        if withheld is None:
            if len(self._undelivered) >= _CACHED_MAX:
                self._undelivered = {}
            withheld = self._undelivered[key] = _denies(self._subscribe_deny, subject, queue)
        return withheld

    def _decide_publish(self, subject: bytes) -> bool:
        if self._publish_allow is not None and not self._publish_allow.match(subject).plain:
            return False
        return self._publish_deny is None or not self._publish_deny.match(subject).plain

    def _decide_subscribe(self, subject: bytes, queue: bytes | None) -> bool:
        if self._subscribe_allow is not None:
            matches = self._subscribe_allow.match(subject)
            allowed = bool(matches.plain)
            if queue is not None and matches.queues:
                allowed = _queue_matches(queue, matches.queues)
            if not allowed:
                return False
        return self._subscribe_deny is None or not _denies(self._subscribe_deny, subject, queue)


def permissions_of(user: User) -> Permissions | None:
    """The permissions of a user; None when nothing is restricted."""
    rules = (user.publish, user.subscribe)
    return Permissions(user) if any(rule.allow or rule.deny for rule in rules) else None


def _patterns(texts: tuple[str, ...], *, queues: bool) -> Interest | None:
    if not texts:
        return None
    patterns = Interest()
    for text in texts:
        subject, queue = _split(text)
        patterns.insert(Subscription(subject, queue if queues else None))
    return patterns


def _split(text: str) -> tuple[bytes, bytes | None]:
    words = text.encode().split()
    return words[0], words[1] if len(words) > 1 else None


def _denies(patterns: Interest, subject: bytes, queue: bytes | None) -> bool:
    matches = patterns.match(subject)
    if matches.plain:
        return True
    return queue is not None and bool(matches.queues) and _queue_matches(queue, matches.queues)


def _queue_matches(queue: bytes, groups: list[list[Subscription]]) -> bool:
    names = [group[0].queue or b"" for group in groups]
    return any(queue == name or (has_wildcard(name) and is_subset(queue, name)) for name in names)
