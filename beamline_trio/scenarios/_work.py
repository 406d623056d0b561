"""What a load is about: the messages, the router that works on them, and the sink that sees what became of them.

Must not know clients: `_site` runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from ..jetstream import StreamConfig
from ..router import Router
from ._behaviour import Behaviour
from ._ledger import Ledger
from ._scenario import Scenario, Topology
from ._sink import Sink

# What is in hand of an instance that dies comes again after it.
ACK_WAIT_SECONDS: Final = 30.0
# Of a handler: the default of a route.
DEADLINE_SECONDS: Final = 20.0
GRACE_SECONDS: Final = 10.0


@attrs.frozen
class Ground:
    """What a work is made for.

    Attributes:
        region: where it is; empty = there are no regions.
        regions: all of them; one empty name where there are none.
        topology, scenario: of the run.
        ledger: where its handlers and its sink note what comes.
        behaviour: of its handlers.
    """

    region: str
    regions: Sequence[str]
    topology: Topology
    scenario: Scenario
    ledger: Ledger
    behaviour: Behaviour


class Work(Protocol):
    """The work of one site."""

    @property
    def home(self) -> str:
        """The name of the stream that the messages come to."""
        ...

    def streams(self) -> list[StreamConfig]:
        """The streams that are at home here."""
        ...

    def subjects(self) -> list[str]:
        """The subject of each key that is published here."""
        ...

    @property
    def requests(self) -> str:
        """The subject of requests that its router answers; empty = there are none."""
        ...

    @property
    def once(self) -> str:
        """The subject of messages that its router does once, whoever publishes them again; empty = there are none."""
        ...

    def payload(self, number: int) -> bytes:
        """The message of this number."""
        ...

    def make_router(self, instance: str) -> Router:
        """The router of an instance, to be run once."""
        ...

    def make_sink(self) -> Sink:
        """Who notes effects and dead letters."""
        ...
