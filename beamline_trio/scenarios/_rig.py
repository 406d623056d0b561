"""What a scenario runs on: servers that can be ended and ways that can be cut, simulated or real.

Must not know loads, faults or plans.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Protocol

import attrs

from ..transport import Dialer
from ._scenario import Topology
from ._uses import Use


class End(enum.StrEnum):
    """How a server's process ends."""

    KILL = "kill"
    STOP = "stop"
    LAME_DUCK = "lame_duck"


@attrs.frozen(kw_only=True)
class Health:
    """What can be seen of the servers at one moment.

    Attributes:
        up: name -> whether it serves.
        quorum: whether enough servers run for anything to be stored.
        connections: of clients, over all servers.
        nodes: name -> what a server uses, as far as that can be seen.
    """

    up: dict[str, bool]
    quorum: bool = True
    connections: int = 0
    nodes: dict[str, Use] = attrs.field(factory=dict)


class Rig(Protocol):
    """Servers, and the ways to them."""

    @property
    def servers(self) -> Sequence[str]:
        """The names of all servers, whether they run or not."""
        ...

    def urls(self, region: str = "") -> list[str]:
        """Where clients connect: all servers, or those of a region."""
        ...

    def dialer(self, host: str) -> Dialer:
        """How a client on this host reaches servers; one for each client."""
        ...

    def random(self, name: str) -> Random:
        """A PRNG of its own for this name; the same in every run of a seed."""
        ...

    def health(self) -> Health:
        """What is to be seen of the servers now."""
        ...

    async def each(self, seconds: float, look: Callable[[], object]) -> None:
        """Call it now, and again every so many seconds until this is cancelled; an error in it ends the run."""
        ...

    async def end_server(self, name: str, how: End) -> None:
        """End its process; returns when it has ended, or has begun to (lame duck)."""
        ...

    async def start_server(self, name: str) -> None:
        """Start it again; it takes connections when this returns. Nothing happens when it runs."""
        ...

    def pause_server(self, name: str) -> None:
        """Stop it in its tracks."""
        ...

    def resume_server(self, name: str) -> None:
        """Let it go on."""
        ...

    def cut(self, one: Sequence[str], others: Sequence[str]) -> AbstractAsyncContextManager[object]:
        """Nothing passes between these hosts while this is entered, and nobody is told."""
        ...

    def cut_region(self, name: str) -> AbstractAsyncContextManager[object]:
        """Nothing passes between a region's servers and those of the others while this is entered."""
        ...

    def lose_host(self, host: str) -> AbstractAsyncContextManager[object]:
        """A client's host has no power while this is entered: its connections are left half-open."""
        ...


def has_quorum(up: Mapping[str, bool], topology: Topology) -> bool:
    """Whether in each region, or in the only cluster, enough servers serve for anything to be stored."""
    regions = topology.regions or ("",)
    return all(
        sum(serves for name, serves in up.items() if name.startswith(region)) >= topology.quorum for region in regions
    )
