"""Clusters and superclusters of real servers: what is opened is one, faults of a node show, nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from beamline_trio import Client, JetStream, open_client
from beamline_trio.jetstream import ConsumerConfig, Placement, StreamConfig
from beamline_trio.server_process import (
    ClusterOptions,
    MonitoringError,
    Node,
    RealCluster,
    ServerStartError,
    open_cluster,
    open_server,
    open_supercluster,
)
from beamline_trio.server_process._monitoring import _document, ask

from ._waiting import LIMIT_SECONDS, eventually


async def three_replicas(nc: Client, name: str, **more: object) -> JetStream:
    """A stream with three replicas; the cluster may still be choosing where to put it."""
    js = JetStream(nc)
    await js.create_stream(StreamConfig(name=name, subjects=(f"{name}.>",), num_replicas=3, **more))  # type: ignore[arg-type]
    return js


async def test_three_servers_are_one_cluster_with_replicas() -> None:
    """Each has its name, all are healthy under one meta leader, and a stream of three replicas has one leader."""
    async with open_cluster("east") as cluster, open_client(*cluster.urls) as nc:
        assert [node.name for node in cluster.nodes] == ["east-1", "east-2", "east-3"]
        assert all([await node.healthy() for node in cluster.nodes])
        leader = await cluster.meta_leader()
        assert leader is not None
        assert {(await node.meta())["leader"] for node in cluster.nodes} == {leader.name}
        js = await three_replicas(nc, "ORDERS")
        await js.create_consumer("ORDERS", ConsumerConfig(durable_name="worker"))
        ack = await js.publish("ORDERS.new", b"1")
        assert ack.sequence == 1
        assert (await eventually(lambda: cluster.leader("ORDERS"))) in cluster.nodes
        assert (await eventually(lambda: cluster.leader("ORDERS", "worker"))) in cluster.nodes
        assert await cluster.leader("OTHER") is None
        assert await cluster.leader("ORDERS", "nobody") is None
        assert len(nc.server_pool()) == 3


async def test_writes_are_synced_unless_told_otherwise() -> None:
    """The promise not to lose what is acknowledged rests on this setting, so a server is asked for it."""
    async with open_cluster(servers=2) as cluster:
        assert (await cluster.nodes[0].ask("/varz"))["jetstream"]["config"]["sync_always"] is True
    async with open_cluster(servers=2, sync_always=False) as cluster:
        assert "sync_always" not in (await cluster.nodes[0].ask("/varz"))["jetstream"]["config"]


async def test_the_leader_of_a_stream_is_killed() -> None:
    """Another node leads then, what was acknowledged is there, and the old leader comes back as one that is healthy."""
    async with open_cluster("east") as cluster, open_client(*cluster.urls) as nc:
        js = await three_replicas(nc, "ORDERS")
        await js.publish("ORDERS.new", b"1")
        old = await eventually(lambda: cluster.leader("ORDERS"))
        old.server.kill()
        await old.server.wait_exit()
        with pytest.raises(MonitoringError, match="is the server running"):
            await old.ask("/varz")
        assert not await old.healthy()

        async def another() -> Node | None:
            found = await cluster.leader("ORDERS")
            return found if found is not old else None

        new = await eventually(another)
        assert new is not old
        await old.server.start()
        with trio.fail_after(LIMIT_SECONDS):
            await cluster.wait_healthy()
            await cluster.wait_healthy([old.name])
        assert (await js.stream_info("ORDERS")).state.messages == 1


async def test_a_stopped_node_does_not_answer_and_does_not_hinder_the_others() -> None:
    """Asking it ends with an error within its limit; who leads is still found."""
    async with open_cluster("east") as cluster:
        stopped = cluster["east-2"]
        stopped.server.pause()
        with pytest.raises(MonitoringError, match="is it stopped"):
            await stopped.ask("/varz")
        led = await eventually(cluster.meta_leader)
        assert led is not stopped
        stopped.server.resume()
        with trio.fail_after(LIMIT_SECONDS):
            await cluster.wait_healthy()


async def test_regions_are_joined_by_gateways() -> None:
    """What is published in one region arrives in the other, and a stream is where its placement says."""
    async with (
        open_supercluster({"east": 3, "west": 3}) as world,
        open_client(*world.regions["east"].urls) as east,
        open_client(*world.regions["west"].urls) as west,
    ):
        assert [node.name for node in world.nodes] == [
            f"{region}-{n}" for region in ("east", "west") for n in (1, 2, 3)
        ]
        leader = await eventually(world.meta_leader)
        assert world[leader.name] is leader
        async with west.subscribe("news") as news:
            await news.confirmed()
            await east.publish("news", b"x", confirm=True)
            with trio.fail_after(LIMIT_SECONDS):
                assert (await news.receive()).payload == b"x"
        js = await three_replicas(west, "AT_HOME", placement=Placement(cluster="east"))
        await js.publish("AT_HOME.x", b"1")
        home = await eventually(lambda: world.regions["east"].leader("AT_HOME"))
        assert home.cluster == "east"
        assert await world.regions["west"].leader("AT_HOME") is None
        with trio.fail_after(LIMIT_SECONDS):
            await world.wait_healthy()


async def test_the_system_account_answers_its_user_only() -> None:
    """Everybody may use the cluster without a password, its health is told to the system user."""
    async with open_cluster(servers=2) as cluster:
        url = cluster.urls[0].replace("nats://", "nats://sys:sys@")
        async with open_client(url) as system:
            assert b'"server"' in (await system.request("$SYS.REQ.SERVER.PING", b"")).payload
    async with open_cluster(servers=2, system_user=None) as cluster, open_client(*cluster.urls) as nc:
        await nc.flush()


async def test_a_cluster_that_cannot_form_says_what_it_lacks() -> None:
    """Not ready within the limit: an error with the reason, and nothing is left running."""
    with pytest.raises(ServerStartError, match=r"after 0.01 s \(ready_timeout_seconds\): "):
        async with open_cluster("bad", ready_timeout_seconds=0.01):
            raise AssertionError


@pytest.mark.parametrize(
    "name, servers, message",
    [
        ("", 3, "1 to 32 letters"),
        ("a b", 3, "1 to 32 letters"),
        ("a", 1, "must be 2 to 9; one server alone"),
        ("a", 10, "must be 2 to 9"),
    ],
)
async def test_bad_names_and_numbers_start_nothing(name: str, servers: int, message: str) -> None:
    """They are errors before anything runs, with the value and the bound."""
    with pytest.raises(ValueError, match=message):
        async with open_cluster(name, servers):
            raise AssertionError


async def test_a_supercluster_of_nothing_is_refused() -> None:
    """At least one cluster; a name of a node that is none is an error that lists them."""
    with pytest.raises(ValueError, match="at least one cluster"):
        async with open_supercluster({}):
            raise AssertionError
    async with open_cluster("a", 2, jetstream=False) as cluster:
        assert await cluster.meta_leader() is None
        assert await cluster.leader("X") is None
        with pytest.raises(KeyError, match="the nodes are a-1"):
            cluster["b-1"]
    with pytest.raises(ValueError, match="start_timeout_seconds"):
        ClusterOptions(start_timeout_seconds=0)


async def test_cancelled_while_opening_or_while_asking() -> None:
    """A cancelled opening leaves no process; a cancelled question leaves its node usable."""
    with trio.move_on_after(0.1) as scope:
        async with open_cluster("a"):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    async with open_cluster("a", 2) as cluster:
        node = cluster.nodes[0]
        for question in (lambda: node.ask("/varz"), node.meta, node.healthy, cluster.meta_leader, cluster.wait_healthy):
            with trio.testing.assert_checkpoints():
                await question()
            with trio.CancelScope() as scope:
                scope.cancel()
                await question()
            assert scope.cancelled_caught
        node.server.pause()
        with trio.move_on_after(0.05) as scope:
            await cluster.wait_healthy()
        assert scope.cancelled_caught
        node.server.resume()
        with trio.fail_after(LIMIT_SECONDS):
            await cluster.wait_healthy()


async def test_logs_are_kept_where_a_directory_is_given(tmp_path: Path) -> None:
    """One log a server, by its name."""
    async with open_cluster("a", 2, jetstream=False, directory=tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.log", "a-2.log"]
    assert "Server is ready" in (tmp_path / "a-2.log").read_text()


async def test_a_port_that_is_no_monitoring_endpoint() -> None:
    """What answers with something else than JSON is named, with what it said."""
    async with open_server() as server:
        with pytest.raises(MonitoringError, match="no JSON object"):
            await ask("127.0.0.1", server.port, "/varz")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"1" * 5000, b"[" * 100_000, b'{"a":' * 100_000])
def test_an_answer_that_is_no_document(body: bytes) -> None:
    """Whatever it is, it is told as what a monitoring endpoint does not say; so who waits for a server waits on."""
    with pytest.raises(MonitoringError, match="no JSON object"):
        _document(b"HTTP/1.0 200 OK\r\n\r\n" + body, "http://127.0.0.1:1/varz")


def test_a_cluster_is_its_nodes() -> None:
    """A cluster without any has no addresses."""
    assert RealCluster("a", []).urls == []
