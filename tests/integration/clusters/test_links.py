"""Links between servers that break: through proxies, and through network namespaces where root allows.

The same laws for both, since a test may take either.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from beamline_trio import Client, JetStream, Subscription, open_client
from beamline_trio.jetstream import StreamConfig
from beamline_trio.server_process import (
    HOST,
    BreakableLinks,
    NamespaceError,
    NamespaceLinks,
    Node,
    RealCluster,
    _namespaces,
    open_cluster,
    open_namespace_links,
    open_proxied_links,
    open_supercluster,
    why_no_namespaces,
)

from ._waiting import LIMIT_SECONDS, eventually

KINDS = ("proxies", "namespaces")


@asynccontextmanager
async def open_links(kind: str) -> AsyncGenerator[BreakableLinks]:
    """Links of a kind; the test is skipped where they cannot be had."""
    if kind == "proxies":
        async with open_proxied_links() as proxied:
            yield proxied
    else:
        async with open_namespaces() as namespaces:
            yield namespaces


@asynccontextmanager
async def open_namespaces() -> AsyncGenerator[NamespaceLinks]:
    """The same for what only namespaces can do."""
    if (reason := await why_no_namespaces()) is not None:
        pytest.skip(reason)
    async with open_namespace_links() as namespaces:
        yield namespaces


def other_than(cluster: RealCluster, node: Node) -> list[str]:
    return [other.name for other in cluster.nodes if other is not node]


async def publish_until_received(nc: Client, sub: Subscription, payload: bytes) -> None:
    """Again and again, since a server drops what comes before it knows of the interest; then nothing is left of it."""
    got = b""
    with trio.fail_after(LIMIT_SECONDS):
        while got != payload:
            await nc.publish("news", payload, confirm=True)
            with trio.move_on_after(0.2):
                got = (await sub.receive()).payload
    with trio.move_on_after(0.5):
        while True:
            assert (await sub.receive()).payload == payload


@pytest.mark.parametrize("kind", KINDS)
async def test_a_leader_that_is_cut_off_is_replaced_and_comes_back(kind: str) -> None:
    """The two that see each other elect another leader and take messages; the one that is cut off runs, and follows
    after the healing, with everything that was acknowledged meanwhile.
    """
    async with open_links(kind) as links, open_cluster("east", links=links) as cluster:
        async with open_client(*cluster.urls) as nc:
            config = StreamConfig(name="S", subjects=("s.>",), num_replicas=3)
            await JetStream(nc).create_stream(config)
        old = await eventually(lambda: cluster.leader("S"))
        rest = other_than(cluster, old)
        await links.cut([old.name], rest)

        async def another() -> Node | None:
            others = RealCluster("rest", [cluster[name] for name in rest])
            return await others.leader("S")

        new = await eventually(another)
        assert old.server.running
        async with open_client(new.url) as nc:
            with trio.fail_after(LIMIT_SECONDS):
                assert (await JetStream(nc).publish("s.x", b"1")).sequence == 1
        await links.heal()
        with trio.fail_after(LIMIT_SECONDS):
            await cluster.wait_healthy()

        async def caught_up() -> bool | None:
            report = await old.ask("/jsz?acc=$G&streams=true")
            details = report["account_details"][0]["stream_detail"]
            return True if details[0]["state"]["messages"] == 1 else None

        assert await eventually(caught_up)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_region_that_is_cut_off_works_alone(kind: str) -> None:
    """Nothing crosses the cut, both sides go on among themselves, and after the healing messages cross again."""
    async with (
        open_links(kind) as links,
        open_supercluster({"east": 3, "west": 3}, links=links, jetstream=False) as world,
        open_client(world.regions["east"].urls[0]) as east,
        open_client(world.regions["west"].urls[0]) as west,
        west.subscribe("news") as news,
    ):
        await news.confirmed()
        await publish_until_received(east, news, b"before")
        names = {region: [node.name for node in cluster.nodes] for region, cluster in world.regions.items()}
        await links.cut(names["east"], names["west"])
        await east.publish("news", b"during", confirm=True)
        await west.publish("news", b"at home", confirm=True)
        with trio.fail_after(LIMIT_SECONDS):
            assert (await news.receive()).payload == b"at home"
        with trio.move_on_after(1) as scope:
            await news.receive()
        assert scope.cancelled_caught
        await links.heal()
        await publish_until_received(east, news, b"after")


@pytest.mark.parametrize("kind", KINDS)
async def test_one_way_is_cut_alone(kind: str) -> None:
    """What the cut side sends is lost or held, what it is sent arrives."""
    async with (
        open_links(kind) as links,
        open_cluster("a", 2, links=links, jetstream=False) as cluster,
        open_client(cluster["a-1"].url) as first,
        open_client(cluster["a-2"].url) as second,
        first.subscribe("x") as at_first,
        second.subscribe("x") as at_second,
    ):
        await at_first.confirmed()
        await at_second.confirmed()
        await trio.sleep(0.3)  # for the interests to cross
        await links.cut(["a-1"], ["a-2"], one_way=True)
        await first.publish("x", b"1", confirm=True)
        await second.publish("x", b"2", confirm=True)
        with trio.fail_after(LIMIT_SECONDS):
            assert [(await at_first.receive()).payload for _ in range(2)] == [b"1", b"2"]
            assert (await at_second.receive()).payload == b"2"
        with trio.move_on_after(0.5) as scope:
            await at_second.receive()
        assert scope.cancelled_caught
        await links.heal()
        with trio.fail_after(LIMIT_SECONDS):
            assert (await at_second.receive()).payload == b"1"


async def test_a_pulled_cable() -> None:
    """A server whose link is down is silent to everybody, this process included, and there again when it is up."""
    async with open_namespaces() as links, open_cluster("a", 2, links=links, jetstream=False) as cluster:
        node = cluster["a-1"]
        await links.link_down("a-1")
        assert not await node.healthy()
        assert await cluster["a-2"].healthy()
        await links.link_up("a-1")
        with trio.fail_after(LIMIT_SECONDS):
            await cluster.wait_healthy()
        await links.cut([HOST], ["a-2"])
        assert not await cluster["a-2"].healthy()
        await links.heal()
        with trio.fail_after(LIMIT_SECONDS):
            await cluster.wait_healthy()


async def test_namespaces_are_removed_also_those_of_a_killed_process() -> None:
    """Nothing is left behind the block, and the next block removes what a process without a chance to has left."""
    async with open_namespaces() as links:
        await links.prepare(["a-1"])
        assert links.namespace("a-1") in _listed()
        dead = subprocess.Popen(["true"])
        dead.wait()
        subprocess.run(["ip", "netns", "add", f"bl{dead.pid}n0"], check=True)
        subprocess.run(["ip", "link", "add", f"bl{dead.pid}b", "type", "bridge"], check=True)
        with pytest.raises(NamespaceError, match="File exists; are you root"):
            await links.prepare(["a-1"])
    assert f"bl{dead.pid}n0" in _listed()
    async with open_namespaces():
        assert not [name for name in _listed() if name.startswith("bl")]
    assert f"bl{dead.pid}b" not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout


class Interrupted:
    """Cancels the work in its scope around one of the commands that `ip` is run with, counted from 1.

    Attributes:
        scope: of the work.
        commands: how many were run.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, when: str) -> None:
        self.scope = trio.CancelScope()
        self.commands = 0
        self._number, self._when = number, when
        self._ip = _namespaces._ip
        monkeypatch.setattr(_namespaces, "_ip", self._run)

    async def _run(self, *arguments: str) -> str:
        self.commands += 1
        if self.commands != self._number:
            return await self._ip(*arguments)
        if self._when == "before":
            self.scope.cancel()
        elif self._when == "during":
            self.scope.deadline = trio.current_time() + 0.001
        said = await self._ip(*arguments)
        self.scope.cancel()
        await trio.lowlevel.checkpoint()
        return said


