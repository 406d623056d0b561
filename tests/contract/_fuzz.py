"""Play drawn scripts on both servers, compare, and make what differs small.

How it works: the simulated server plays a script first, in virtual time where waiting costs nothing, and says how many
frames each client has after each step. On the real server that count is what a step waits for: so no step sleeps
unless it had no answer at all. What comes beyond the count is seen later, since in the end all links are half-closed
and read to their end.

A script that differs is played once more, alone and slowly: on a busy machine the real server may have been later than
a quick play waits.

Masked beyond `_transcript.mask`: pings of the server, which come by its clock; the kind of a link's end, since bytes
are sent behind what ends it; and which of several subscriptions to an inbox gets "no responders": the first, of those
that the real server has in a random order.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio

from beamline_trio import simulation
from beamline_trio.transport import parse_address

from ._fuzz_script import CONFIGS, FuzzScript, Setting
from ._real_server import open_real_cluster, open_real_server
from ._server import ContractServer
from ._simulated_server import SimulatedContractServer, open_simulated_cluster, simulated_config
from ._transcript import RawClient, Transcript, mask, sid_of

# A script waits so long for an answer that the simulated server gave at once.
_LIMIT_SECONDS = 4.0
# And so long where that one gave none. In virtual time it is free.
_QUIET_SECONDS = 0.025
_SLOW_QUIET_SECONDS = 0.15
# Interest crosses from server to server without an answer, so that only time tells: in quiet times.
_CROSSING = 1.5
_NO_RESPONDERS = re.compile(rb"\A(HMSG \S+ )\S+( [0-9 ]+\r\nNATS/1\.0 503\r\nNats-Subject: )")
_AT_ONCE = 24
_SHRINK_SECONDS_MAX = 15.0
_SHRUNK_MAX = 3
_LOOKED_AT_MAX = 10


class QueueSids:
    """The sids of queue groups, also of those that a mutation has changed."""

    def __contains__(self, sid: object) -> bool:
        return isinstance(sid, bytes) and b"q" in sid


@attrs.frozen
class Play:
    """What a script gave: the record, and how many frames each client had after each step."""

    transcript: Transcript
    counts: tuple[Mapping[str, int], ...]

    def masked(self) -> str:
        """The record without what may differ."""
        frames = {
            client: tuple(_NO_RESPONDERS.sub(rb"\1*\2", frame) for frame in frames if frame != b"PING\r\n")
            for client, frames in self.transcript.frames.items()
        }
        return mask(attrs.evolve(self.transcript, frames=frames), QueueSids())


async def play(
    script: FuzzScript,
    servers: Sequence[ContractServer],
    guide: Sequence[Mapping[str, int]] | None = None,
    quiet_seconds: float = _QUIET_SECONDS,
) -> Play:
    """Play it, in the time that the guide's counts take; without a guide, by waiting for silence."""
    counts: list[Mapping[str, int]] = []
    missed: str | None = None
    async with AsyncExitStack() as stack:
        clients: dict[str, RawClient] = {}

        async def look(step: int, speaker: str) -> str | None:
            expected = None if guide is None else guide[step]
            if len(servers) > 1:
                await trio.sleep(quiet_seconds * _CROSSING)
            complaint = await _look(clients, speaker, counts[-1] if counts else {}, expected, quiet_seconds)
            counts.append({name: _count(client) for name, client in clients.items()})
            return complaint

        for number, (name, first) in enumerate(script.connects.items()):
            server = servers[number % len(servers)]
            stream = await stack.enter_async_context(server.dialer.open(parse_address(server.url)))
            clients[name] = RawClient(stream)
            await clients[name].send(first)
            missed = missed or await look(len(counts), name)
        for chunk in script.chunks:
            if missed:
                break
            await clients[chunk.client].send(chunk.data, chunk.cuts, quiet_seconds / 10)
            if chunk.last:
                await clients[chunk.client].half_close()
            missed = await look(len(counts), chunk.client)
        endings = {name: "open" if client.ending == "open" else "ended" for name, client in clients.items()}
        for client in clients.values():
            await client.half_close()
    return Play(Transcript({name: client.frames for name, client in clients.items()}, endings, missed), tuple(counts))


def _count(client: RawClient) -> int:
    """Frames whose number is no matter of chance; the end counts as one."""
    return sum(map(_is_certain, client.received.frames)) + (client.ending != "open")


def _is_certain(frame: bytes) -> bool:
    """Neither a ping, which comes by the clock, nor given to a member of a queue group, who may be another client."""
    return frame != b"PING\r\n" and sid_of(frame) not in QueueSids()


