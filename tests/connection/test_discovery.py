"""What discovered servers inherit, and what they never learn."""

from __future__ import annotations

import json
import ssl
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from beamline_trio import Event, LameDuck, ServerDiscovered
from beamline_trio.connection._discovery import Origin, advertised
from beamline_trio.protocol import Credentials
from beamline_trio.transport import parse_address
from tests._memory import MemoryDialer, MemoryStream, ToyServer, lose_link, opened, wait_connected

SECRET = Credentials(user="alice", password="s3cr3t")


def test_tls_is_inherited() -> None:
    """Told inside TLS a server is only dialled with TLS, whatever the first URL said."""
    plain = Origin(parse_address("nats://a"))
    assert [str(one) for one in advertised(["b:1", "[::1]:2"], plain)] == ["nats://b:1", "nats://[::1]:2"]
    secure = Origin(parse_address("nats://a"), secure=True)
    assert [str(one) for one in advertised(["b:1"], secure)] == ["tls://b:1"]


def test_a_bare_address_is_checked_against_the_name_of_who_told_it() -> None:
    """An IP address has the name of its teller; a host name its own; under a bare IP address there is none to give."""
    origin = Origin(parse_address("tls://nats.example.com"), secure=True)
    by_address, by_name = advertised(["10.0.0.2:4222", "other.example.com:4222"], origin)
    assert (by_address.tls_name, by_name.tls_name) == ("nats.example.com", "")
    handed_on = advertised(["10.0.0.3:4222"], Origin(by_address, secure=True))
    assert handed_on[0].tls_name == "nats.example.com"
    assert advertised(["10.0.0.2:4222"], Origin(parse_address("tls://10.0.0.1"), secure=True))[0].tls_name == ""


def test_credentials_go_where_they_are_vouched_for() -> None:
    """The user information of a URL goes on with a vouched link and with no other."""
    address = attrs.evolve(parse_address("nats://a"), credentials=SECRET)
    assert advertised(["b:1"], Origin(address, secure=True))[0].credentials == Credentials()
    assert advertised(["b:1"], Origin(address, vouched=True))[0].credentials == SECRET
    assert advertised(["x:y@b:1"], Origin(address))[0].credentials == Credentials()


@given(st.lists(st.text(max_size=30)))
def test_nonsense_is_passed_over(urls: list[str]) -> None:
    """Whatever a server tells: what can be dialled is taken, and nothing raises."""
    for address in advertised([*urls, "good:4222"], Origin(parse_address("nats://a"))):
        assert address.host
        assert 1 <= address.port <= 65_535


async def test_the_client_uses_what_its_cluster_tells(autojump_clock: MockClock) -> None:
    """A server told by INFO is one event, and is where the client goes when the first one dies."""
    first, second = ToyServer("nats://a:4222", connect_urls=["a:4222"]), ToyServer("nats://b:4222")
    dialer = MemoryDialer(first, second)
    async with opened(first, dialer=dialer) as nc, nc.events() as events:
        first.send_info(connect_urls=["a:4222", "b:4222"])
        first.send_info(connect_urls=["b:4222", "a:4222"])
        assert await events.receive() == ServerDiscovered("nats://b:4222")
        await lose_link(first)
        await wait_connected(nc)
        assert str(nc.connection.address) == "nats://b:4222"
        seen: list[Event] = []
        with trio.move_on_after(1):
            while True:
                seen.append(await events.receive())
        assert not any(isinstance(event, ServerDiscovered) for event in seen)


async def test_discovered_servers_can_be_ignored(autojump_clock: MockClock) -> None:
    """ignore_discovered: only the servers that the user gave."""
    first, second = ToyServer("nats://a:4222", connect_urls=["b:4222"]), ToyServer("nats://b:4222")
    dialer = MemoryDialer(first, second)
    async with opened(first, dialer=dialer, ignore_discovered=True) as nc:
        await lose_link(first)
        await trio.sleep(10)
        assert {url for _, url in dialer.dialled} == {"nats://a:4222"}
        first.come_up()
        await wait_connected(nc)


