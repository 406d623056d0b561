"""One instance of a program as the metrics show it: whether it takes messages, what it has done, and what it uses.

Must not decide whether it is ready: that is what it is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import trio

from ..client import Client
from ..connection import OptionsError
from ..router import Router

_STATM: Final = Path("/proc/self/statm")
_KIB: Final = 1024
_NAME_CHARACTERS_MAX: Final = 128


class Instance:
    """What `Collector.add_instance` shows.

    Attributes:
        region: that it runs in.

    Args:
        name: its own among the instances, the same over restarts, as `prices-1`; the label `instance`.
        client: that it works on, whose name is the label `client`.
        ready: whether it takes messages.
        region: that it runs in, the label `region`; empty = that of the server it is connected to now.
        routers: whose messages are counted.
        clients: more clients of it, beside `client`.

    Raises:
        OptionsError: the name or the region is not printable, or longer than 128 characters.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        ready: Callable[[], bool],
        *,
        region: str = "",
        routers: Iterable[Router] = (),
        clients: Iterable[Client] = (),
    ) -> None:
        for what, value in (("name", name), ("region", region)):
            if len(value) > _NAME_CHARACTERS_MAX or not value.isprintable() or (what == "name" and not value):
                raise OptionsError(
                    f"the {what} of the instance is {value!r}; it must be printable, of at most "
                    f"{_NAME_CHARACTERS_MAX} characters"
                )
        self.name = name
        self.client = client
        self.ready = ready
        self.region = region or client.server_info.cluster
        self._routers = tuple(routers)
        self._clients = (client, *clients)
        self._tasks = _tasks()

    @property
    def handled(self) -> int:
        """Messages that its routers have done with."""
        return sum(route.counters.ended for router in self._routers for route in router.routes.values())

    @property
    def connections(self) -> int:
        """Its clients that have a link."""
        return sum(client.connection.link_is_up for client in self._clients)

    @property
    def tasks(self) -> int:
        """Tasks of trio; outside of trio's thread as many as when it was last looked at there."""
        self._tasks = _tasks() or self._tasks
        return self._tasks

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process; where the system does not tell, the most that it ever was."""
        try:
            pages = int(_STATM.read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
        return pages * os.sysconf("SC_PAGE_SIZE")


def _tasks() -> int:
    try:
        return trio.lowlevel.current_statistics().tasks_living
    except RuntimeError:
        return 0
