"""Who wants what: subscriptions by subject, with wildcards and queue groups, and a cache of what a subject meets.

A trie of tokens, as the server has one. The cache maps a subject to its `Matches` and is forgotten at every change:
publishing to the same subjects again and again is the hot path, and changes are rare beside it.

Must not know what a message is, nor deliver one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from ._accounts import SYSTEM
from ._subjects import is_valid

if TYPE_CHECKING:
    from ._connection import ClientConnection
    from ._delivery import MessageParts
    from ._route import RouteConnection

_CACHED_SUBJECTS_MAX: Final = 4096
# A part of the server that takes messages: told of one and of the client it comes from, it says whether it does.
Service: TypeAlias = "Callable[[MessageParts, ClientConnection | None], bool]"


class Subscription:
    """One SUB of a client, what a route asks for on behalf of its server, or what a part of the server listens to.

    Attributes:
        connection: the client, None for a permission's pattern.
        route: the route, None for a client's own subscription.
        service: the part of the server, None for a client's or a route's.
        weight: how many members of the queue group a route stands for.
        delivered: messages since SUB.
        most: after how many of them it ends; 0 = never.
        closed: it has ended; a list of matches may still have it.
    """

    __slots__ = ("closed", "connection", "delivered", "most", "queue", "route", "service", "sid", "subject", "weight")

    def __init__(
        self,
        subject: bytes,
        queue: bytes | None = None,
        sid: bytes = b"",
        connection: ClientConnection | None = None,
        route: RouteConnection | None = None,
        service: Service | None = None,
    ) -> None:
        self.subject = subject
        self.queue = queue
        self.sid = sid
        self.connection = connection
        self.route = route
        self.service = service
        self.weight = 1
        self.delivered = 0
        self.most = 0
        self.closed = False


class Matches:
    """The subscriptions that a subject meets.

    Attributes:
        plain: those of clients without a queue group.
        beyond: those of routes and of parts of the server, without a queue group.
        queues: for each queue group its members; a route's counts `weight` times.
    """

    __slots__ = ("beyond", "plain", "queues")

    def __init__(self) -> None:
        self.plain: list[Subscription] = []
        self.beyond: list[Subscription] = []
        self.queues: list[list[Subscription]] = []

    def __bool__(self) -> bool:
        return bool(self.plain or self.queues or self.beyond)


class _Node:
    __slots__ = ("any", "plain", "queues", "rest", "tokens")

    def __init__(self) -> None:
        self.tokens: dict[bytes, _Node] = {}
        self.any: _Node | None = None
        self.rest: _Node | None = None
        # Dictionaries as ordered sets.
        self.plain: dict[Subscription, None] = {}
        self.queues: dict[bytes, dict[Subscription, None]] = {}

    @property
    def empty(self) -> bool:
        return not (self.tokens or self.plain or self.queues) and self.any is None and self.rest is None


_NOTHING: Final = Matches()


class Interest:
    """The subscriptions of a server, or the patterns of a permission."""

    def __init__(self) -> None:
        self._root = _Node()
        self._system_root = _Node()
        self._cache: dict[bytes, Matches] = {}

    def insert(self, sub: Subscription) -> bool:
        """Add a subscription; False when its subject is none."""
        if not is_valid(sub.subject):
            return False
        node, tokens = self._place(sub.subject)
        for token in tokens:
            node = _grow(node, token)
        if sub.queue is None:
            node.plain[sub] = None
        else:
            node.queues.setdefault(sub.queue, {})[sub] = None
        self.changed()
        return True

    def remove(self, sub: Subscription) -> None:
        """Take a subscription out, if it is there."""
        root, tokens = self._place(sub.subject)
        _remove(root, tokens, 0, sub)
        self.changed()

    def _place(self, subject: bytes) -> tuple[_Node, list[bytes]]:
        """Where the trie of a subject's account begins, and the tokens in it."""
        if subject.startswith(SYSTEM):
            return self._system_root, subject[len(SYSTEM) :].split(b".")
        return self._root, subject.split(b".")

    def changed(self) -> None:
        """Forget what was cached, also when a weight has changed."""
        if self._cache:
            self._cache = {}

    def match(self, subject: bytes) -> Matches:
        """What a subject meets. Its tokens are literal, also `*` and `>`; one with an empty token meets nothing."""
        matches = self._cache.get(subject)
        return self._match(subject) if matches is None else matches

    def _match(self, subject: bytes) -> Matches:
        root, tokens = self._place(subject)
        if b"" in tokens:
            return _NOTHING
        matches = Matches()
        groups: dict[bytes, list[Subscription]] = {}
        _collect(root, tokens, 0, matches, groups)
        matches.queues = list(groups.values())
        if len(self._cache) >= _CACHED_SUBJECTS_MAX:
            self._cache = {}
        self._cache[subject] = matches
        return matches


def _grow(node: _Node, token: bytes) -> _Node:
    if token == b"*":
        if node.any is None:
            node.any = _Node()
        return node.any
    if token == b">":
        if node.rest is None:
            node.rest = _Node()
        return node.rest
    child = node.tokens.get(token)
    if child is None:
        child = node.tokens[token] = _Node()
    return child


def _collect(
    node: _Node, tokens: list[bytes], at: int, matches: Matches, groups: dict[bytes, list[Subscription]]
) -> None:
    if at == len(tokens):
        _take(node, matches, groups)
        return
    # The order shows in which of several subscriptions is told that there are no responders.
    if node.rest is not None:
        _take(node.rest, matches, groups)
    first, second = node.any, node.tokens.get(tokens[at])
    if at == len(tokens) - 1:
        first, second = second, first
    if first is not None:
        _collect(first, tokens, at + 1, matches, groups)
    if second is not None:
        _collect(second, tokens, at + 1, matches, groups)


def _take(node: _Node, matches: Matches, groups: dict[bytes, list[Subscription]]) -> None:
    for sub in node.plain:
        (matches.plain if sub.route is None and sub.service is None else matches.beyond).append(sub)
    for queue, members in node.queues.items():
        group = groups.setdefault(queue, [])
        for sub in members:
            group.extend([sub] * sub.weight)


def _remove(node: _Node, tokens: list[bytes], at: int, sub: Subscription) -> None:
    if at == len(tokens):
        _drop(node, sub)
        return
    token = tokens[at]
    child = node.any if token == b"*" else node.rest if token == b">" else node.tokens.get(token)
    if child is None:
        return
    _remove(child, tokens, at + 1, sub)
    if not child.empty:
        return
    if token == b"*":
        node.any = None
    elif token == b">":
        node.rest = None
    else:
        del node.tokens[token]


def _drop(node: _Node, sub: Subscription) -> None:
    if sub.queue is None:
        node.plain.pop(sub, None)
        return
    members = node.queues.get(sub.queue)
    if members is not None:
        members.pop(sub, None)
        if not members:
            del node.queues[sub.queue]
