"""What simulated servers tell of themselves: to the system account by messages, and by HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from beamline_trio import Client, NoRespondersError, Subscription, open_client
from beamline_trio.simulation import ServerConfig, SimulatedServer, User, World, run

from ._server_rig import CONNECT, Rig

CONFIG = ServerConfig(
    users=(User("app", "app"), User("sys", "sys", system=True)),
    no_auth_user="app",
    http_port=8222,
    jetstream_sync_interval_seconds=0.0,
)
REGIONS = {"east": 3, "west": 3}
STARTED = 9.0


@asynccontextmanager
async def client(world: World, server: SimulatedServer, user: str = "sys") -> AsyncGenerator[Client]:
    async with open_client(
        server.url,
        dialer=world.dialer(f"{user}-at-{server.name}"),
        user=user,
        password=user,
        ignore_discovered=True,
        operation_timeout_seconds=3.0,
    ) as nc:
        await nc.flush()
        yield nc


async def ask(nc: Client, what: str, body: object = None, seconds: float = 0.5) -> list[dict[str, Any]]:
    """All answers that come within some time."""
    answers: list[dict[str, Any]] = []
    inbox = f"answers.{what}.{trio.current_time()}"
    async with nc.subscribe(inbox) as sub:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = "" if what.startswith("ACCOUNT.") else "SERVER."
        await nc.publish(f"$SYS.REQ.{kind}{what}", data, reply=inbox)
        with trio.move_on_after(seconds):
            async for message in sub:
                answers.append(json.loads(message.payload))
    return answers


async def start(world: World, **config: Any) -> dict[str, list[SimulatedServer]]:
    regions = await world.add_regions(REGIONS, jetstream=True, config=CONFIG)
    await trio.sleep(STARTED)
    return regions


def document(server: SimulatedServer, target: str) -> Any:
    status, body = server.monitoring(target)
    assert status == 200, body
    return json.loads(body)


async def pending(sub: Subscription) -> list[str]:
    found = []
    with trio.move_on_after(0.5):
        async for message in sub:
            found.append(message.subject)
    return found


def test_the_two_accounts_do_not_see_each_other() -> None:
    """Neither by a wildcard nor by a subject of the same name, on one server and across regions."""

    async def scenario(world: World) -> None:
        regions = await start(world)
        async with (
            client(world, regions["east"][0], "app") as app,
            client(world, regions["west"][1], "app") as far_app,
            client(world, regions["east"][0]) as system,
            client(world, regions["west"][1]) as far_system,
            app.subscribe(">") as apps,
            far_app.subscribe("x") as far_apps,
            system.subscribe(">") as systems,
            far_system.subscribe("x") as far_systems,
        ):
            for sub in (apps, far_apps, systems, far_systems):
                await sub.confirmed()
            await trio.sleep(0.2)
            await app.publish("x")
            await system.publish("x")
            assert [await pending(sub) for sub in (far_apps, far_systems, apps, systems)] == [["x"]] * 4
        async with client(world, regions["east"][0], "app") as app, client(world, regions["east"][0]) as system:
            with pytest.raises(NoRespondersError):
                await app.request("$SYS.REQ.SERVER.PING")
            with pytest.raises(NoRespondersError):
                await system.request("$JS.API.INFO")

    run(scenario, seed=1)


def test_a_system_user_is_told_that_it_is_one() -> None:
    """In the INFO behind the first PONG."""
    rig = Rig(CONFIG)
    link = rig.dial()
    link.talk(CONNECT.replace(b"{", b'{"user":"sys","pass":"sys",', 1))
    assert b'"remote_account":"$SYS","acc_is_sys":true,' in link.talk(b"PING\r\n")


@pytest.mark.parametrize("seed", range(3))
def test_all_servers_of_all_regions_answer_a_ping(seed: int) -> None:
    """Each once, with who it is; at once, though the inbox is new everywhere."""

    async def scenario(world: World) -> None:
        regions = await start(world)
        async with client(world, regions["west"][2]) as nc:
            for what in (
                "PING",
                "PING.STATSZ",
                "PING.VARZ",
                "PING.HEALTHZ",
                "PING.JSZ",
                "PING.ROUTEZ",
                "PING.GATEWAYZ",
            ):
                answers = await ask(nc, what)
                named = sorted((one["server"]["cluster"], one["server"]["name"]) for one in answers)
                assert named == sorted((name, one.name) for name, servers in regions.items() for one in servers)
            assert sorted(one["name"] for one in await ask(nc, "PING.IDZ")) == sorted(name for _, name in named)

    run(scenario, seed=seed)


def test_a_request_may_name_who_is_to_answer() -> None:
    """By a part of the name, exactly, by cluster, or by the server's id in the subject; all refuse nonsense."""

    async def scenario(world: World) -> None:
        regions = await start(world)
        async with client(world, regions["east"][0]) as nc:

            async def who(what: str, body: object = None) -> list[str]:
                return sorted(one["server"]["name"] for one in await ask(nc, what, body))

            assert await who("PING", {"server_name": "east"}) == ["east-1", "east-2", "east-3"]
            assert await who("PING", {"server_name": "east", "exact_match": True}) == []
            assert await who("PING", {"server_name": "east-2", "exact_match": True}) == ["east-2"]
            assert await who("PING.VARZ", {"cluster": "west"}) == ["west-1", "west-2", "west-3"]
            assert await who(f"{regions['west'][1].server_id}.VARZ") == ["west-2"]
            refused = await ask(nc, "PING.VARZ", b"xx")
            text = "invalid character 'x' looking for beginning of value"
            assert [one["error"] for one in refused] == [{"code": 400, "description": text}] * 6
            with pytest.raises(NoRespondersError):
                await nc.request("$SYS.REQ.SERVER.PING.XYZ")

    run(scenario, seed=1)


