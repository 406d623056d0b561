"""The order in which servers are tried: as given, each once, what failed last goes last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection._pool import ServerPool
from beamline_trio.protocol import Credentials
from beamline_trio.transport import AddressError

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
