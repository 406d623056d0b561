"""Many scripts on real servers at once: one server for each configuration, one of its own for each private script.

Everything is played in one `trio.run` before the first comparison, since a server lives in the run that started it;
what went wrong with a script is kept with it and raised where its record is asked for.

A server is many goroutines, and on a busy machine they overtake each other where they do not on a quiet one. What does
not hold of a record is therefore asked of some more, each played alone on a server of its own: that the simulated
server does what the real one does means what it can do, and what it never does in that many plays is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
PLAYS_MAX = 5


def play_real(scripts: Mapping[str, Script], executable: Path) -> Mapping[str, outcome.Outcome[Transcript]]:
    """The record of each script, by its name."""
    return trio.run(_play_all, scripts, executable)


def check_plays(
    check: Callable[[Transcript], None], first: outcome.Outcome[Transcript], script: Script, executable: Path
) -> bool:
    """Check the record of a script, or that of one of the further plays.

    Returns:
        Whether it was that of a further play.

    Raises:
        AssertionError: what the check says of the last of `PLAYS_MAX` plays.
        trio.TooSlowError: that one took too long.
    """
    record = first
    for play in range(1, PLAYS_MAX + 1):
        try:
            check(record.unwrap())
        except (AssertionError, trio.TooSlowError):
            if play == PLAYS_MAX:
                raise
            record = play_real({"again": script}, executable)["again"]
        else:
            break
    return record is not first


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