def test_what_a_ping_tells_of_the_cluster() -> None:
    """The leader of the meta group, the routes and gateways, and what there is; the leader tells how the others are."""

    async def scenario(world: World) -> None:
        regions = await start(world)
        everyone = [one for servers in regions.values() for one in servers]
        (leader,) = [one for one in everyone if one.leads("")]
        async with client(world, regions["east"][0]) as nc:
            for answer in await ask(nc, "PING"):
                stats, name = answer["statsz"], answer["server"]["name"]
                meta = stats["jetstream"]["meta"]
                assert (meta["name"], meta["leader"]) == ("_meta_", leader.name)
                assert (meta["cluster_size"], meta["quorum_needed"]) == (6, 4)
                assert ("replicas" in meta) is (name == leader.name)
                assert stats["active_servers"] == 6
                assert len(stats["routes"]) == 2
                assert len(stats["gateways"]) == 1
                assert stats["connections"] == (name == "east-1")
            victim = next(one for one in everyone if one not in (leader, regions["east"][0]))
            victim.stop()
            await trio.sleep(12)
            answers = {one["server"]["name"]: one["statsz"] for one in await ask(nc, "PING")}
            assert sorted(answers) == sorted(one.name for one in everyone if one is not victim)
            replicas = {one["name"]: one for one in answers[leader.name]["jetstream"]["meta"]["replicas"]}
            assert replicas[victim.name]["offline"]
            assert not replicas[victim.name]["current"]
            assert {one["active_servers"] for one in answers.values()} == {5}

    run(scenario, seed=1)


def test_the_documents_of_a_server() -> None:
    """What it is, who is there, what has gone through it, and its streams in detail."""

    async def scenario(world: World) -> None:
        regions = await start(world)
        server = regions["east"][0]
        async with client(world, server, "app") as nc:
            reply = await nc.request(
                "$JS.API.STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["s"], "num_replicas": 3}).encode()
            )
            assert "error" not in json.loads(reply.payload)
            for _ in range(3):
                await nc.request("s", b"abc")
            await trio.sleep(0.1)
            varz = document(server, "/varz")
            assert (varz["server_name"], varz["cluster"]["name"], varz["connections"]) == ("east-1", "east", 1)
            assert sorted(varz["cluster"]["urls"]) == ["east-1:6222", "east-2:6222", "east-3:6222"]
            assert (varz["in_client_msgs"], varz["routes"], varz["uptime"]) == (4, 2, "9s")
            assert varz["gateway"]["gateways"][1]["urls"] == ["west-1:7222", "west-2:7222", "west-3:7222"]
            routez = document(server, "/routez")
            ids = {route["remote_name"]: route["remote_id"] for route in routez["routes"]}
            assert ids == {one.name: one.server_id for one in regions["east"][1:]}
            gatewayz = document(server, "/gatewayz")
            assert gatewayz["outbound_gateways"]["west"]["connection"]["name"] in {
                one.server_id for one in regions["west"]
            }
            (connection,) = document(server, "/connz")["connections"]
            assert (connection["kind"], connection["in_msgs"], connection["subscriptions"]) == ("Client", 4, 1)
            jsz = document(server, "/jsz?acc=$G&streams=true&consumers=1&config=1")
            (stream,) = jsz["account_details"][0]["stream_detail"]
            assert (stream["name"], stream["state"]["messages"], stream["config"]["subjects"]) == ("S", 3, ["s"])
            assert stream["cluster"]["name"] == "east"
            assert (jsz["messages"], jsz["streams"], jsz["meta_cluster"]["cluster_size"]) == (3, 1, 6)
            assert "account_details" not in document(server, "/jsz")
        await trio.sleep(0.1)
        varz = document(server, "/varz")
        assert (varz["connections"], varz["total_connections"], varz["in_client_msgs"]) == (0, 1, 4)

    run(scenario, seed=1)


