"""SIGKILL of one node after another under load: what was acknowledged is stored, what is stored is delivered.

    python -m tests.integration.clusters.kills --seconds 120 --every 4.5

One node of three, drawn at random, is killed and started again; the next one goes when the time comes, so that often
two are away or not yet caught up, and the stream has no quorum for a while. Nothing but the two laws of the title, and
that nothing is stored twice, is asked of it: how long it stops is for `measure` to say.

Must not judge how fast anything is.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from random import Random

import attrs
import trio

from beamline_trio import JetStream, open_client
from beamline_trio.server_process import Node, RealCluster, open_cluster

from ._load import RATE, STREAM, Load, longest_gap, numbers_of, open_load

DOWN_SECONDS = (0.5, 2.5)
HEALTHY_SECONDS = 90.0
FINISH_SECONDS = 90.0


@attrs.frozen
class Report:
    """The counts of one run."""

    seconds: float
    kills: int
    published: int
    acked: int
    stored: int
    consumed: int
    acked_not_stored: int
    stored_not_consumed: int
    stored_twice: int
    redelivered: int
    unacked: int
    duplicate_acks: int
    longest_gap_seconds: float
    """Between two PubAcks."""
    errors: dict[str, int]

    @property
    def holds(self) -> bool:
        """What is acked is a part of what is stored, that a part of what is consumed, and nothing is stored twice."""
        broken = (self.acked_not_stored, self.stored_not_consumed, self.stored_twice, self.unacked)
        return not any(broken) and self.kills > 0

    def __str__(self) -> str:
        """Readable: what was counted, what must be 0, what happened on the way, and whether the laws hold."""
        errors = ", ".join(f"{name} {count:,}" for name, count in self.errors.items())
        law = "acked subset of stored subset of consumed, stored twice 0"
        return "\n".join(
            (
                self._line("kills", "published", "acked", "stored", "consumed"),
                self._line("acked_not_stored", "stored_not_consumed", "stored_twice", "unacked"),
                f"{self._line('redelivered', 'duplicate_acks')}, longest gap {self.longest_gap_seconds:.1f} s",
                f"errors of attempts: {errors or 'none'}",
                law if self.holds else f"A LAW IS BROKEN: {law}",
            )
        )

    def _line(self, *names: str) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {getattr(self, name):,}" for name in names)


async def run_kills(
    seconds: float, every_seconds: float = 4.5, *, rate: float = RATE, seed: int = 0, servers: int = 3
) -> Report:
    """Kill a random node every so often for so long, let the cluster recover, and count.

    Args:
        seconds: how long nodes are killed.
        every_seconds: from one kill to the next.
        rate: messages a second.
        seed: of the order of the nodes and the time each is away.
        servers: of the cluster; the stream has three replicas.
    """
    chance = Random(seed)
    async with (
        open_cluster("kills", servers) as cluster,
        open_load([(url, None) for url in cluster.urls], rate=rate, chance=chance) as load,
    ):
        kills = await _kill_for(cluster, seconds, every_seconds, chance)
        with trio.fail_after(HEALTHY_SECONDS):
            await cluster.wait_healthy()
        load.stop()
        await load.finish(FINISH_SECONDS)
        return await _count(cluster, load, seconds, kills)


async def _kill_for(cluster: RealCluster, seconds: float, every_seconds: float, chance: Random) -> int:
    """Kill until the time is over; all nodes run then."""
    end, kills = trio.current_time() + seconds, 0
    async with trio.open_nursery() as nursery:
        while (next_at := trio.current_time() + every_seconds) < end:
            node = chance.choice([node for node in cluster.nodes if node.server.running])
            node.server.kill()
            kills += 1
            nursery.start_soon(_start_again, node, chance.uniform(*DOWN_SECONDS))
            await trio.sleep_until(next_at)
    return kills


async def _start_again(node: Node, seconds: float) -> None:
    await trio.sleep(seconds)
    await node.server.wait_exit()
    await node.server.start()


async def _count(cluster: RealCluster, load: Load, seconds: float, kills: int) -> Report:
    books = load.books
    async with open_client(*cluster.urls) as nc:
        found = await numbers_of(JetStream(nc), STREAM)
    return Report(
        seconds=seconds,
        kills=kills,
        published=books.published,
        acked=len(books.acked),
        stored=sum(found.values()),
        consumed=len(books.delivered),
        acked_not_stored=len(books.acked.keys() - found.keys()),
        stored_not_consumed=len(found.keys() - books.delivered.keys()),
        stored_twice=sum(found.values()) - len(found),
        redelivered=sum(books.delivered.values()) - len(books.delivered),
        unacked=books.unacked,
        duplicate_acks=books.duplicates,
        longest_gap_seconds=longest_gap(books.acked.values(), min(books.begun.values()), max(books.acked.values())),
        errors=dict(sorted(Counter(name for _, _, name in books.errors).items())),
    )


def main(arguments: list[str]) -> int:
    """Run, print the counts, and return 0 if the laws hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.clusters.kills", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=4.5, help="seconds from one kill to the next")
    parser.add_argument("--rate", type=float, default=RATE, help="messages a second")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    logging.getLogger("beamline_trio").setLevel(logging.CRITICAL)  # each failed attempt is a warning, and counted here

    async def run() -> Report:
        return await run_kills(given.seconds, given.every, rate=given.rate, seed=given.seed)

    report = trio.run(run)
    print(report)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
