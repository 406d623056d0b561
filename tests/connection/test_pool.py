"""The servers a client knows: their order, their books, and which of those that a cluster tells of are kept."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection._pool import ServerPool
from beamline_trio.protocol import AuthorizationError, Credentials
from beamline_trio.transport import AddressError, ServerAddress, parse_address

URLS = ["nats://a", "nats://b", "nats://c", "nats://d"]


def order(pool: ServerPool) -> list[str]:
    return [server.address.host for server in pool.one_pass()]


def test_servers_are_tried_in_the_order_given() -> None:
    """A pass has every server once, in order, and asking changes nothing."""
    pool = ServerPool(URLS)
    assert len(pool) == 4
    assert order(pool) == order(pool) == ["a", "b", "c", "d"]


def test_the_same_server_twice_is_one() -> None:
    """URLs of one scheme, host and port are one server, in its first place; other ports and schemes are others."""
    pool = ServerPool(["nats://a", "a:4222", "nats://b", "NATS://A:4222/", "tls://a", "nats://a:4223"])
    assert [str(server.address) for server in pool.one_pass()] == [
        "nats://a:4222",
        "nats://b:4222",
        "tls://a:4222",
        "nats://a:4223",
    ]


def test_credentials_stay_with_their_server() -> None:
    """Each server keeps the credentials of its own URL."""
    pool = ServerPool(["nats://t1@a", "nats://u:p@b", "nats://c"])
    assert [server.address.credentials for server in pool.one_pass()] == [
        Credentials(token="t1"),
        Credentials(user="u", password="p"),
        Credentials(),
    ]


def test_a_failure_goes_last_and_is_booked() -> None:
    """A server that failed is tried after all others; its failures add up until it succeeds, where it stays."""
    pool = ServerPool(URLS)
    first = pool.one_pass()[0]
    pool.failed(first, "refused")
    assert order(pool) == ["b", "c", "d", "a"]
    assert (first.failures, first.last_error) == (1, "refused")
    pool.failed(first, "timeout")
    assert (first.failures, first.last_error) == (2, "timeout")
    pool.succeeded(first)
    assert (first.failures, first.last_error) == (0, "")
    assert order(pool) == ["b", "c", "d", "a"]


def test_a_pass_is_not_disturbed_by_its_failures() -> None:
    """Going through a pass in which every server fails meets each one once, and the next pass has the same order."""
    pool = ServerPool(URLS)
    met = []
    for server in pool.one_pass():
        met.append(server.address.host)
        pool.failed(server, "refused")
    assert met == ["a", "b", "c", "d"]
    assert order(pool) == met


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_the_pool_follows_its_model(turns: list[tuple[int, bool]]) -> None:
    """Over any failures and successes: no server is lost or doubled, the least recently failed comes first."""
    pool = ServerPool(URLS)
    by_host = {server.address.host: server for server in pool.one_pass()}
    model = ["a", "b", "c", "d"]
    failures = dict.fromkeys(model, 0)
    for index, success in turns:
        host = "abcd"[index]
        if success:
            pool.succeeded(by_host[host])
            failures[host] = 0
        else:
            pool.failed(by_host[host], f"error {host}")
            failures[host] += 1
            model.remove(host)
            model.append(host)
        assert order(pool) == model
        assert {name: server.failures for name, server in by_host.items()} == failures


def test_a_url_that_cannot_be_used_is_refused_at_once() -> None:
    """A bad URL among good ones is an error when the pool is made, not when it is that server's turn."""
    with pytest.raises(AddressError, match="http"):
        ServerPool(["nats://a", "http://b"])


def test_no_secret_is_shown() -> None:
    """The repr of a server's book has no password and no token."""
    for server in ServerPool(["nats://alice:s3cr3t@a", "nats://s3cr3t@b"]).one_pass():
        assert "s3cr3t" not in repr(server)


# ---------------------------------------------------------------------------------------------------- by chance


def test_the_order_is_drawn_by_the_clients_chance() -> None:
    """Every server is first as often as any other, over many clients; one seed gives one order, and it stays."""
    first = Counter(order(ServerPool(URLS, random.Random(seed)))[0] for seed in range(400))
    assert set(first) == {"a", "b", "c", "d"}
    assert min(first.values()) > 60
    pool = ServerPool(URLS, random.Random(1))
    assert order(pool) == order(pool) == order(ServerPool(URLS, random.Random(1)))


# ---------------------------------------------------------------------------------------------------- discovery


def told(*hosts: str) -> list[ServerAddress]:
    return [parse_address(host) for host in hosts]


