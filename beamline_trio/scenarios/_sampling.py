"""What is to be seen of a run, once a second: rows of numbers, and how large this process is.

Must not judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio

from ._ledger import Ledger
from ._load import Load
from ._memory import resident_bytes
from ._rig import Rig
from ._uses import UseSample

SAMPLE_SECONDS: Final = 1.0
READINESS_SECONDS: Final = 0.1
# What each server and instance uses is looked at less often: there are many of them.
USES_SECONDS: Final = 10.0
# Bursts of messages begin on the second, and a sample shall not see now the one and now the other side of one.
_BESIDE_SECONDS: Final = 0.1


@attrs.frozen(kw_only=True)
class Sample:
    """One moment of a run.

    Attributes:
        at: seconds since its start.
        begun, acked, ended: messages so far; see `Ledger`.
        outstanding: messages in the streams that have not ended.
        backlog: messages that wait to be published.
        latency_seconds: the longest from beginning to end, of what ended in this second; 0 = nothing did.
        ready: instances that take messages. up: servers that serve.
        connected: whether every client has its link.
        quorum: whether there is one, as the watches see it. enough: whether as many servers run as it needs.
        leader: of the streams; empty = none is known.
        regions: those that are joined to another one.
        tasks: of trio. memory_bytes: of this process; 0 = the system does not tell. connections: of clients to servers.
        again: deliveries to handlers that were not the first of their message, so far.
        by_instance: deliveries to each instance so far. by_region: messages that ended in each region so far.
    """

    at: float
    begun: int
    acked: int
    ended: int
    outstanding: int
    backlog: int
    latency_seconds: float
    ready: int
    up: int
    connected: bool
    quorum: bool
    leader: str
    regions: int
    tasks: int
    memory_bytes: int
    connections: int
    again: int = 0
    by_instance: tuple[int, ...] = ()
    by_region: tuple[int, ...] = ()
    enough: bool = True


class Spans:
    """When something was so, by who looks now and then.

    Attributes:
        spans: from and until, in order; the last may go on.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self._so = False

    def look(self, now: float, *, so: bool) -> None:
        """How it is now."""
        if self._so:
            self.spans[-1] = (self.spans[-1][0], now)
        elif so:
            self.spans.append((now, now))
        self._so = so


class Sampler:
    """Takes samples while a run lasts.

    Args:
        now: seconds since the start of the run.
        rig: what it runs on.
        load: that runs on it.
        ledger: of the load.
        tell: called with every sample.

    Attributes:
        samples: in order.
        uses: what each server and instance uses, every 10 s.
        looks: how often readiness was looked at.
        least: instances that were ready at the worst of these moments; None = there was none.
    """

    def __init__(
        self, now: Callable[[], float], rig: Rig, load: Load, ledger: Ledger, tell: Callable[[Sample], object]
    ) -> None:
        self._now = now
        self._rig = rig
        self._load = load
        self._ledger = ledger
        self._tell = tell
        self.samples: list[Sample] = []
        self.uses: list[UseSample] = []
        self.looks = 0
        self.least: int | None = None
        self._unready = Spans()
        self._unserved = Spans()

    async def run(self) -> None:
        """Take a sample every second."""
        await trio.sleep(_BESIDE_SECONDS)
        started = trio.current_time()
        number = 0
        while True:
            sample = self._sample()
            self.samples.append(sample)
            self._tell(sample)
            number += 1
            await trio.sleep_until(started + number * SAMPLE_SECONDS)

    async def watch_readiness(self) -> None:
        """Look every 100 ms whether each site has a ready instance, and whether the load balancer finds one."""
        await self._rig.each(READINESS_SECONDS, self._look)

    def _look(self) -> None:
        now, ready, balancer = self._now(), self._load.ready_by_site, self._load.balancer
        self.looks += 1
        self.least = sum(ready) if self.least is None else min(self.least, sum(ready))
        self._unready.look(now, so=not all(ready))
        self._unserved.look(now, so=balancer is not None and not balancer.serves)

    async def watch_uses(self) -> None:
        """Look now and then what each server and instance uses."""
        while True:
            instances = {name: one.use for name, one in self._load.instances.items()}
            there = {name: use for name, use in instances.items() if use is not None}
            self.uses.append(UseSample(self._now(), self._rig.health().nodes, there))
            await trio.sleep(USES_SECONDS)

    @property
    def unready(self) -> list[tuple[float, float]]:
        """When a site had no instance that was ready: from and until."""
        return self._unready.spans

    @property
    def unserved(self) -> list[tuple[float, float]]:
        """When the load balancer found none."""
        return self._unserved.spans

    def _sample(self) -> Sample:
        ledger, load, health = self._ledger, self._load, self._rig.health()
        latencies, by_region = ledger.take_latencies(), ledger.by_region
        seen = load.lookout.seen if load.lookout is not None else None
        return Sample(
            at=self._now(),
            begun=ledger.begun,
            acked=ledger.acked.count,
            ended=ledger.ended.count,
            outstanding=ledger.outstanding,
            backlog=load.backlog,
            latency_seconds=max(latencies, default=0.0),
            ready=sum(load.ready_by_site),
            up=sum(health.up.values()),
            connected=load.connected,
            quorum=health.quorum if seen is None else seen.quorum,
            enough=health.quorum,
            leader="" if seen is None else seen.leader,
            regions=0 if seen is None else seen.regions,
            tasks=trio.lowlevel.current_statistics().tasks_living,
            memory_bytes=resident_bytes() or 0,
            connections=health.connections,
            again=ledger.again,
            by_instance=tuple(ledger.by_instance.get(name, 0) for name in load.instances),
            by_region=tuple(by_region.get(site.region, 0) for site in load.sites),
        )
