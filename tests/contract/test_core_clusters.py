"""Two servers that have found each other: messages cross, clients learn of both and change over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from beamline_trio import Client, Disconnected, NoRespondersError, Reconnected, open_client
from beamline_trio.transport import parse_address

from ._server import LIMIT_SECONDS, ContractServer, RawLink, settle, take, until_event

# Interest travels from one server to the other in its own time.
POLL_SECONDS = 0.01


def _connect(server: ContractServer, **overrides: Any) -> Any:
    return open_client(server.url, dialer=server.dialer, **overrides)


async def _until_someone_listens(nc: Client, subject: str) -> None:
    with trio.fail_after(LIMIT_SECONDS):
        while True:
            try:
                await nc.request(subject)
            except NoRespondersError:
                await trio.sleep(POLL_SECONDS)
            else:
                return


async def test_each_server_tells_of_both(cluster: Sequence[ContractServer]) -> None:
    """INFO of both servers has the cluster's name and the addresses of both."""
    for server in cluster:
        async with _connect(server) as nc:
            raw = nc.server_info.raw
            assert raw["cluster"] == "c"
            assert len(nc.server_info.connect_urls) == 2
            assert len(set(nc.server_info.connect_urls)) == 2
            assert raw["server_name"] == ("a" if server is cluster[0] else "b")


async def test_messages_and_requests_cross(cluster: Sequence[ContractServer]) -> None:
    """A message published on one server reaches subscriptions on the other, once, with headers, and replies return."""
    async with (
        _connect(cluster[0]) as near,
        _connect(cluster[1]) as far,
        far.subscribe("a.*") as sub,
        trio.open_nursery() as nursery,
    ):

        async def answer(message: Any) -> bytes:
            return b"from afar"

        await nursery.start(far.serve, "ready", answer)
        await _until_someone_listens(near, "ready")
        for number in range(100):
            await near.publish("a.b", b"%d" % number, headers={"N": str(number)})
        messages = await take(sub, 100)
        assert [int(message.payload) for message in messages] == list(range(100))
        assert messages[7].headers["N"] == "7"
        assert (await near.request("ready")).payload == b"from afar"
        await settle(near, far)
        assert sub.pending_messages == 0
        nursery.cancel_scope.cancel()


async def test_nobody_there_is_told_over_both(cluster: Sequence[ContractServer]) -> None:
    """When the responder on the other server is gone, a request is answered with no responders again."""
    async with _connect(cluster[0]) as near:
        async with _connect(cluster[1]) as far, trio.open_nursery() as nursery:

            async def answer(message: Any) -> bytes:
                return b"yes"

            await nursery.start(far.serve, "s", answer)
            await _until_someone_listens(near, "s")
            assert (await near.request("s")).payload == b"yes"
            nursery.cancel_scope.cancel()
        told = False
        with trio.fail_after(LIMIT_SECONDS):
            while not told:
                # Silence: it went to the other server before that could tell that nobody is there any more.
                with trio.move_on_after(1.0):
                    try:
                        await near.request("s")
                    except NoRespondersError:
                        told = True
                await trio.sleep(POLL_SECONDS)
        with pytest.raises(NoRespondersError):
            await near.request("s")


async def test_a_client_changes_over_to_the_other(cluster: Sequence[ContractServer]) -> None:
    """A client of both goes to the other server when its own dies, with its subscriptions."""
    first, second = cluster
    async with (
        _connect(first, servers=(first.url, second.url)) as nc,
        _connect(second, servers=(second.url,)) as other,
        nc.subscribe("a") as sub,
        nc.events() as events,
    ):
        await sub.confirmed()
        mine = nc.server_info.raw["server_name"]
        (first if mine == "a" else second).kill()
        await until_event(events, Disconnected)
        await until_event(events, Reconnected)
        assert {mine, nc.server_info.raw["server_name"]} == {"a", "b"}
        await nc.publish("a", b"x", confirm=True)
        assert [message.payload for message in await take(sub, 1)] == [b"x"]
        if mine == "a":
            await other.publish("a", b"y")
            assert [message.payload for message in await take(sub, 1)] == [b"y"]


async def test_who_has_gone_is_told_by_another_info(cluster: Sequence[ContractServer]) -> None:
    """When one server dies the other tells its clients, by INFO with its own address alone; and when it is back."""
    async with cluster[0].dialer.open(parse_address(cluster[0].url)) as stream:
        link = RawLink(stream)
        await link.handshake()
        assert [len(info["connect_urls"]) for info in link.infos] == [2, 2]
        cluster[1].kill()
        await link.receive_info()
        assert len(link.infos[-1]["connect_urls"]) == 1
        assert "connect_info" not in link.infos[-1]
        await cluster[1].start()
        await link.receive_info()
        assert sorted(link.infos[-1]["connect_urls"]) == sorted(link.infos[0]["connect_urls"])


async def test_a_group_on_two_servers_shares(cluster: Sequence[ContractServer]) -> None:
    """A queue group gets each message once, wherever its members are, and each member its share.

    With two degrees of freedom, fair draws exceed the bound once in a million runs.
    """
    count, bound = 1_500, 27.6
    async with (
        _connect(cluster[0]) as near,
        _connect(cluster[1]) as far,
        near.subscribe("jobs", queue_group="g") as one,
        near.subscribe("jobs", queue_group="g") as two,
        far.subscribe("jobs", queue_group="g") as three,
        trio.open_nursery() as nursery,
    ):

        async def answer(message: Any) -> bytes:
            return b"yes"

        await nursery.start(far.serve, "ready", answer)
        await _until_someone_listens(near, "ready")  # what was subscribed before is known too
        for number in range(count):
            await near.publish("jobs", b"%d" % number)
        members = (one, two, three)
        with trio.fail_after(LIMIT_SECONDS):
            while sum(member.delivered for member in members) < count:
                await settle(near, far)
        await trio.sleep(POLL_SECONDS)
        shares = [member.delivered for member in members]
        assert sum(shares) == count
        expected = count / len(shares)
        assert sum((share - expected) ** 2 / expected for share in shares) < bound, shares
        await one.unsubscribe()
        await two.unsubscribe()
        await settle(near)
        await near.publish("jobs", b"now you")
        assert [message.payload for message in await take(three, shares[2] + 1)][-1] == b"now you"
        nursery.cancel_scope.cancel()