MOMENTS = ("before", "during", "after")


@pytest.mark.parametrize("when", MOMENTS)
async def test_heal_mends_what_was_cancelled(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut, or a healing, that is cancelled around any of its commands: heal undoes what there is, and all of it."""
    async with open_namespaces() as links:
        await links.prepare(["a", "b", "c"])

        async def both(interrupts: int) -> tuple[int, int]:
            """Cut and heal with one of both interrupted; returns how many commands they ran."""
            commands: list[int] = []
            works = (partial(links.cut, ["a", HOST], ["b", "c"]), links.heal)
            for work in works:
                with monkeypatch.context() as patched:
                    interrupted = Interrupted(patched, interrupts - sum(commands), when)
                    with interrupted.scope:
                        await work()
                commands.append(interrupted.commands)
            await links.heal()
            assert _cuts(links, "a", "b", "c") == []
            return commands[0], commands[1]

        assert await both(0) == (8, 8)
        await links.cut(["a", HOST], ["b", "c"])
        assert len(_cuts(links, "a", "b", "c")) == 8
        await links.heal()
        for number in range(1, 17):
            await both(number)


@pytest.mark.parametrize("kind", KINDS)
async def test_messages_cross_after_a_cut_that_was_cancelled(kind: str) -> None:
    """Servers that were to be cut off from each other hear each other when it is healed."""
    async with (
        open_links(kind) as links,
        open_cluster("a", 2, links=links, jetstream=False) as cluster,
        open_client(cluster["a-1"].url) as first,
        open_client(cluster["a-2"].url) as second,
        second.subscribe("news") as news,
    ):
        await news.confirmed()
        with trio.CancelScope() as scope:
            scope.cancel()
            await links.cut(["a-1"], ["a-2"])
        assert scope.cancelled_caught
        await links.heal()
        await publish_until_received(first, news, b"1")


@pytest.mark.parametrize("when", MOMENTS)
async def test_nothing_is_left_of_what_was_cancelled(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entering the block, or making namespaces, that is cancelled around any command leaves none of what it made."""
    if (reason := await why_no_namespaces()) is not None:
        pytest.skip(reason)
    number, done = 0, False
    while not done:
        number += 1
        with monkeypatch.context() as patched:
            interrupted = Interrupted(patched, number, when)
            with interrupted.scope:
                async with open_namespace_links() as links:
                    await links.prepare(["a", "b"])
                    done = True
        assert _of_this_process() == []
    assert number > 12


@pytest.mark.parametrize("when", MOMENTS)
async def test_nothing_is_left_of_a_question_that_was_cancelled(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether namespaces can be made here is tried with a bridge, which goes whatever comes."""
    if (reason := await why_no_namespaces()) is not None:
        pytest.skip(reason)
    for number in range(1, 5):
        with monkeypatch.context() as patched:
            interrupted = Interrupted(patched, number, when)
            with interrupted.scope:
                await why_no_namespaces()
        assert _of_this_process() == []


async def test_one_block_a_process() -> None:
    """A second one is refused and told so, and takes nothing from the first."""
    async with open_namespaces() as links:
        await links.prepare(["a"])
        with pytest.raises(NamespaceError, match=r"has its namespaces already .*; leave that block first"):
            async with open_namespace_links():
                raise AssertionError
        assert "leave that block first" in str(await why_no_namespaces())
        assert links.namespace("a") in _listed()
        assert len(_of_this_process()) == 3


async def test_a_server_that_is_none_is_refused() -> None:
    """Before anything is cut; what is there can be cut and healed all the same."""
    async with open_namespaces() as links:
        with pytest.raises(NamespaceError, match="there is no server 'b', but none"):
            await links.cut(["b"], [HOST])
        await links.prepare(["a"])
        with pytest.raises(NamespaceError, match=r"there is no server 'b', but a; prepare\(\) it first"):
            await links.cut([HOST], ["a", "b"])
        assert _cuts(links, "a") == []
        await links.cut([HOST], ["a"])
        assert len(_cuts(links, "a")) == 2
        await links.heal()
        assert _cuts(links, "a") == []


def _cuts(links: NamespaceLinks, *names: str) -> list[str]:
    """The entries by which pairs are cut, in the tables of all sides."""
    tables = [[], *(["-n", str(links.namespace(name))] for name in names)]
    shown = [
        subprocess.run(["ip", *table, "neighbour", "show", "nud", "permanent"], capture_output=True, check=True)
        for table in tables
    ]
    found = [line for one in shown for line in one.stdout.decode().splitlines()]
    return [line for line in found if line.startswith(links.host(names[0]).rpartition(".")[0] + ".")]


def _of_this_process() -> list[str]:
    """What there is of namespaces and interfaces that this process has made."""
    mine = re.compile(rf"bl{os.getpid()}[bn]\d*")
    return [name for name in (*_listed(), *os.listdir("/sys/class/net")) if mine.fullmatch(name)]


def _listed() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in listed.stdout.splitlines()]


async def test_without_the_tools_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces cannot be made tests skip with the reason instead of passing; asking for them is an error."""
    monkeypatch.setenv("PATH", "")
    assert "there is no ip on PATH" in str(await why_no_namespaces())
    with pytest.raises(NamespaceError, match="cannot be executed"):
        async with open_namespace_links():
            raise AssertionError


async def test_without_the_rights_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for who is not root."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda tool: f"/usr/bin/{tool}")
    assert await why_no_namespaces() == "only root may make network namespaces"
