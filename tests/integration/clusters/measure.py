"""What a real cluster does under each fault: how long it stops, which errors a client sees, when it is well again.

    python -m tests.integration.clusters.measure --runs 5 --write docs/measurements/clusters.json
    python -m tests.integration.clusters.measure --faults leader_killed,region_cut --runs 1

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
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import attrs
import trio

from beamline_trio import JetStream, open_client
from beamline_trio.server_process import (
    NamespaceLinks,
    Node,
    RealCluster,
    RealSupercluster,
    open_namespace_links,
    open_supercluster,
    why_no_namespaces,
)

from ._load import CONSUMER, STREAM, Books, Load, longest_gap, open_load, stored
from ._real_faults import FAULTS, LAME_DUCK, Fault, Scene

BASE_SECONDS = 3.0
AFTER_SECONDS = 4.0
LATE_SECONDS = 1.0
"""A message that waits longer for its PubAck is late: the cluster is not well yet."""
HEALTHY_SECONDS = 90.0
FINISH_SECONDS = 60.0


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


async def measure(faults: Sequence[Fault], runs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Bring each fault upon a cluster so many times, and return what was seen, ready for JSON."""
    results: dict[str, Any] = {}
    totals: Counter[str] = Counter()
    reason = await why_no_namespaces()
    for regions in (1, 2):
        chosen = [fault for fault in faults if fault.regions == regions]
        possible = [fault for fault in chosen if not (fault.needs_links and reason)]
        for fault in chosen:
            results[fault.name] = {"title": fault.title, "seconds": fault.seconds, "runs": {}}
            if fault not in possible:
                results[fault.name]["skipped"] = reason
        if possible:
            async with _open_world(regions, with_links=reason is None) as (world, links):
                await _measure_in(world, links, possible, runs, results, totals, say)
    return {"faults": results, "totals": dict(totals)}


@asynccontextmanager
async def _open_world(
    regions: int, *, with_links: bool
) -> AsyncGenerator[tuple[RealSupercluster, NamespaceLinks | None]]:
    names: dict[str, int] = dict.fromkeys(("east", "west")[:regions], 3)
    if not with_links:
        async with open_supercluster(names, config=LAME_DUCK) as world:
            yield world, None
        return
    async with open_namespace_links() as links, open_supercluster(names, links=links, config=LAME_DUCK) as world:
        yield world, links


async def _measure_in(
    world: RealSupercluster,
    links: NamespaceLinks | None,
    faults: Sequence[Fault],
    runs: int,
    results: dict[str, Any],
    totals: Counter[str],
    say: Callable[[str], None],
) -> None:
    home = next(iter(world.regions))
    async with open_load(_urls(world), home=home, chance=Random(1)) as load:
        for fault in faults:
            for number in range(runs):
                seen = await _run(world, links, fault, load)
                for region, run in seen.items():
                    results[fault.name]["runs"].setdefault(region, []).append(run.record())
                    say(f"{fault.name} {number + 1} of {runs}, {region}: {run}")
        load.stop()
        await load.finish(FINISH_SECONDS)
        totals.update(await _count(world.regions[home], load.books))


def _urls(world: RealSupercluster) -> list[str]:
    """One client for each server; with regions one for each region."""
    if len(world.regions) > 1:
        return [region.urls[0] for region in world.regions.values()]
    return next(iter(world.regions.values())).urls


async def _run(world: RealSupercluster, links: NamespaceLinks | None, fault: Fault, load: Load) -> dict[str, Run]:
    """Bring the fault upon it once; what the clients of each region saw."""
    cluster = next(iter(world.regions.values()))
    await _well(world, load)
    leader = await _leader(cluster)
    follower = next(node for node in cluster.nodes if node is not leader)
    scene = Scene(cluster, world, links, leader, follower)
    duplicates = load.books.duplicates
    began = trio.current_time()
    await fault.begin(scene)
    await trio.sleep_until(began + fault.seconds)
    ended = trio.current_time()
    await fault.end(scene)
    with trio.fail_after(HEALTHY_SECONDS):
        await world.wait_healthy()
    healthy = round(trio.current_time() - ended, 3)
    await _well(world, load)
    changed = await _leader(cluster) is not leader
    lost_acks = load.books.duplicates - duplicates
    now, names = trio.current_time(), list(world.regions)
    shares = {name: (index, len(names)) for index, name in enumerate(names)}
    return {
        name: Run(healthy, changed, lost_acks, evaluate(load.books, began=began, ended=ended, now=now, share=share))
        for name, share in shares.items()
    }


async def _well(world: RealSupercluster, load: Load) -> None:
    """Return when all are healthy and the load has gone on without a late message for a while."""
    with trio.fail_after(HEALTHY_SECONDS):
        await world.wait_healthy()
        while load.books.unacked > load.rate * LATE_SECONDS:  # noqa: ASYNC110
            await trio.sleep(0.1)
    await trio.sleep(BASE_SECONDS + AFTER_SECONDS)


async def _leader(cluster: RealCluster) -> Node:
    with trio.fail_after(HEALTHY_SECONDS):
        while (leader := await cluster.leader(STREAM)) is None:  # noqa: ASYNC110
            await trio.sleep(0.1)
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


async def _count(cluster: RealCluster, books: Books) -> dict[str, int]:
    async with open_client(*cluster.urls) as nc:
        found = await stored(JetStream(nc))
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
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--faults", default=",".join(fault.name for fault in FAULTS))
    parser.add_argument("--write", type=Path, help="a JSON file; what it has is kept, and these runs are added to it")
    given = parser.parse_args(arguments)
    logging.getLogger("beamline_trio").setLevel(logging.CRITICAL)  # each failed attempt is a warning, and counted here
    wanted = given.faults.split(",")
    if unknown := set(wanted) - {fault.name for fault in FAULTS}:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in FAULTS)}")
    faults = [fault for fault in FAULTS if fault.name in wanted]
    found = trio.run(measure, faults, given.runs, lambda line: print(line, flush=True))
    print(json.dumps(found["totals"]))
    if given.write:
        write(given.write, found)
    return 0


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Add to what the file has: runs to runs, totals to totals."""
    before = json.loads(path.read_text()) if path.exists() else {"faults": {}, "totals": {}}
    for name, result in found["faults"].items():
        runs = before["faults"].get(name, {}).get("runs", {})
        for region, seen in result["runs"].items():
            result["runs"][region] = runs.get(region, []) + seen
        before["faults"][name] = result
    totals = Counter(before["totals"])
    totals.update(found["totals"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**before, "totals": dict(totals)}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
