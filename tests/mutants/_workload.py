"""A small application with the full client, under faults: by its laws the mutants are judged.

    app      publishes and waits for the confirmation, not always for long; and asks for prices
    till     publishes without waiting, one by one and in bursts
    billing  a queue group of two, a service, subscriptions with a maximum
    audit    everything: by receive, batches, callback, too slowly, for a short time; and publishes with a small queue

For some seconds the plan's faults happen, and the application breaks links itself right behind reconnects. Then there
is a healthy phase, in which everything must work, and a clean end by drain.

It must not check what a law can: what it asserts is what no law sees (a reply's payload, the end of a subscription).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import attrs
import trio

from beamline_trio import Client, NatsError, Reconnected, open_client
from beamline_trio.simulation import (
    Conditions,
    Evidence,
    World,
    books_balance,
    bounded_calls,
    every_call_ends,
    fails_only_by,
    honest_unknown,
    laws,
    no_loss,
    nothing_invented,
    notices_end,
    notices_silence,
    one_of,
    order_by,
    paced_dials,
    recovers,
    sent_once,
    settles,
    told_at_loss,
)
from tests.mutants._receivers import Receivers
from tests.mutants._senders import Senders, is_faulty
from tests.mutants._settings import (
    CALL_SECONDS_MAX,
    FAULTS,
    FLAPS_MAX,
    HEALTHY_SECONDS,
    HOSTS,
    ON_THE_WAY_SECONDS,
    OPTIONS,
    OWN_OPTIONS,
    PUBLISHERS,
    QUIET_SECONDS,
    RUN_SECONDS_MAX,
    SERVER,
    WINDOW_BYTES,
)


def comes_to_its_end(evidence: Evidence) -> Iterator[tuple[float, str]]:
    """Nothing in the application hangs, nor in the client that it leaves."""
    if evidence.ended_at >= RUN_SECONDS_MAX:
        yield evidence.ended_at, f"the application was still running after {RUN_SECONDS_MAX:g} s"


ALL_LAWS: Final = (
    comes_to_its_end,
    no_loss,
    nothing_invented,
    sent_once,
    order_by(),
    one_of("billing/one", "billing/two"),
    every_call_ends,
    bounded_calls(CALL_SECONDS_MAX),
    honest_unknown,
    books_balance,
    fails_only_by("PendingFullError", "PendingTimeoutError", "NoRespondersError"),
    recovers(QUIET_SECONDS - 0.5, publishers=PUBLISHERS),
    paced_dials(longest_seconds=1.0, attempt_seconds=2.0, first_seconds=0.5),
    notices_end(),
    notices_silence(8.0),
    told_at_loss(),
    settles(QUIET_SECONDS - 0.5),
)


@laws(*ALL_LAWS, faults=FAULTS, quiet_seconds=QUIET_SECONDS)
async def scenario(world: World) -> None:
    """Run it."""
    world.network.conditions = Conditions(window_bytes=WINDOW_BYTES)
    with trio.move_on_after(RUN_SECONDS_MAX) as scope:
        await Application(world, await _start_servers(world)).run()
    if scope.cancelled_caught:  # what was pending then is nobody's fault
        for host in HOSTS:
            world.journal.lost(host, 1_000_000)


async def _start_servers(world: World) -> tuple[str, ...]:
    """One server; or one, and the name of one that never was; or a cluster of two."""
    shape = world.random("shape").random()
    if shape < 0.35:
        await world.start_server("a", SERVER)
        return ("a",)
    if shape < 0.65:
        world.network.add_host("ghost")
        await world.start_server("a", SERVER)
        return ("ghost", "a")
    joined = attrs.evolve(SERVER, cluster="orders")
    await world.start_server("a", joined)
    await world.start_server("b", joined, routes=("a",))
    await trio.sleep(2.0)  # until they know each other
    return ("a", "b")


class Application:
    """All of it. Each task draws from a PRNG of its own.

    Args:
        world: where it runs.
        servers: their hosts.
    """

    def __init__(self, world: World, servers: tuple[str, ...]) -> None:
        self.world = world
        self.journal = world.journal
        self.urls = [f"nats://orders:pw@{server}:4222" for server in servers]
        self.stopping = trio.Event()
        self.senders = Senders(world, self.stopping)
        self.receivers = Receivers(world, self.stopping)
        self.flaps = 0
        self.events: dict[str, Counter[str]] = {}

    async def run(self) -> None:
        """Until the healthy phase is over, and everything has come to its end."""
        async with (
            self._client("audit") as audit,
            self._client("billing") as billing,
            trio.open_nursery() as receivers,
        ):
            await self.receivers.start_audit(audit, receivers)
            await self.receivers.start_billing(billing, receivers)
            async with self._client("app") as app, self._client("till") as till:
                await self._publish_all(app, till, audit)
                await trio.sleep(ON_THE_WAY_SECONDS)
                for who, nc in (("app", app), ("till", till), ("billing", billing), ("audit", audit)):
                    with suppress(NatsError):
                        await nc.flush()
                    self.journal.note_books(who, nc)
                    self._compare_events(who, nc)
            await billing.drain()
            await audit.drain()

    async def _publish_all(self, app: Client, till: Client, audit: Client) -> None:
        """Through the faults and the healthy phase; what hangs then is given up."""
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                self.senders.start(nursery, app, till, audit)
                await self.world.quiet()
                await trio.sleep(HEALTHY_SECONDS)
                self.stopping.set()
                scope.deadline = trio.current_time() + CALL_SECONDS_MAX + 1.0

    @asynccontextmanager
    async def _client(self, host: str) -> AsyncGenerator[Client]:
        urls = self.urls[::-1] if host == "audit" else self.urls
        options = OPTIONS | OWN_OPTIONS.get(host, {})
        async with (
            open_client(*urls, name=host, dialer=self.world.dialer(host), **options) as nc,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._keep_books, host, nc)
            nursery.start_soon(self._flap, host, nc)
            yield nc
            nursery.cancel_scope.cancel()

    async def _keep_books(self, host: str, nc: Client) -> None:
        while True:
            await trio.sleep(1.0)
            self.journal.note_books(host, nc)

    def _compare_events(self, host: str, nc: Client) -> None:
        """Every transition that the statistics count was told by an event."""
        told, counted = self.events[host], nc.stats()
        assert told["Disconnected"] == counted.lost, f"{host}: {told}, {counted.lost} links were lost"
        assert told["Reconnected"] == counted.restored, f"{host}: {told}, {counted.restored} links were restored"
        assert told["ServerErrorReceived"] == counted.server_errors, f"{host}: {told}, {counted.server_errors} errors"

    async def _flap(self, host: str, nc: Client) -> None:
        """Break links again that were only just restored."""
        chance = self.world.random(f"flap/{host}")
        told = self.events[host] = Counter()
        async with nc.events() as events:
            async for event in events:
                told[type(event).__name__] += 1
                if (
                    isinstance(event, Reconnected)
                    and is_faulty(self.world)
                    and self.flaps < FLAPS_MAX
                    and chance.random() < 0.5
                ):
                    self.flaps += 1
                    await trio.sleep(chance.uniform(0.0, 0.25))
                    for server in self.world.servers:
                        self.world.network.reset(host, server)