async def _look(
    clients: Mapping[str, RawClient],
    speaker: str,
    before: Mapping[str, int],
    expected: Mapping[str, int] | None,
    quiet_seconds: float,
) -> str | None:
    if expected is None:
        for client in clients.values():
            await client.listen(quiet_seconds)
        return None
    if expected[speaker] == before.get(speaker, 0):
        await clients[speaker].listen(quiet_seconds)
    for name, client in clients.items():
        with trio.move_on_after(_LIMIT_SECONDS):
            while _count(client) < expected[name] and client.ending == "open":
                await client.receive()
        if _count(client) < expected[name]:
            return f"{name} has {_count(client)} frames, on the other server {expected[name]}"
    return None


# ------------------------------------------------------------------------------------------------------ compare


@attrs.frozen
class Difference:
    """A script that the two servers answer differently."""

    script: FuzzScript
    real: Play
    simulated: Play

    def __str__(self) -> str:
        return (
            f"{self.script}\nthe real server:\n{self.real.transcript}\nthe simulated one:\n{self.simulated.transcript}"
        )


@attrs.frozen
class Comparison:
    """What came of many scripts.

    Attributes:
        suspects: those whose quick plays differ.
        differences: of the first suspects, those that differ in a slow play too, made small.
    """

    suspects: tuple[FuzzScript, ...]
    differences: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Nothing differs, but for quick plays on a busy machine."""
        return not self.differences and len(self.suspects) <= _LOOKED_AT_MAX


def compare(scripts: Sequence[FuzzScript], executable: Path) -> Comparison:
    """Play all, then look at the first that differ."""
    simulated = play_simulated(scripts)
    real = trio.run(_play_real, scripts, simulated, executable)
    suspects = [script for script, *plays in zip(scripts, real, simulated, strict=True) if _differ(*plays)]
    found = [differ_slowly(script, executable) for script in suspects[:_LOOKED_AT_MAX]]
    differences = [difference for difference in found if difference is not None]
    small = [shrink(difference, executable) for difference in differences[:_SHRUNK_MAX]]
    return Comparison(tuple(suspects), (*small, *differences[_SHRUNK_MAX:]))


def differ_slowly(script: FuzzScript, executable: Path) -> Difference | None:
    """The difference of one script, played alone and with patience."""
    (simulated,) = play_simulated([script])
    (real,) = trio.run(_play_real, [script], [simulated], executable, _SLOW_QUIET_SECONDS)
    return Difference(script, real, simulated) if _differ(real, simulated) else None


def shrink(difference: Difference, executable: Path) -> Difference:
    """Fewer steps and lines that still differ; a local minimum, or as far as the time went."""
    until = time.monotonic() + _SHRINK_SECONDS_MAX
    while True:
        for smaller in difference.script.smaller():
            if time.monotonic() > until:
                return difference
            found = differ_slowly(smaller, executable)
            if found is not None:
                difference = found
                break
        else:
            return difference


def _differ(real: Play, simulated: Play) -> bool:
    return real.masked() != simulated.masked()


def play_simulated(scripts: Iterable[FuzzScript]) -> list[Play]:
    """One after another on the simulated servers of each setting."""

    async def play_all(world: simulation.World) -> list[Play]:
        async with AsyncExitStack() as stack:
            settings: dict[Setting, Sequence[ContractServer]] = {}
            for setting, config in CONFIGS.items():
                server = await world.start_server(setting.name.lower(), simulated_config(config))
                settings[setting] = [SimulatedContractServer(world, server)]
            cluster = open_simulated_cluster(("a", "b"), world)
            settings[Setting.CLUSTER] = await stack.enter_async_context(cluster)
            return [await play(script, settings[script.setting]) for script in scripts]

    return simulation.run(play_all, seed=1)


async def _play_real(
    scripts: Sequence[FuzzScript], guides: Sequence[Play], executable: Path, quiet_seconds: float = _QUIET_SECONDS
) -> list[Play]:
    """Many at once on the real servers of each setting."""
    limiter = trio.CapacityLimiter(_AT_ONCE)
    plays: dict[int, Play] = {}
    async with AsyncExitStack() as stack:
        settings: dict[Setting, Sequence[ContractServer]] = {}
        for setting in dict.fromkeys(script.setting for script in scripts):
            if setting is Setting.CLUSTER:
                settings[setting] = await stack.enter_async_context(open_real_cluster(("a", "b"), executable))
            else:
                settings[setting] = [await stack.enter_async_context(open_real_server(CONFIGS[setting], executable))]

        async def play_one(index: int, script: FuzzScript, guide: Play) -> None:
            async with limiter:
                plays[index] = await play(script, settings[script.setting], guide.counts, quiet_seconds)

        async with trio.open_nursery() as nursery:
            for index, (script, guide) in enumerate(zip(scripts, guides, strict=True)):
                nursery.start_soon(play_one, index, script, guide)
    return [plays[index] for index in range(len(scripts))]
