"""The first connect: options and addresses that are refused, and a server that cannot be reached or is none."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from beamline_trio import (
    AddressError,
    AuthorizationError,
    ClientOptions,
    ConnectTimeoutError,
    HandshakeError,
    NoServersError,
    NotNatsServerError,
    OptionsError,
    ServerUnreachableError,
    TLSError,
    open_client,
)
from tests._memory import MemoryDialer, ToyServer, opened, tasks


async def test_unknown_options_are_type_errors(autojump_clock: MockClock) -> None:
    """An override that is no option is a TypeError that names it; a bad value an OptionsError with key and bound."""
    with pytest.raises(TypeError, match="reconnect_atempts"):
        open_client(reconnect_atempts=3)
    with pytest.raises(OptionsError, match=r"outbox_bytes_max.*0.*1"):
        open_client(outbox_bytes_max=0)
    with pytest.raises(AddressError, match="http"):
        async with open_client("http://host"):
            raise AssertionError


def failing(**attributes: Any) -> ToyServer:
    server = ToyServer(**attributes.pop("info", {}))
    for name, value in attributes.items():
        setattr(server, name, value)
    return server


FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "refused": ({"refuses": True}, {}, ServerUnreachableError, "refused"),
    "silent": ({"silent": True}, {}, ConnectTimeoutError, "5 s"),
    "hangs up": ({"hangs_up": True}, {}, HandshakeError, "closed"),
    "wrong password": ({"password": ("a", "b")}, {"user": "a", "password": "x"}, AuthorizationError, "Authorization"),
    "http": ({"greeting": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, {}, NotNatsServerError, "not a NATS server"),
    "ssh": ({"greeting": b"SSH-2.0-OpenSSH_9.6\r\n"}, {}, NotNatsServerError, "not a NATS server"),
    "binary": ({"greeting": b"\x16\x03\x01\x02\x00\x01\x00\r\n"}, {}, NotNatsServerError, "not a NATS server"),
    "bad INFO": ({"greeting": b"INFO {]\r\n"}, {}, NotNatsServerError, "not a NATS server"),
    "no TLS there": ({}, {"tls": True}, TLSError, "none"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_each_failure_to_connect_is_its_own_error(name: str, autojump_clock: MockClock) -> None:
    """The error is bare, has its own class, names the address; nothing is left, in no more than the connect timeout."""
    attributes, overrides, kind, text = FAILURES[name]
    server = failing(**attributes)
    dialer = MemoryDialer(server)
    before = tasks()
    with pytest.raises(kind, match=text) as caught:
        async with open_client(server.url, dialer=dialer, **overrides):
            raise AssertionError
    assert "nats://toy:4222" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert getattr(caught.value, "address") == "nats://toy:4222"  # noqa: B009  # two classes have it
    assert trio.current_time() <= 5.0001
    assert tasks() == before
    assert dialer.open_streams == 0
    assert len(dialer.dialled) == 1


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_no_credentials_leave_where_tls_was_wanted(scheme: str, autojump_clock: MockClock) -> None:
    """TLS asked for by URL or option, and not offered: not a byte of CONNECT leaves. A failed handshake: likewise."""
    for tls_fails in (False, True):
        server = ToyServer(tls_available=tls_fails)
        dialer = MemoryDialer(server)
        dialer.tls_fails = tls_fails
        with pytest.raises(TLSError):
            async with open_client(
                f"{scheme}://user:secret@toy:4222", dialer=dialer, tls=None if scheme == "tls" else True
            ):
                raise AssertionError
        assert server.received == b""
        assert dialer.upgraded == (["toy"] if tls_fails else [])


async def test_plaintext_behind_info_is_thrown_away_by_the_upgrade(autojump_clock: MockClock) -> None:
    """What a stranger put between INFO and the handshake is not believed."""
    server = ToyServer(tls_required=True)
    server.greeting = server.info() + b"PONG\r\nINF"
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc:
        await nc.publish("a", b"x", confirm=True)
    assert dialer.upgraded == ["toy"]


async def test_a_pong_in_front_of_the_upgrade_proves_nothing(autojump_clock: MockClock) -> None:
    """Who answers before TLS has not accepted the credentials: the server's refusal behind it counts."""
    server = ToyServer(tls_required=True)
    server.password = ("user", "right")
    server.greeting = server.info() + b"PONG\r\n"
    with pytest.raises(AuthorizationError):
        async with open_client(server.url, dialer=MemoryDialer(server), user="user", password="wrong"):
            raise AssertionError


async def test_none_of_several_servers(autojump_clock: MockClock) -> None:
    """The first connect tries each server once, in order, and names all reasons; a later one that works is taken."""
    first, second = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    first.refuses = True
    second.silent = True
    with pytest.raises(NoServersError) as caught:
        async with open_client(first.url, second.url, dialer=MemoryDialer(first, second), keep_server_order=True):
            raise AssertionError
    assert [type(error) for error in caught.value.errors] == [ServerUnreachableError, ConnectTimeoutError]
    second.silent = False
    async with opened(first, second, keep_server_order=True) as nc:
        assert nc.stats().connect_failures == 1
        await nc.flush()


async def test_credentials_go_out_as_given(autojump_clock: MockClock) -> None:
    """User and password of options, of the URL (which wins), and a token; never in a repr."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    for url, options in (
        ("nats://toy", ClientOptions(user="u", password="secret")),
        ("nats://u:secret@toy", ClientOptions(user="other", password="other")),
        ("nats://secret@toy", ClientOptions()),
        ("nats://toy", ClientOptions(token="secret")),
    ):
        async with open_client(url, dialer=dialer, options=options) as nc:
            assert "secret" not in repr(nc)
            assert "secret" not in repr(nc.connection.options)
    sent = [{key: link.about.get(key) for key in ("user", "pass", "auth_token")} for link in server.links]
    with_password = {"user": "u", "pass": "secret", "auth_token": None}
    with_token = {"user": None, "pass": None, "auth_token": "secret"}
    assert sent == [with_password, with_password, with_token, with_token]