def test_what_a_cluster_tells_replaces_what_it_told_before() -> None:
    """Implicit servers that are no longer told go; explicit ones and the current one stay; books are kept."""
    pool = ServerPool(["nats://a"])
    assert pool.discover(told("b", "c")) == told("b", "c")
    b, c = pool.one_pass()[1:]
    pool.failed(c, "refused")
    pool.succeeded(b)
    assert pool.discover(told("c", "d")) == told("d")
    assert sorted(order(pool)) == ["a", "b", "c", "d"]
    assert c.failures == 1
    pool.succeeded(pool.one_pass()[0])
    pool.discover(told("d"))
    assert sorted(order(pool)) == ["a", "d"]


def test_an_empty_list_prunes_nothing() -> None:
    """An INFO without connect_urls says nothing about the cluster."""
    pool = ServerPool(["nats://a"])
    pool.discover(told("b"))
    assert pool.discover([]) == []
    assert order(pool) == ["a", "b"]


def test_an_explicit_server_that_is_told_is_not_new() -> None:
    """A place is a host and a port: told again it is the same server, with its own scheme and credentials."""
    pool = ServerPool(["nats://u:p@a"])
    assert pool.discover([parse_address("tls://a:4222")]) == []
    assert [server.address for server in pool.one_pass()] == [parse_address("nats://u:p@a")]


def test_discovered_servers_are_spread_by_chance() -> None:
    """A client that keeps no order puts a new server anywhere: not every client of a cluster goes to the same one."""
    first = Counter[str]()
    for seed in range(200):
        pool = ServerPool(["nats://a"], random.Random(seed))
        pool.discover(told("b", "c"))
        first[order(pool)[0]] += 1
    assert set(first) == {"a", "b", "c"}


@given(st.lists(st.one_of(st.sets(st.sampled_from("abcdefg")), st.sampled_from("abcdefg")), max_size=20))
def test_discovery_follows_its_model(turns: list[set[str] | str]) -> None:
    """Over any lists and links: explicit servers always, implicit ones as last told, and the current one."""
    pool = ServerPool(["nats://a", "nats://b"], random.Random(1))
    implicit: set[str] = set()
    current = ""
    for turn in turns:
        if isinstance(turn, str):
            server = pool.find(f"nats://{turn}:4222")
            if server is not None:
                pool.succeeded(server)
                current = turn
            continue
        new = {address.host for address in pool.discover(told(*sorted(turn)))}
        if turn:
            assert new == turn - implicit - {"a", "b"}
            implicit = (turn | ({current} & implicit)) - {"a", "b"}
        else:
            assert not new
        assert sorted(order(pool)) == sorted({"a", "b"} | implicit)


# --------------------------------------------------------------------------------------------------------- books


def test_the_book_of_a_server() -> None:
    """Attempts, failures, time and errors are booked; a success clears them, and giving a link up adds nothing."""
    pool = ServerPool(["nats://user:pw@a", "nats://b"])
    server = pool.one_pass()[0]
    pool.attempted(server, 7.5)
    pool.failed(server, AuthorizationError("Authorization Violation", address="nats://a:4222"))
    seen = pool.snapshot()[1]
    assert (seen.url, seen.explicit, seen.current, seen.attempts, seen.failures, seen.last_attempt_at) == (
        "nats://a:4222",
        True,
        False,
        1,
        1,
        7.5,
    )
    assert seen.last_error == seen.last_auth_error != ""
    pool.failed(server, "closed")
    assert (server.last_error, bool(server.last_auth_error)) == ("closed", True)
    pool.succeeded(server, "ID")
    pool.left(server)
    assert (server.attempts, server.failures, server.last_error, server.last_auth_error) == (0, 0, "", "")
    assert "pw" not in repr(pool.snapshot())


def test_a_server_that_shuts_down_is_tried_behind_all_others() -> None:
    """Under all its addresses, whatever failed before; until it is reached again."""
    pool = ServerPool(["nats://a", "nats://b", "nats://c"])
    a, b, c = pool.one_pass()
    pool.succeeded(b, "TWIN")
    pool.succeeded(a, "TWIN")
    pool.shuts_down("TWIN")
    pool.failed(c, "refused")
    assert order(pool) == ["c", "a", "b"]
    pool.succeeded(b, "OTHER")
    assert [server.lame_duck for server in (a, b, c)] == [True, False, False]


def test_replacing_the_servers() -> None:
    """These and no others; a server that stays keeps its book; a bad URL changes nothing."""
    pool = ServerPool(["nats://a", "nats://b"])
    pool.discover(told("c"))
    b, c = pool.one_pass()[1:]
    pool.failed(b, "refused")
    with pytest.raises(AddressError):
        pool.replace(["nats://d", "http://e"])
    assert len(pool) == 3
    pool.replace(["nats://c", "nats://b", "nats://d"])
    assert order(pool) == ["c", "b", "d"]
    assert pool.one_pass()[:2] == [c, b]
    assert (b.failures, c.explicit) == (1, True)
    gone = ServerPool(["nats://a"]).one_pass()[0]
    pool.failed(gone, "refused")
    assert gone not in pool
    assert order(pool) == ["c", "b", "d"]
