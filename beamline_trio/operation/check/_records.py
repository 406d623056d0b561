"""What a router needs of a server, what a server was found to have, and what is wrong between the two.

Must not decide and must not ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import attrs

from ...jetstream import ConsumerConfig, ConsumerInfo, StreamInfo
from ._permissions import Permissions


@attrs.frozen(kw_only=True)
class Target:
    """Where a route publishes to.

    Attributes:
        pattern: the subjects.
        stored: whether a stream has to confirm it.
    """

    pattern: str
    stored: bool


@attrs.frozen(kw_only=True)
class RouteNeeds:
    """What one route needs.

    Attributes:
        name: of the route.
        subject: the pattern that it takes messages from.
        queue_group: of a core route.
        stream: of a route from a stream.
        consumer: the durable that it wants there.
        dead_letter: the subject of its dead letters.
        holds: it holds messages of its tenants without their payloads, and reads them again.
        targets: where it is known to publish to.
        redelivery_seconds: from a message's first delivery to its last one, at the most.
    """

    name: str
    subject: str
    queue_group: str | None = None
    stream: str | None = None
    consumer: ConsumerConfig | None = None
    dead_letter: str | None = None
    holds: bool = False
    targets: tuple[Target, ...] = ()
    redelivery_seconds: float = 0.0

    @property
    def stored_subjects(self) -> tuple[str, ...]:
        """What a stream has to take from it: dead letters, and targets that a stream confirms."""
        letters = (self.dead_letter,) if self.dead_letter is not None else ()
        return (*letters, *(target.pattern for target in self.targets if target.stored))


@attrs.frozen(kw_only=True)
class Survey:
    """What a server was found to have, of what was asked for.

    Attributes:
        server: its name and version.
        jetstream: why there is no JetStream; None = there is.
        streams: name -> stream, of those that are there.
        consumers: stream and name -> consumer, of those that are there.
        takers: subject -> the names of the streams that take it.
        permissions: of the user; None = the server does not tell.
        unanswered: what could not be asked -> why.
        inbox_prefix: where the client gets its answers.
    """

    server: str = ""
    jetstream: str | None = None
    streams: Mapping[str, StreamInfo] = attrs.field(factory=dict)
    consumers: Mapping[tuple[str, str], ConsumerInfo] = attrs.field(factory=dict)
    takers: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    permissions: Permissions | None = None
    unanswered: Mapping[str, str] = attrs.field(factory=dict)
    inbox_prefix: str = "_INBOX"


class Severity(StrEnum):
    """How bad a finding is."""

    # The router does not start, or loses messages.
    ERROR = "error"
    # It runs, and not as is meant.
    WARNING = "warning"


@attrs.frozen(kw_only=True)
class Finding:
    """Something to change.

    Attributes:
        severity: how bad it is.
        route: the route's name; empty for the router as a whole.
        what: what is wrong.
        change: what to do about it.
    """

    severity: Severity
    route: str
    what: str
    change: str

    def __str__(self) -> str:
        where = f"route {self.route!r}: " if self.route else ""
        return f"{self.severity}: {where}{self.what}; {self.change}"
