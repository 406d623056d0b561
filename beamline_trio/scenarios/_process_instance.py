"""An instance of the router that is a process of its own: `beamline run`, on real servers.

It ends by SIGTERM, on which it drains, or by SIGKILL, and is asked every 100 ms whether it is ready.

Must not decide when.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import trio

from ..server_process import Program, ProgramOptions, ServerStartError, open_program
from ..server_process._ports import choose_port
from ._instance import Leave
from ._memory import resident_bytes
from ._uses import Use

_HOST: Final = "127.0.0.1"
_PAGE: Final = "/readyz"
_LOOK_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 1.0
# Twice the grace of its router.
_DRAIN_SECONDS: Final = 20.0
_START_AGAIN_SECONDS: Final = 0.5
# An interpreter, on a machine whose processors have other work.
_START_SECONDS: Final = 60.0


class ProcessInstance:
    """See `Instance`.

    Args:
        name: of it and its client.
        number: of the scenario.
        servers: where it connects.
        watching: it watches the cluster of its servers, and is not ready without a quorum.
        client: options of its client.

    Attributes:
        name: as given.
        address: where its pages are.
        restarts: how often it was ended.
        deaths: how often it ended by itself.
        bad_drains: how often it was to drain, and did not end in time and with 0.
        restart_seconds: from each end until it took messages again.
        recognised: None = what it was given and was done already cannot be seen.
        ready: whether it said at the last look that it takes messages.
    """

    def __init__(
        self,
        name: str,
        number: str,
        servers: Sequence[str],
        *,
        watching: bool = False,
        client: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.address = (_HOST, choose_port(_HOST))
        self.restarts = 0
        self.deaths = 0
        self.bad_drains = 0
        self.restart_seconds: list[float] = []
        self.recognised: int | None = None
        self._left_at: float | None = None
        self.ready = False
        self._options = _options(name, number, servers, self.address[1], watching=watching, client=client)
        self._wanted = trio.Event()
        self._wanted.set()
        self._program: Program | None = None

    @property
    def use(self) -> Use | None:
        """What it uses now; None = it is away, or the system does not tell."""
        program = self._program
        memory = None if program is None or not program.running else resident_bytes(program.pid)
        return None if memory is None else Use(memory_bytes=memory)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run it, life after life, while it is wanted; started when it first takes messages."""
        async with open_program(self._options) as program, trio.open_nursery() as nursery:
            self._program, self.ready = program, True
            nursery.start_soon(self._look, program)
            task_status.started()
            while True:
                await self._wanted.wait()
                await self._revive(program)
                await program.wait_exit()
                self._note_end()

    async def leave(self, how: Leave) -> None:
        """End it; it stays away until `come_back`."""
        self.restarts += 1
        self._left_at = trio.current_time()
        self._wanted = trio.Event()
        program = self._program
        if program is None:
            return
        if how is Leave.DRAIN and program.running:
            program.terminate()
            code: int | None = None
            with trio.move_on_after(_DRAIN_SECONDS):
                code = await program.wait_exit()
            self.bad_drains += code != 0
        program.kill()
        await program.wait_exit()
        self.ready = False

    def come_back(self) -> None:
        """Start it again."""
        self._wanted.set()

    async def _revive(self, program: Program) -> None:
        """Start it where it does not run; what ends it while it starts is no reason to give up."""
        while not program.running:
            try:
                await program.start()
            except ServerStartError:
                self.deaths += self._wanted.is_set()  # else it was sent away while it started
                await trio.sleep(_START_AGAIN_SECONDS)
                await self._wanted.wait()

    def _note_end(self) -> None:
        """It has ended: by itself, unless it was sent away, or was not back yet."""
        self.deaths += self._left_at is None

    async def _look(self, program: Program) -> None:
        while True:
            ready = False
            with trio.move_on_after(_ANSWER_SECONDS):
                ready = program.running and await program.ready()
            self.ready = ready
            if ready and self._left_at is not None and self._wanted.is_set():
                self.restart_seconds.append(trio.current_time() - self._left_at)
                self._left_at = None
            await trio.sleep(_LOOK_SECONDS)


def _options(
    name: str, number: str, servers: Sequence[str], port: int, *, watching: bool, client: Mapping[str, Any]
) -> ProgramOptions:
    """How it is started."""
    # Imported by name in its own process: here it would read the environment.
    target = "beamline_trio.scenarios._worker:router"
    command = [sys.executable, "-m", "beamline_trio.cli", "run", target, "--name", name, "--metrics-port", f"{port}"]
    for server in servers:
        command += ["--nats", server]
    return ProgramOptions(
        command=tuple(command),
        page=(_HOST, port, _PAGE),
        start_timeout_seconds=_START_SECONDS,
        environment={
            "BEAMLINE_SCENARIO_INSTANCE": name,
            "BEAMLINE_SCENARIO_NUMBER": number,
            "NATS_WATCH_CLUSTER": "true" if watching else "false",
            **{f"NATS_{option.upper()}": str(value) for option, value in client.items()},
        },
    )