def test_accounts_are_told_apart() -> None:
    """Who is connected and what has gone through, also of those that are gone; and what the users have of JetStream."""

    async def scenario(world: World) -> None:
        regions = await start(world)
        async with client(world, regions["east"][0]) as nc:
            async with client(world, regions["east"][0], "app") as app, app.subscribe("x") as sub:
                await app.publish("x", b"abc")
                await sub.receive()
                (answer,) = await ask(nc, "ACCOUNT.PING.STATZ", {"server_name": "east-1"})
                users, system = answer["data"]["account_statz"]
                assert (users["acc"], users["conns"], users["num_subscriptions"]) == ("$G", 1, 1)
                assert (users["sent"]["msgs"], users["received"]["bytes"]) == (1, 3)
                assert (system["acc"], system["conns"]) == ("$SYS", 1)
            await trio.sleep(0.1)
            answers = await ask(nc, "ACCOUNT.PING.STATZ", {"accounts": ["$G"]})
            assert len(answers) == 6
            users = next(one for one in answers if one["server"]["name"] == "east-1")["data"]["account_statz"][0]
            assert (users["conns"], users["total_conns"], users["received"]["msgs"]) == (0, 1, 1)
            assert {one["data"]["name"] for one in await ask(nc, "ACCOUNT.$G.JSZ", {"streams": True})} == {"$G"}

    run(scenario, seed=1)


def test_a_server_without_anything_has_documents_too() -> None:
    """No cluster, no JetStream, nobody who is in the system account."""

    async def scenario(world: World) -> None:
        server = await world.start_server("a")
        assert document(server, "/varz")["cluster"] == {}
        assert document(server, "/routez")["num_routes"] == 0
        assert "name" not in document(server, "/gatewayz")
        assert document(server, "/jsz")["disabled"]
        assert document(server, "/healthz") == {"status": "ok"}
        alone = await world.start_server("b", ServerConfig(jetstream=True))
        assert "meta" not in document(alone, "/varz")["jetstream"]

    run(scenario, seed=1)


def test_health_says_that_there_is_no_leader() -> None:
    """Without more than half of the meta group it is not well; when they are back it is."""

    async def scenario(world: World) -> None:
        servers = await world.add_cluster("c", jetstream=True, config=CONFIG)
        assert servers[0].monitoring("/healthz")[0] == 503
        await trio.sleep(3)
        assert document(servers[0], "/healthz") == {"status": "ok"}
        fetch = world.fetcher("prometheus")
        for one in servers[1:]:
            one.kill()
        await trio.sleep(25)
        status, body = servers[0].monitoring("/healthz")
        assert (status, json.loads(body)["status"]) == (503, "unavailable")
        with pytest.raises(OSError, match="503 Service Unavailable"):
            await fetch("http://c-1:8222/healthz")
        for one in servers[1:]:
            one.start()
        await trio.sleep(15)
        assert document(servers[0], "/healthz") == {"status": "ok"}

    run(scenario, seed=1)


def test_documents_come_over_the_network() -> None:
    """And so not from a server that is dead, paused or cut off; what is no document is not found."""

    async def scenario(world: World) -> None:
        server = await world.start_server("a", ServerConfig(http_port=8222))
        fetch = world.fetcher("prometheus")
        assert json.loads(await fetch("http://a:8222/varz"))["server_name"] == server.server_id
        assert json.loads(await fetch("http://a:8222/connz?limit=3"))["limit"] == 3
        for url, text in (
            ("http://a:8222/nope", "404"),
            ("http://a:8222/VARZ", "404"),
            ("https://a:8222/varz", "not of the form"),
        ):
            with pytest.raises(OSError, match=text):
                await fetch(url)
        stream = await world.network.connect("prometheus", "a", 8222)
        await stream.send_all(b"DELETE /varz HTTP/1.1\r\n")
        await stream.send_all(b"\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 405 ")
        stream = await world.network.connect("prometheus", "a", 8222)
        await stream.send_all(b"x" * 10_000)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        with world.network.partition("prometheus", "a"), trio.move_on_after(5) as cut:
            await fetch("http://a:8222/varz")
        assert cut.cancelled_caught
        server.pause()
        with pytest.raises(TimeoutError, match="paused"):
            server.monitoring("/varz")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, "http://a:8222/varz")
            await trio.sleep(5)
            server.resume()
        waiting = await world.network.connect("prometheus", "a", 8222)
        await trio.sleep(0.1)
        server.kill()
        assert await waiting.receive_some() == b""
        with pytest.raises(ConnectionRefusedError):
            await fetch("http://a:8222/varz")
        with pytest.raises(ConnectionRefusedError, match="does not run"):
            server.monitoring("/varz")
        server.start()
        assert json.loads(await fetch("http://a:8222/healthz")) == {"status": "ok"}

    run(scenario, seed=1)
