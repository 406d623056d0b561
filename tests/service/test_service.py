"""`$SRV` discovery (ADR-32): what is told of a service, to whom, and until when; on the simulated wire."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from beamline_trio import Client, ClientClosedError, Router, open_client
from beamline_trio.operation import service_of
from beamline_trio.service import Endpoint, EndpointStatistics, Service, ServiceError, serve_discovery
from beamline_trio.simulation import ServerConfig, World

SERVICE = Service(
    name="prices",
    version="1.2.3-rc.1+7",
    description="What things cost.",
    metadata={"team": "shop"},
    endpoints=(
        Endpoint(
            name="get",
            subject="price.get",
            queue_group="q",
            metadata={"format": "json"},
            statistics=lambda: EndpointStatistics(
                requests=4, errors=1, seconds=2.0, last_error="no such price", data={"a": 1}
            ),
        ),
        Endpoint(name="plain", subject="price.*"),
    ),
)


@asynccontextmanager
async def clients(world: World, config: ServerConfig | None = None) -> AsyncGenerator[tuple[Client, Client]]:
    server = await world.start_server("nats", config if config is not None else ServerConfig())
    async with (
        open_client(server.url, dialer=world.dialer("app")) as one,
        open_client(server.url, dialer=world.dialer("tool")) as other,
    ):
        yield one, other


async def ask(nc: Client, subject: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await nc.request(subject)).payload)
    return answer


async def test_what_is_told(nats_world: World) -> None:
    """Each verb reaches it by everybody's, its name's and its own subject, with the fields of ADR-32."""
    async with clients(nats_world) as (app, tool), trio.open_nursery() as nursery:
        identifier = await nursery.start(serve_discovery, app, SERVICE)
        who = {"name": "prices", "id": identifier, "version": "1.2.3-rc.1+7", "metadata": {"team": "shop"}}
        for end in ("", ".prices", f".prices.{identifier}"):
            assert await ask(tool, f"$SRV.PING{end}") == {"type": "io.nats.micro.v1.ping_response", **who}
            assert await ask(tool, f"$SRV.INFO{end}") == {
                "type": "io.nats.micro.v1.info_response",
                **who,
                "description": "What things cost.",
                "endpoints": [
                    {"name": "get", "subject": "price.get", "queue_group": "q", "metadata": {"format": "json"}},
                    {"name": "plain", "subject": "price.*", "queue_group": "", "metadata": {}},
                ],
            }
            stats = await ask(tool, f"$SRV.STATS{end}")
            assert stats.pop("started").endswith("Z")
            assert stats == {
                "type": "io.nats.micro.v1.stats_response",
                **who,
                "endpoints": [
                    {
                        "name": "get",
                        "subject": "price.get",
                        "queue_group": "q",
                        "num_requests": 4,
                        "num_errors": 1,
                        "last_error": "no such price",
                        "processing_time": 2_000_000_000,
                        "average_processing_time": 500_000_000,
                        "data": {"a": 1},
                    },
                    {
                        "name": "plain",
                        "subject": "price.*",
                        "queue_group": "",
                        "num_requests": 0,
                        "num_errors": 0,
                        "last_error": "",
                        "processing_time": 0,
                        "average_processing_time": 0,
                    },
                ],
            }
        nursery.cancel_scope.cancel()


async def test_every_instance_answers(nats_world: World) -> None:
    """Discovery finds all, each under an identifier of its own, also two on one client."""
    async with clients(nats_world) as (app, tool), trio.open_nursery() as nursery:
        identifiers = {await nursery.start(serve_discovery, client, SERVICE) for client in (app, app, tool)}
        async with tool.request_many("$SRV.PING.prices", max_replies=3) as replies:
            found = {json.loads(reply.payload)["id"] async for reply in replies}
        assert found == identifiers
        assert len(found) == 3
        nursery.cancel_scope.cancel()


async def test_it_ends_with_its_client_or_its_task(nats_world: World) -> None:
    """A drain ends it cleanly; cancelled it leaves no subscription; a client that is closed under it is told."""
    async with clients(nats_world) as (app, tool):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_discovery, app, SERVICE)
            assert len(app.services) == 9
            nursery.cancel_scope.cancel()
        assert not app.services
        with trio.CancelScope() as scope:
            scope.cancel()
            await serve_discovery(app, SERVICE)
        assert scope.cancelled_caught
        assert not app.services
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_discovery, app, SERVICE)
            await app.drain()
        async with trio.open_nursery() as nursery:

            async def told() -> None:
                with pytest.raises(ClientClosedError):
                    await serve_discovery(tool, SERVICE)

            nursery.start_soon(told)
            await trio.sleep(1)
            tool.connection.close()


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ä", "a" * 256, None])
def test_names(name: Any) -> None:
    """ADR-32 takes letters, digits, - and _, since the name is a token of subjects."""
    with pytest.raises(ServiceError, match="ADR-32"):
        Service(name=name, version="1.0.0")
    with pytest.raises(ServiceError, match="ADR-32"):
        Endpoint(name=name, subject="a")


@pytest.mark.parametrize("version", ["", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", "1.2.3\n", None])
def test_versions(version: Any) -> None:
    """A version is a semantic one."""
    with pytest.raises(ServiceError, match="semantic version"):
        Service(name="a", version=version)
    for good in ("0.0.0", "1.2.3", "1.2.3-alpha.1", "1.2.3+build.7", "10.20.30-0a"):
        Service(name="a", version=good)


async def test_a_router_is_a_service(nats_world: World) -> None:
    """Its core routes are endpoints and count; its routes from streams are in the metadata."""
    router = Router("my prices", version="2.0.0")

    @router.route("price.get", queue_group="q")
    async def get(payload: bytes) -> bytes:
        if payload:
            raise LookupError("no such price")
        return b"42"

    @router.route("orders.*", stream="ORDERS", durable="d", dead_letter="dlq")
    async def bill(payload: bytes) -> None: ...

    assert service_of(router).metadata == {"route.bill": "orders.* of the stream ORDERS, durable d"}
    del router.routes["bill"]
    async with clients(nats_world) as (app, tool), trio.open_nursery() as nursery:
        await nursery.start(serve_discovery, app, service_of(router))
        await nursery.start(router.run, app)
        for payload in (b"", b"x", b""):
            await tool.request("price.get", payload)
        stats = await ask(tool, "$SRV.STATS.my-prices")
        (endpoint,) = stats["endpoints"]
        assert (endpoint["name"], endpoint["num_requests"], endpoint["num_errors"]) == ("get", 3, 1)
        assert endpoint["data"] == {"outcomes": {"ok": 2, "error": 1}}
        await app.drain()
    with pytest.raises(ServiceError):
        service_of(Router("r", version="latest"))
