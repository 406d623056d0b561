"""A host of the network: its name, its address, who listens on it, and what is wrong with it.

Must not know connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ._end import Owner

# Linux's range of ports for those who dial.
_FIRST_PORT: Final = 32_768
_PORTS: Final = 28_232


class Host:
    """A host; `Network.add_host` makes it.

    Attributes:
        name: how it is dialled.
        address: "10.0.0.N"; it can be dialled by that too.
        listeners: by port, what makes the owner of a new connection's end.
        refusing, unresolved, powered_off: how many faults say so just now.
    """

    __slots__ = ("_dialled", "address", "listeners", "name", "powered_off", "refusing", "unresolved")

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.listeners: dict[int, Callable[[], Owner]] = {}
        self.refusing = 0
        self.unresolved = 0
        self.powered_off = 0
        self._dialled = 0

    def next_port(self) -> int:
        """The port of its next outgoing connection."""
        self._dialled += 1
        return _FIRST_PORT + (self._dialled - 1) % _PORTS

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"