def connects(server: ToyServer) -> dict[str, Any]:
    about: dict[str, Any] = server.link.about
    return about


@pytest.mark.parametrize("options, goes", [({}, False), ({"trust_discovered": True}, True)])
async def test_a_password_in_plain_text_stays_home(
    options: dict[str, bool], goes: bool, autojump_clock: MockClock
) -> None:
    """Without TLS a URL's password goes to no server that was discovered, unless the user vouches for the cluster."""
    first, second = ToyServer("nats://a:4222", connect_urls=["b:4222"]), ToyServer("nats://b:4222")
    dialer = MemoryDialer(first, second)
    async with opened(dialer=dialer, servers=("nats://alice:s3cr3t@a:4222",), **options) as nc:
        assert connects(first)["pass"] == "s3cr3t"
        await lose_link(first)
        await wait_connected(nc)
        assert ("pass" in connects(second)) is goes


@attrs.define
class Context:
    verify_mode: ssl.VerifyMode
    check_hostname: bool


@pytest.mark.parametrize(
    "context, goes",
    [
        (None, True),
        (Context(ssl.CERT_REQUIRED, True), True),
        (Context(ssl.CERT_REQUIRED, False), False),
        (Context(ssl.CERT_NONE, False), False),
    ],
)
async def test_a_password_goes_with_tls_that_checks(
    context: Context | None, goes: bool, autojump_clock: MockClock
) -> None:
    """TLS vouches for those it tells of if it checks whom it speaks with; they are dialled with TLS."""
    first = ToyServer("nats://a:4222", connect_urls=["10.0.0.2:4222"], tls_available=True)
    second = ToyServer("nats://10.0.0.2:4222", tls_available=True)

    class Dialer(MemoryDialer):
        async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
            secured = await super().start_tls(stream, host)
            if context is not None:
                assert isinstance(secured, MemoryStream)
                secured.context = context  # type: ignore[attr-defined]
            return secured

    dialer = Dialer(first, second)
    async with opened(dialer=dialer, servers=("tls://alice:s3cr3t@a:4222",)) as nc:
        first.send_info()
        await trio.testing.wait_all_tasks_blocked()
        await lose_link(first)
        await wait_connected(nc)
        assert dialer.dialled[-1][1] == "tls://10.0.0.2:4222"
        assert dialer.upgraded[-1] == "a"
        assert ("pass" in connects(second)) is goes


async def test_nothing_told_before_tls_steers_the_client(autojump_clock: MockClock) -> None:
    """Servers in the plaintext INFO in front of the TLS upgrade, and its lame duck, are a stranger's."""
    server = ToyServer("nats://a:4222", tls_required=True)
    server.greeting = server.info(connect_urls=["evil:4222"], ldm=True)
    async with opened(server, dialer=MemoryDialer(server)) as nc, nc.events() as events:
        assert [known.url for known in nc.connection.pool.snapshot()] == ["nats://a:4222"]
        server.send_info(connect_urls=["b:4222"], ldm=True)
        seen = [await events.receive(), await events.receive()]
        assert [type(event) for event in seen] == [LameDuck, ServerDiscovered]
        assert json.dumps([known.url for known in nc.connection.pool.snapshot()]).count("evil") == 0


async def test_a_pass_has_an_end_whatever_is_told(autojump_clock: MockClock) -> None:
    """Thousands of servers in each INFO: the pool has discovered_servers_max of the last, and the user's own."""
    first = ToyServer("nats://first:4222")
    async with opened(first, discovered_servers_max=100) as nc:
        for block in range(5):
            first.send_info(connect_urls=[f"10.{block}.{i // 250}.{i % 250}:4222" for i in range(5_000)])
            await trio.testing.wait_all_tasks_blocked()
            assert len(nc.server_pool()) == 101
        assert all(server.url.startswith("nats://10.4.0.") for server in nc.server_pool() if not server.explicit)
