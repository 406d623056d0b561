"""A load balancer of the machine's in front of the instances' pages: whether it finds one that is ready, all the time.

Must not balance anything itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from ..server_process import find_haproxy, open_load_balancer
from ..server_process._program import ready
from ._errors import ScenarioError

_PAGE: Final = "/readyz"
_LOOK_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 5.0


class Balancer:
    """The load balancer of a run.

    Raises:
        ScenarioError: this machine has none.

    Attributes:
        asked: how often it was asked for a page that says that an instance is ready.
        refused: how often it had none.
        serves: whether it had one when it was last asked.
    """

    def __init__(self) -> None:
        executable = find_haproxy()
        if executable is None:
            raise ScenarioError("there is no haproxy on this machine; install it, or run without a load balancer")
        self._executable = executable
        self.asked = 0
        self.refused = 0
        self.serves = True

    @asynccontextmanager
    async def running(self, instances: Mapping[str, tuple[str, int]]) -> AsyncGenerator[None]:
        """Run it in front of these instances' pages, and ask it every 100 ms."""
        async with open_load_balancer(self._executable, instances) as address, trio.open_nursery() as nursery:
            nursery.start_soon(self._ask, address)
            yield
            nursery.cancel_scope.cancel()

    async def _ask(self, address: tuple[str, int]) -> None:
        while True:
            served = False
            with trio.move_on_after(_ANSWER_SECONDS):
                served = await ready(*address, _PAGE)
            self.serves = served
            self.asked += 1
            self.refused += not served
            await trio.sleep(_LOOK_SECONDS)
