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
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import Any, Final

import attrs
import trio

from beamline_trio import (
    Client,
    Message,
    NatsError,
    OperationTimeoutError,
    PendingFullError,
    PermissionsError,
    Reconnected,
    Subscription,
    open_client,
)
from beamline_trio.simulation import (
    Conditions,
    Draw,
    Evidence,
    Rule,
    ServerConfig,
    User,
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

# Everything is quick, so that a short run sees all of it.
OPTIONS: Final[dict[str, Any]] = {
    "reconnect_delay_max_seconds": 1.0,
    "connect_timeout_seconds": 2.0,
    "operation_timeout_seconds": 4.0,
    "ping_interval_seconds": 3.0,
    "pong_timeout_seconds": 2.0,
    "outbox_bytes_max": 2_048,
    "pending_operations_max": 40,
    "pending_timeout_seconds": 6.0,
    "drain_deadline_seconds": 5.0,
}
HOSTS: Final = ("app", "till", "billing", "audit")
OWN_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "audit": {"pending_policy": "error", "pending_operations_max": 5},
    "till": {"pending_timeout_seconds": None},
}
SECRET: Final = Rule(deny=("secret.>",))
SERVER: Final = ServerConfig(
    ping_interval_seconds=1.0, ping_max=2, users=(User("orders", "pw", publish=SECRET, subscribe=SECRET),)
)
FAULTS: Final = Draw(seconds=18.0, count=5, longest_seconds=14.0)
QUIET_SECONDS: Final = 10.0
HEALTHY_SECONDS: Final = 7.0
# Behind that something hangs, and the laws are to say what.
RUN_SECONDS_MAX: Final = 90.0
ON_THE_WAY_SECONDS: Final = 1.0
CALL_SECONDS_MAX: Final = 24.0
# So little that a server that does not read lets the client's frames pile up.
WINDOW_BYTES: Final = 3_000
FLAPS_MAX: Final = 6
CAP: Final = 7
PUBLISHERS: Final = ("till/created", "till/capped", "app/paid", "app/noted0", "app/price", "audit/log")


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
        self.flaps = 0
        self.events: dict[str, Counter[str]] = {}

    async def run(self) -> None:
        """Until the healthy phase is over, and everything has come to its end."""
        async with (
            self._client("audit") as audit,
            self._client("billing") as billing,
            trio.open_nursery() as receivers,
        ):
            await self._start_audit(audit, receivers)
            await self._start_billing(billing, receivers)
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

    @property
    def faulty(self) -> bool:
        """Whether faults are still to come."""
        return self.world.now() < self.world.faults_end_at or self.world.plan is None

    # Clients

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
                if isinstance(event, Reconnected) and self.faulty and self.flaps < FLAPS_MAX and chance.random() < 0.5:
                    self.flaps += 1
                    await trio.sleep(chance.uniform(0.0, 0.25))
                    for server in self.world.servers:
                        self.world.network.reset(host, server)

    # What is published

    async def _publish_all(self, app: Client, till: Client, audit: Client) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._publish, till, "till/created", "orders.created", 1.3, self._burst)
                nursery.start_soon(self._publish, till, "till/capped", "orders.capped", 0.24, self._plain)
                nursery.start_soon(self._publish, app, "app/paid", "orders.paid", 0.3, self._impatient)
                for number in range(3):
                    nursery.start_soon(self._publish, app, f"app/noted{number}", "orders.noted", 1.2, self._confirmed)
                nursery.start_soon(self._publish, audit, "audit/log", "log.line", 2.5, self._plain)
                nursery.start_soon(self._ask, app, "app/price")
                nursery.start_soon(self._flush, app)
                nursery.start_soon(self._beat, audit)
                nursery.start_soon(self._trespass, audit)
                await self.world.quiet()
                await trio.sleep(HEALTHY_SECONDS)
                self.stopping.set()
                scope.deadline = trio.current_time() + CALL_SECONDS_MAX + 1.0

    async def _publish(
        self, nc: Client, publisher: str, subject: str, pause_seconds: float, once: Callable[..., Any]
    ) -> None:
        chance = self.world.random(publisher)
        while not self.stopping.is_set():
            await once(nc, publisher, subject, chance)
            await trio.sleep(chance.uniform(0.5, 1.5) * pause_seconds * (2.0 if self.faulty else 1.0))

    async def _plain(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        await self.journal.publish(nc, subject, b"plain", publisher=publisher, confirm=False)

    async def _burst(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        """A few; sometimes more than the outbox holds."""
        for _ in range(20 if chance.random() < 0.15 else chance.randint(1, 4)):
            await self.journal.publish(nc, subject, bytes(150), publisher=publisher, confirm=False)

    async def _confirmed(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        await self.journal.publish(nc, subject, b"confirmed", publisher=publisher)

    async def _impatient(self, nc: Client, publisher: str, subject: str, chance: Random) -> None:
        """Waits for the confirmation, but not always for long."""
        with trio.move_on_after(chance.choice((0.0005, 0.3, 2.0, 60.0))):
            await self.journal.publish(nc, subject, b"paid", publisher=publisher)

    async def _ask(self, nc: Client, publisher: str) -> None:
        """Ask for prices; in times of faults sometimes for one that takes too long, or without patience."""
        chance = self.world.random(publisher)
        for number in range(1_000_000):
            if self.stopping.is_set():
                return
            slow = self.faulty and chance.random() < 0.1
            question = b"%d %s" % (number, b"slowly" if slow else b"now")
            with trio.move_on_after(chance.choice((0.0015, 0.4, 60.0, 60.0))):
                _, reply = await self.journal.request(nc, "price.get", question, publisher=publisher)
                assert reply is None or reply.payload == question, f"{question!r} was answered by {reply.payload!r}"
            await trio.sleep(chance.uniform(0.3, 1.2))

    async def _beat(self, nc: Client) -> None:
        """Without headers, by the shortest way; the letters before a number say when it was sent."""
        for number in range(0, 1_000_000, 3):
            if self.stopping.is_set():
                return
            with suppress(PendingFullError):
                for beat in range(number, number + 3):
                    await nc.publish("beat", b"%s %06d" % (b"faulty" if self.faulty else b"well", beat))
            await trio.sleep(1.0)

    async def _trespass(self, nc: Client) -> None:
        """Publish and subscribe to what is forbidden; the client says so, if it has a link."""
        while not self.stopping.is_set():
            for attempt in (self._publish_secret, self._subscribe_secret):
                well = not self.faulty and self.world.now() > self.world.faults_end_at + QUIET_SECONDS
                try:
                    await attempt(nc)
                except PermissionsError:
                    continue
                except NatsError as error:
                    if well:
                        raise AssertionError("what is forbidden failed for another reason") from error
                else:
                    raise AssertionError("what is forbidden succeeded")
            await trio.sleep(2.5)

    async def _publish_secret(self, nc: Client) -> None:
        await nc.publish("secret.plans", b"", confirm=True)

    async def _subscribe_secret(self, nc: Client) -> None:
        async with nc.subscribe("secret.*") as sub:
            try:
                await sub.confirmed()
            except PermissionsError:
                with trio.fail_after(1.0):  # who receives is told too
                    await sub.receive()

    async def _flush(self, nc: Client) -> None:
        chance = self.world.random("flush")
        while not self.stopping.is_set():
            with suppress(NatsError):
                await nc.flush()
            await trio.sleep(chance.uniform(0.5, 2.0))

    # What is received

    async def _start_billing(self, nc: Client, nursery: trio.Nursery) -> None:
        for who in ("billing/one", "billing/two"):
            await nursery.start(self._receive, nc, who, "orders.paid", "billing")
        nursery.start_soon(self._receive_capped, nc)
        nursery.start_soon(self._hear_beats, nc)
        await nursery.start(partial(nc.serve, "price.get", self._price, queue_group="prices", concurrency=3))

    async def _start_audit(self, nc: Client, nursery: trio.Nursery) -> None:
        await nursery.start(self._receive, nc, "audit/all", "orders.>", None)
        await nursery.start(self._receive_batches, nc)
        await nursery.start(self._receive_first_of, nc)
        await nursery.start(self._receive_slowly, nc)
        nursery.start_soon(self._receive_briefly, nc)
        nursery.start_soon(self._call_back, nc)

    async def _price(self, message: Message) -> bytes:
        self.journal.delivered("billing/price", message)
        if message.payload.endswith(b"slowly"):
            await trio.sleep(OPTIONS["operation_timeout_seconds"] + 1.0)
        return message.payload

    async def _receive(
        self, nc: Client, who: str, subject: str, queue_group: str | None, task_status: trio.TaskStatus[None]
    ) -> None:
        """With deadlines that strike again and again while it waits."""
        chance = self.world.random(who)
        async with nc.subscribe(subject, queue_group=queue_group) as sub:
            task_status.started()
            while not sub.exhausted:
                with trio.move_on_after(chance.choice((0.0, 0.05, 0.5, 5.0, 5.0, 5.0))):
                    try:
                        message = await sub.receive()
                    except trio.EndOfChannel:
                        return
                    self.journal.delivered(who, message)

    async def _receive_batches(self, nc: Client, task_status: trio.TaskStatus[None]) -> None:
        async with nc.subscribe("orders.created") as sub:
            task_status.started()
            while True:
                try:
                    batch = await sub.receive_batch(max_messages=3)
                except trio.EndOfChannel:
                    return
                for message in batch:
                    self.journal.delivered("audit/batch", message)

    async def _receive_first_of(self, nc: Client, task_status: trio.TaskStatus[None]) -> None:
        """Whoever of two is given a message cancels the other, which may be given one in this very moment."""
        async with nc.subscribe("orders.noted") as left, nc.subscribe("orders.noted") as right:
            task_status.started()
            while not (left.exhausted or right.exhausted):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive_one, left, "audit/left", nursery.cancel_scope)
                    nursery.start_soon(self._receive_one, right, "audit/right", nursery.cancel_scope)
            for sub, who in ((left, "audit/left"), (right, "audit/right")):
                await self._read_to_end(sub, who)

    async def _receive_one(self, sub: Subscription, who: str, scope: trio.CancelScope) -> None:
        try:
            self.journal.delivered(who, await sub.receive())
        except trio.EndOfChannel:
            pass
        scope.cancel()

    async def _receive_slowly(self, nc: Client, task_status: trio.TaskStatus[None]) -> None:
        async with nc.subscribe("orders.>", pending_messages_max=4) as sub:
            task_status.started()
            count = 0
            async for message in sub:
                self.journal.delivered("audit/slow", message)
                count += 1
                await trio.sleep(0.2)
        self.journal.lost("audit/slow", sub.dropped)
        assert count + sub.dropped == sub.delivered, f"{count} given, {sub.dropped} dropped, {sub.delivered} came"

    async def _receive_capped(self, nc: Client) -> None:
        """Subscriptions with a maximum, one after another."""
        for generation in range(1_000):
            who = f"billing/capped{generation}"
            count = 0
            async with nc.subscribe("orders.capped", max_messages=CAP) as sub:
                async for message in sub:
                    self.journal.delivered(who, message)
                    count += 1
            if self.stopping.is_set():  # it may have ended by the drain
                return
            self.journal.end_of(who)
            assert count == CAP, f"{who} ended after {count} messages"

    async def _hear_beats(self, nc: Client) -> None:
        heard: dict[bytes, None] = {}
        async with nc.subscribe("beat") as sub:
            async for message in sub:
                assert message.payload not in heard, f"{message.payload!r} came twice"
                heard[message.payload] = None
        assert any(beat.startswith(b"well") for beat in heard), "no beat was heard in a system without faults"

    async def _receive_briefly(self, nc: Client) -> None:
        """Subscriptions that come, are drained, and go."""
        chance = self.world.random("briefly")
        for generation in range(1_000):
            if self.stopping.is_set():
                return
            who = f"audit/brief{generation}"
            async with nc.subscribe("orders.>") as sub:
                with trio.move_on_after(chance.uniform(0.0, 2.0)):
                    await self._read_to_end(sub, who)
                try:
                    await sub.drain()
                except OperationTimeoutError:  # what still comes is for nobody, and was told
                    self.journal.lost(who, 1_000)
                except NatsError:
                    pass
                await self._read_to_end(sub, who)
            self.journal.end_of(who)
            await trio.sleep(chance.uniform(0.0, 2.0))

    async def _read_to_end(self, sub: Subscription, who: str) -> None:
        async for message in sub:
            self.journal.delivered(who, message)

    async def _call_back(self, nc: Client) -> None:
        def note(message: Message) -> None:
            self.journal.delivered("audit/call", message)

        async with nc.subscribe("orders.noted", callback=note) as sub:
            await self._read_to_end(sub, "audit/call")
