"""What a cluster does under each fault, real or simulated: how long it stops, what a client sees, when it is well.

    python -m tests.integration.clusters.measure --runs 5 --write docs/measurements/clusters.json
    python -m tests.integration.clusters.measure --on simulation --write docs/measurements/clusters-model.json

Every fault is brought upon a cluster under load (`_load`) again and again, with time between in which it is well. What
is noted of a run is in `Run`; that no message was lost, and none stored twice, is counted over all of them.

Must not judge: the table beside the model is `docs/cluster_tables.py`'s.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import attrs
import trio

from beamline_trio import JetStream, open_client, simulation
from beamline_trio.server_process import why_no_namespaces
from beamline_trio.transport import Dialer

from ._faults import FAULTS, Fault, Scene
from ._load import CONSUMER, STREAM, Books, Load, longest_gap, numbers_of, open_load
from ._real_stage import open_real_stage
from ._simulated_stage import simulated_stage
from ._stage import Stage

REGIONS: tuple[Mapping[str, int], ...] = ({"east": 3}, {"east": 3, "west": 3})
SETTLED_SECONDS = 7.0
"""Between two faults; longer than a failed election."""
POLL_SECONDS = 0.1
LATE_SECONDS = 1.0
"""A message that waits longer for its PubAck is late: the cluster is not well yet."""
HEALTHY_SECONDS = 90.0
FINISH_SECONDS = 60.0


BROKEN = ("lost", "stored_twice", "missed")
"""Counts that must be 0, whatever was done to the cluster."""


Say = Callable[[str], None]


@attrs.frozen
class Found:
    """What was seen, as it goes into the file: by fault, and counts over all."""

    faults: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    totals: Counter[str] = attrs.field(factory=Counter)

    def choose(self, faults: Sequence[Fault], regions: int, no_links: str | None) -> list[Fault]:
        """Those for so many regions that are possible; the others are noted with the reason."""
        chosen = [fault for fault in faults if fault.regions == regions]
        for fault in chosen:
            self.faults[fault.name] = {"title": fault.title, "seconds": fault.seconds, "runs": {}}
            if fault.needs_links and no_links:
                self.faults[fault.name]["skipped"] = no_links
        return [fault for fault in chosen if not (fault.needs_links and no_links)]


@attrs.frozen
class Seen:
    """What the clients of a region saw of a fault, in seconds and counts.

    Attributes:
        gap_seconds: the longest time without a PubAck.
        delivery_gap_seconds: the longest time without a delivery.
        well_seconds: from the beginning of the fault until no message waits for its PubAck for more than a second.
        well_after_end_seconds: the same from the fault's end; 0 = before it.
        errors: how many attempts of publishes ended with which error.
    """

    gap_seconds: float
    delivery_gap_seconds: float
    well_seconds: float
    well_after_end_seconds: float
    errors: Mapping[str, int]


@attrs.frozen
class Run:
    """One fault, brought upon the cluster once.

    Attributes:
        healthy_seconds: from the fault's end until every server says that it is well.
        leader_changed: whether another server leads the stream afterwards.
        lost_acks: PubAcks that were lost: the message was stored, and its retry was told so.
        seen: by the clients of one region.
    """

    healthy_seconds: float
    leader_changed: bool
    lost_acks: int
    seen: Seen

    def record(self) -> dict[str, Any]:
        """For JSON, without the nesting."""
        record = attrs.asdict(self)
        return {**record.pop("seen"), **record}


async def measure_real(faults: Sequence[Fault], runs: int, say: Say) -> Found:
    """Bring each fault upon real clusters so many times, and return what was seen, ready for JSON."""
    found = Found()
    reason = await why_no_namespaces()
    for regions in REGIONS:
        possible = found.choose(faults, len(regions), reason)
        if possible:
            async with open_real_stage(regions, with_links=reason is None) as stage:
                await _measure_on(stage, possible, runs, found, say)
    return found


def measure_simulated(faults: Sequence[Fault], runs: int, say: Say) -> Found:
    """The same upon simulated ones, each run with a seed of its own."""
    found = Found()
    for regions in REGIONS:
        for fault in found.choose(faults, len(regions), None):
            for seed in range(1, runs + 1):
                simulation.run(partial(_measure_in, regions=regions, fault=fault, found=found, say=say), seed=seed)
    return found


async def _measure_in(
    world: simulation.World, *, regions: Mapping[str, int], fault: Fault, found: Found, say: Say
) -> None:
    await _measure_on(await simulated_stage(world, regions), [fault], 1, found, say)


async def _measure_on(stage: Stage, faults: Sequence[Fault], runs: int, found: Found, say: Say) -> None:
    home = next(iter(stage.regions)) if len(stage.regions) > 1 else None
    async with open_load(_clients(stage), home=home, chance=Random(1)) as load:
        for fault in faults:
            for number in range(runs):
                for region, run in (await _run(stage, fault, load)).items():
                    found.faults[fault.name]["runs"].setdefault(region, []).append(run.record())
                    say(f"{fault.name} {number + 1} of {runs}, {region}: {run}")
        load.stop()
        await load.finish(FINISH_SECONDS)
        found.totals.update(await _count(stage, load.books))


def _clients(stage: Stage) -> list[tuple[str, Dialer | None]]:
    """One client for each server; with regions one for each region."""
    names = [servers[0] for servers in stage.regions.values()]
    if len(names) == 1:
        (names,) = map(list, stage.regions.values())
    return [(stage.url(name), stage.dialer(number)) for number, name in enumerate(names)]


async def _run(stage: Stage, fault: Fault, load: Load) -> dict[str, Run]:
    """Bring the fault upon it once; what the clients of each region saw."""
    await _well(stage, load)
    leader = await _leader(stage)
    servers = next(servers for servers in stage.regions.values() if leader in servers)
    scene = Scene(stage, leader, [name for name in servers if name != leader])
    duplicates = load.books.duplicates
    began = trio.current_time()
    await fault.begin(scene)
    await trio.sleep_until(began + fault.seconds)
    ended = trio.current_time()
    await fault.end(scene)
    with trio.fail_after(HEALTHY_SECONDS):
        while not await stage.healthy():  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)
    healthy = round(trio.current_time() - ended, 3)
    await _well(stage, load)
    changed = await _leader(stage) != leader
    lost_acks = load.books.duplicates - duplicates
    now, names = trio.current_time(), list(stage.regions)
    shares = {name: (index, len(names)) for index, name in enumerate(names)}
    return {
        name: Run(healthy, changed, lost_acks, evaluate(load.books, began=began, ended=ended, now=now, share=share))
        for name, share in shares.items()
    }


async def _well(stage: Stage, load: Load) -> None:
    """Return when all are healthy and the load has gone on without a late message for a while."""
    with trio.fail_after(HEALTHY_SECONDS):
        while not await stage.healthy():  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)
        while load.books.unacked > load.rate * LATE_SECONDS:  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)
    await trio.sleep(SETTLED_SECONDS)


async def _leader(stage: Stage) -> str:
    with trio.fail_after(HEALTHY_SECONDS):
        while (leader := await stage.leader(STREAM)) is None:  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)
    return leader


def evaluate(books: Books, *, began: float, ended: float, now: float, share: tuple[int, int]) -> Seen:
    """What the clients of one region saw of a fault: those whose messages have these numbers.

    Args:
        books: of all clients.
        began: when the fault began.
        ended: when it was undone.
        now: when the cluster was well again for a while.
        share: which of how many clients, by turns.
    """
    index, of = share
    mine = {number: at for number, at in books.acked.items() if number % of == index}
    late = [at for number, at in mine.items() if at >= began and at - books.begun[number] > LATE_SECONDS]
    well = max(late, default=began)
    failed = Counter(
        name for at, client, name in books.errors if at >= began and client != CONSUMER and client % of == index
    )
    return Seen(
        gap_seconds=round(longest_gap(mine.values(), began, now), 3),
        delivery_gap_seconds=round(longest_gap(books.deliveries, began, now), 3),
        well_seconds=round(well - began, 3),
        well_after_end_seconds=round(max(0.0, well - ended), 3),
        errors=dict(sorted(failed.items())),
    )


async def _count(stage: Stage, books: Books) -> dict[str, int]:
    url, dialer = _clients(stage)[0]
    async with open_client(url, dialer=dialer) as nc:
        found = await numbers_of(JetStream(nc), STREAM)
    return {
        "published": books.published,
        "acked": len(books.acked),
        "stored": sum(found.values()),
        "lost": len(books.acked.keys() - found.keys()),
        "stored_twice": sum(found.values()) - len(found),
        "missed": len(found.keys() - books.delivered.keys()),
        "delivered_again": sum(books.delivered.values()) - len(books.delivered),
        "lost_acks": books.duplicates,
    }


def main(arguments: list[str]) -> int:
    """Measure, print, and write the file if one is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.clusters.measure", description=__doc__)
    parser.add_argument("--on", choices=("real", "simulation"), default="real")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--faults", default=",".join(fault.name for fault in FAULTS))
    parser.add_argument("--write", type=Path, help="a JSON file; what it has is kept, and these runs are added to it")
    given = parser.parse_args(arguments)
    logging.getLogger("beamline_trio").setLevel(logging.CRITICAL)  # each failed attempt is a warning, and counted here
    wanted = given.faults.split(",")
    if unknown := set(wanted) - {fault.name for fault in FAULTS}:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in FAULTS)}")
    faults = [fault for fault in FAULTS if fault.name in wanted]
    if given.on == "real":
        found = trio.run(measure_real, faults, given.runs, _say)
    else:
        found = measure_simulated(faults, given.runs, _say)
    print(json.dumps(found.totals))
    if given.write:
        write(given.write, found)
    broken = [name for name in BROKEN if found.totals[name]]
    if broken:
        print(f"A LAW IS BROKEN: {', '.join(broken)}")
    return 1 if broken else 0


def _say(line: str) -> None:
    print(line, flush=True)


def write(path: Path, found: Found) -> None:
    """Add to what the file has: runs to runs, totals to totals; the faults in their order."""
    before = json.loads(path.read_text()) if path.exists() else {"faults": {}, "totals": {}}
    for name, result in found.faults.items():
        runs = before["faults"].get(name, {}).get("runs", {})
        for region, seen in result["runs"].items():
            result["runs"][region] = runs.get(region, []) + seen
        before["faults"][name] = result
    totals = Counter(before["totals"])
    totals.update(found.totals)
    order = {fault.name: number for number, fault in enumerate(FAULTS)}
    faults = dict(sorted(before["faults"].items(), key=lambda item: order.get(item[0], len(order))))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"faults": faults, "totals": dict(totals)}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
