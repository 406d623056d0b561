"""Reconnecting on a cluster of real servers: discovery, the death of the current server, and lame duck mode."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from beamline_trio import (
    Client,
    Disconnected,
    Event,
    LameDuck,
    Message,
    Migrated,
    Outcome,
    Reconnected,
    ServerDiscovered,
    State,
    open_client,
)
from beamline_trio.server_process import Server, open_server
from beamline_trio.server_process._ports import choose_port

from ._certificates import write_certificates

LIMIT_SECONDS = 30.0
GRACE_SECONDS = 5.0


@asynccontextmanager
async def cluster(count: int, more: str = "") -> AsyncGenerator[list[Server]]:
    """Servers of one cluster, each of which knows the addresses of all, with more configuration."""
    ports = [choose_port("127.0.0.1") for _ in range(count)]
    routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
    async with AsyncExitStack() as stack:
        servers = []
        for port in ports:
            config = (
                f"cluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{routes}] }}\n"
                f'lame_duck_grace_period: "{GRACE_SECONDS:g}s"\nlame_duck_duration: "30s"\n{more}'
            )
            servers.append(await stack.enter_async_context(open_server(config=config)))
        yield servers


async def until(done: Callable[[], bool], seconds: float = LIMIT_SECONDS) -> None:
    """Wait for something that a real server does in its own time."""
    with trio.fail_after(seconds):
        while not done():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def collect(nc: Client, events: list[Event], *, task_status: trio.TaskStatus[None]) -> None:
    """Keep all events from when it has started."""
    async with nc.events() as stream:
        task_status.started()
        async for event in stream:
            events.append(event)


def server_of(nc: Client, servers: list[Server]) -> Server:
    """The server that a client is on."""
    return next(server for server in servers if server.port == nc.server_info.port)


async def know_each_other(clients: list[Client], count: int) -> None:
    """Until all clients know all servers; then the servers have their routes."""
    await until(lambda: all(len(nc.server_pool()) >= count for nc in clients))


async def echo(message: Message) -> bytes:
    return message.payload


async def test_the_servers_of_a_cluster_are_discovered() -> None:
    """Given one server, the client knows all of them, each told by one event; one that joins later too."""
    async with cluster(2) as servers, open_client(servers[0].url) as nc:
        await know_each_other([nc], 2)
        assert {server.url for server in nc.server_pool()} >= {server.url for server in servers}
        assert [server.explicit for server in nc.server_pool()].count(True) == 1
        events: list[Event] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(collect, nc, events)
            port = choose_port("127.0.0.1")
            seed = servers[0].config_path.read_text().split("routes: [")[1].split(",")[0].strip(" ]")
            config = f"cluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{seed}] }}"
            async with open_server(config=config) as third:
                await know_each_other([nc], 3)
                await until(lambda: ServerDiscovered(third.url) in events)
            await until(lambda: len(nc.server_pool()) == 2)
            nursery.cancel_scope.cancel()


async def test_the_current_server_is_killed() -> None:
    """The client goes to a server that it was never given, at once, and a queued publish arrives."""
    async with (
        cluster(3) as servers,
        open_client(servers[0].url) as nc,
        open_client(servers[1].url) as other,
        other.subscribe("x") as sub,
    ):
        await sub.confirmed()
        await know_each_other([nc, other], 3)
        events: list[Event] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(collect, nc, events)
            servers[0].kill()
            await until(lambda: nc.state is not State.CONNECTED)
            assert await nc.publish("x", b"queued") is Outcome.QUEUED
            killed_at = trio.current_time()
            await until(lambda: nc.state is State.CONNECTED)
            assert trio.current_time() - killed_at < 2
            await nc.flush()
            with trio.fail_after(LIMIT_SECONDS):
                assert (await sub.receive()).payload == b"queued"
            kinds = [type(event) for event in events]
            assert kinds[0] is Disconnected
            assert Reconnected in kinds
            assert server_of(nc, servers) in servers[1:]
            nursery.cancel_scope.cancel()


async def test_lame_duck_with_requests_under_way() -> None:
    """A client with traffic of all kinds moves before the grace period ends; nothing is lost, doubled or delayed."""
    async with cluster(3) as servers, AsyncExitStack() as stack:
        mover, left, right = [await stack.enter_async_context(open_client(server.url)) for server in servers]
        await know_each_other([mover, left, right], 3)
        events: list[Event] = []
        got: list[int] = []
        counts = {"numbers": 0, "plain": 0, "grouped": 0, "echo": 0, "published": 0}
        over = trio.Event()

        async def slow(message: Message) -> bytes:
            await trio.sleep(0.7)
            return message.payload

        async def ask(nc: Client, subject: str) -> None:
            while not over.is_set():
                payload = b"%d" % counts[subject]
                assert (await nc.request(subject, payload)).payload == payload
                counts[subject] += 1

        async def ask_slowly() -> None:
            while not over.is_set():
                assert (await mover.request("slow", b"?")).payload == b"?"

        async def publish() -> None:
            while not over.is_set():
                assert await mover.publish("anything", b"x", confirm=True) is Outcome.SENT
                counts["published"] += 1
                await trio.sleep(0.002)

        async def publish_numbers() -> None:
            while not over.is_set():
                await left.publish("numbers", b"%d" % counts["numbers"])
                counts["numbers"] += 1
                await trio.sleep(0.001)

        async def receive(sub: Any) -> None:
            async for message in sub:
                got.append(int(message.payload))

        async with trio.open_nursery() as nursery:
            await nursery.start(collect, mover, events)
            await nursery.start(partial(mover.serve, "plain", echo))
            await nursery.start(partial(mover.serve, "grouped", echo, queue_group="q"))
            await nursery.start(partial(right.serve, "echo", echo))
            await nursery.start(partial(right.serve, "slow", slow, concurrency=10))
            numbers = await stack.enter_async_context(mover.subscribe("numbers"))
            await numbers.confirmed()
            nursery.start_soon(receive, numbers)
            await trio.sleep(0.5)  # for the interests to cross the routes
            nursery.start_soon(publish_numbers)
            for nc, subject in ((left, "plain"), (right, "grouped"), (mover, "echo")):
                nursery.start_soon(ask, nc, subject)
            nursery.start_soon(ask_slowly)
            nursery.start_soon(publish)
            await trio.sleep(0.5)
            before = dict(counts)
            announced_at = trio.current_time()
            servers[0].lame_duck()
            await until(lambda: any(isinstance(event, Migrated) for event in events), GRACE_SECONDS)
            await servers[0].wait_exit()  # without clients it goes at once
            assert trio.current_time() - announced_at < GRACE_SECONDS + 2
            await trio.sleep(0.5)
            over.set()
            await until(lambda: len(got) >= counts["numbers"])
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        assert got == list(range(counts["numbers"]))
        assert all(counts[key] > before[key] for key in counts)
        assert [type(event) for event in events if not isinstance(event, ServerDiscovered)] == [LameDuck, Migrated]
        assert (mover.stats().lost, mover.stats().established) == (0, 2)
        assert (mover.ledger().unknown, mover.ledger().failed, mover.ledger().dropped) == (0, 0, 0)
        assert server_of(mover, servers) in servers[1:]


async def test_a_forced_reconnect_on_a_real_server() -> None:
    """Left and connected again within a moment, with the subscriptions."""
    async with open_server() as server, open_client(server.url) as nc, nc.subscribe("x") as sub:
        await sub.confirmed()
        before = nc.server_info.client_id
        await nc.reconnect()
        with trio.fail_after(2):
            await nc.publish("x", b"x", confirm=True)
            assert (await sub.receive()).payload == b"x"
        assert nc.server_info.client_id != before
        assert (nc.stats().lost, nc.stats().established) == (0, 2)


async def test_a_first_connect_before_the_server_is_there() -> None:
    """retry_first_connect: a server that starts later is found, and what was published meanwhile arrives."""
    async with open_server() as server:
        await server.stop()
        async with open_client(server.url, retry_first_connect=True) as nc:
            assert await nc.publish("x", b"x") is Outcome.QUEUED
            await server.start()
            with trio.fail_after(LIMIT_SECONDS):
                await nc.flush()
            assert nc.ledger().confirmed == 1


async def test_a_discovered_address_is_checked_against_the_name(tmp_path: Path) -> None:
    """Over TLS: a bare IP address is taken for the name that the user gave, with the password of the user's URL.

    The certificate is for that name only, so an address that was checked against itself would be refused.
    """
    certificates = write_certificates(tmp_path, "localhost")
    accounts = 'authorization { user: me, password: "s3cr3t" }'
    async with cluster(2, f"{certificates.server_config()}\n{accounts}") as servers:
        url = f"tls://me:s3cr3t@localhost:{servers[0].port}"
        async with open_client(url, tls=certificates.context()) as nc:
            await know_each_other([nc], 2)
            servers[0].kill()
            await until(lambda: nc.stats().restored == 1)
            await nc.flush()
            assert server_of(nc, servers) is servers[1]
            assert f"tls://127.0.0.1:{servers[1].port}" in {server.url for server in nc.server_pool()}


async def test_a_password_goes_to_no_server_that_plaintext_told_of() -> None:
    """Without TLS the password of a URL is the given server's, and others refuse the client; the user may vouch."""
    accounts = 'authorization { user: me, password: "s3cr3t" }'
    for vouched in (False, True):
        async with cluster(2, accounts) as servers:
            url = servers[0].url.replace("nats://", "nats://me:s3cr3t@")
            async with open_client(url, trust_discovered=vouched) as nc:
                await know_each_other([nc], 2)
                servers[0].kill()
                if vouched:
                    await until(lambda nc=nc: nc.stats().restored == 1)  # type: ignore[misc]
                else:
                    await until(lambda nc=nc: nc.stats().reconnect_failures["auth"] > 0)  # type: ignore[misc]
                assert bool(nc.stats().reconnect_failures["auth"]) is not vouched
