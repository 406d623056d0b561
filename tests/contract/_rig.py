"""Many scripts on real servers at once: one server for each configuration, one of its own for each private script.

Everything is played in one `trio.run` before the first comparison, since a server lives in the run that started it;
what went wrong with a script is kept with it and raised where its record is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import outcome
import trio

from ._real_server import open_real_cluster, open_real_server
from ._script import Script
from ._server import ServerConfig
from ._transcript import Player, Transcript

# A private script takes a process; more at once than this only slow each other down.
_AT_ONCE = 6
_SCRIPT_LIMIT_SECONDS = 30.0


def play_real(scripts: Mapping[str, Script], executable: Path) -> Mapping[str, outcome.Outcome[Transcript]]:
    """The record of each script, by its name."""
    return trio.run(_play_all, scripts, executable)


async def _play_all(scripts: Mapping[str, Script], executable: Path) -> dict[str, outcome.Outcome[Transcript]]:
    groups: dict[object, list[str]] = {}
    for name, script in scripts.items():
        groups.setdefault(name if script.private else script.config, []).append(name)
    records: dict[str, outcome.Outcome[Transcript]] = {}
    limiter = trio.CapacityLimiter(_AT_ONCE)

    async def play_group(config: ServerConfig, names: Sequence[str]) -> None:
        count = scripts[names[0]].servers
        async with limiter, AsyncExitStack() as stack:
            if count > 1:
                cluster = open_real_cluster([f"server-{number}" for number in range(count)], executable)
                servers = await stack.enter_async_context(cluster)
            else:
                servers = [await stack.enter_async_context(open_real_server(config, executable))]
            for name in names:
                records[name] = await outcome.acapture(_play_one, scripts[name], Player(*servers))

    async with trio.open_nursery() as nursery:
        for names in groups.values():
            nursery.start_soon(play_group, scripts[names[0]].config, names)
    return records


async def _play_one(script: Script, player: Player) -> Transcript:
    with trio.fail_after(_SCRIPT_LIMIT_SECONDS):
        return await player.play(script)
