"""What keeps a client from connecting: each cause has an error of its own, with the address and the next step.

And none of them leaves a descriptor, a thread or a task behind.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from beamline_trio import (
    AddressError,
    AuthorizationError,
    ConnectError,
    ConnectTimeoutError,
    HandshakeError,
    NameResolutionError,
    NatsError,
    NoServersError,
    NotNatsServerError,
    ServerUnreachableError,
    TLSError,
    open_client,
)
from beamline_trio.server_process import Server, open_server

from ._certificates import Certificates, write_certificates

LIMIT_SECONDS = 10.0
INFO = b"INFO " + json.dumps({"server_id": "X", "version": "2.15.1", "headers": True, "max_payload": 1024}).encode()

Behaviour = Callable[[trio.SocketStream], Awaitable[None]]


async def connect_fails(url: str, kind: type[NatsError], *said: str, **options: Any) -> NatsError:
    """`open_client` raises exactly this class, and its text says all of this."""
    with trio.fail_after(LIMIT_SECONDS), pytest.raises(kind) as caught:
        async with open_client(url, **options):
            raise AssertionError("connected")
    assert type(caught.value) is kind
    for words in said:
        assert words in str(caught.value)
    return caught.value


@asynccontextmanager
async def stranger(behaviour: Behaviour) -> AsyncGenerator[str]:
    """The URL of something that listens and is not nats-server."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await behaviour(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, listeners)
        yield f"nats://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------- no connection


async def test_connection_refused() -> None:
    """Nobody listens: ServerUnreachableError, at once, with the address and what to check."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port meanwhile
        url = f"nats://127.0.0.1:{reserved.getsockname()[1]}"
        began = trio.current_time()
        error = await connect_fails(url, ServerUnreachableError, url, "refused", "is a nats-server listening there?")
        assert trio.current_time() - began < 1
        assert isinstance(error, OSError)
        assert isinstance(error, ConnectError)
        assert error.address == url


async def test_a_name_that_does_not_resolve() -> None:
    """An unknown host name: NameResolutionError with the name and what to check (.invalid is nowhere: RFC 2606)."""
    url = "nats://no-such-host.invalid:4222"
    error = await connect_fails(url, NameResolutionError, "'no-such-host.invalid'", url, "check the host name and DNS")
    assert isinstance(error, ConnectError)
    assert error.address == url


async def test_an_address_that_cannot_be_used() -> None:
    """A URL that means nothing is an AddressError before anything is dialled, and its secrets are not shown."""
    for url in ("http://u:secret@h:1", "nats://u:secret@:4222", "nats://u:secret@h:99999", "nats://u:secret@h:0"):
        with pytest.raises(AddressError) as caught:
            async with open_client(url):
                raise AssertionError("connected")
        assert "secret" not in str(caught.value)


async def test_a_server_is_found_by_any_of_its_addresses(nats_server: Server) -> None:
    """A name may have several addresses, of which one answers; an IPv6 address is written in brackets."""
    async with open_client(f"nats://localhost:{nats_server.port}") as nc:
        await nc.flush()
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 loopback here: {error}")
    async with open_server(host="::1") as server, open_client(server.url) as nc:
        assert server.url.startswith("nats://[::1]:")
        await nc.flush()


async def test_none_of_several_servers(nats_server: Server) -> None:
    """With several servers the error names each of them with its own cause."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        refused = f"nats://127.0.0.1:{reserved.getsockname()[1]}"
        unknown = "nats://no-such-host.invalid:4222"
        with trio.fail_after(LIMIT_SECONDS), pytest.raises(NoServersError) as caught:
            async with open_client(refused, unknown, keep_server_order=True):
                raise AssertionError("connected")
        assert [type(error) for error in caught.value.errors] == [ServerUnreachableError, NameResolutionError]
        assert refused in str(caught.value)
        assert unknown in str(caught.value)
        async with open_client(refused, nats_server.url) as nc:
            await nc.flush()


# -------------------------------------------------------------------------------------------------- no nats-server


async def answer_http(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def greet_as_ssh(stream: trio.SocketStream) -> None:
    await stream.send_all(b"SSH-2.0-OpenSSH_9.6\r\n")
    await stream.receive_some()


async def greet_in_binary(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x4a\x00\x00\x00\x0a8.0.36\x00" + bytes(range(256)) * 300)
    await stream.receive_some()


async def greet_with_half_an_info(stream: trio.SocketStream) -> None:
    await stream.send_all(b"INFO [1, 2]\r\n")
    await stream.receive_some()


async def say_nothing(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def echo(stream: trio.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


@pytest.mark.parametrize("behaviour", [greet_as_ssh, greet_in_binary, greet_with_half_an_info])
async def test_a_stranger_that_speaks(behaviour: Behaviour) -> None:
    """What does not begin with INFO is no nats-server: NotNatsServerError, at once, with the address."""
    async with stranger(behaviour) as url:
        began = trio.current_time()
        error = await connect_fails(url, NotNatsServerError, url, "is not a NATS server", "check host and port")
        assert trio.current_time() - began < 1
        assert isinstance(error, ConnectError)
        assert error.address == url


@pytest.mark.parametrize("behaviour", [say_nothing, echo, answer_http])
async def test_a_server_that_waits_to_be_spoken_to(behaviour: Behaviour) -> None:
    """Who stays silent, as an HTTP or echo server does, is given up after `connect_timeout_seconds`, which is named."""
    async with stranger(behaviour) as url:
        began = trio.current_time()
        error = await connect_fails(
            url, ConnectTimeoutError, url, "within 0.2 s (connect_timeout_seconds)", connect_timeout_seconds=0.2
        )
        assert 0.2 <= trio.current_time() - began < 1
        assert isinstance(error, trio.TooSlowError)
        assert isinstance(error, ConnectError)
        assert "may be stopped" in str(error)
        assert "no NATS server" in str(error)


async def test_a_server_that_hangs_up() -> None:
    """Who closes without a word, or after INFO, is a HandshakeError that says how far it came."""

    async def hang_up(stream: trio.SocketStream) -> None: ...

    async def hang_up_after_info(stream: trio.SocketStream) -> None:
        await stream.send_all(INFO + b"\r\n")
        await stream.receive_some()

    async with stranger(hang_up) as url:
        await connect_fails(url, HandshakeError, url, "closed the connection before it sent INFO")
    async with stranger(hang_up_after_info) as url:
        await connect_fails(url, HandshakeError, url, "closed the connection before CONNECT was answered")


async def test_the_reason_is_read_although_the_connection_is_reset() -> None:
    """A server that says why and resets the connection before it reads CONNECT: its reason is told, not the reset."""

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.send_all(INFO + b"\r\n")
        await trio.sleep(0.02)  # until CONNECT lies unread, so that closing resets
        await stream.send_all(b"-ERR 'maximum connections exceeded'\r\n")
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def refuse_at_once(stream: trio.SocketStream) -> None:
        await stream.send_all(INFO + b"\r\n-ERR 'maximum connections exceeded'\r\n")

    async def refuse_and_stop_reading(stream: trio.SocketStream) -> None:
        await stream.send_all(INFO + b"\r\n")
        await stream.send_all(b"-ERR 'maximum connections exceeded'\r\n")
        stream.socket.shutdown(socket.SHUT_RD)

    for behaviour in (refuse_at_once, refuse, refuse_and_stop_reading):
        async with stranger(behaviour) as url:
            for _ in range(10):
                await connect_fails(url, HandshakeError, url, "maximum connections exceeded")


# ----------------------------------------------------------------------------------------------------- credentials


@pytest.mark.server_options(config='authorization { user: alice, password: "sesame" }')
async def test_a_wrong_password(nats_server: Server) -> None:
    """A wrong password: AuthorizationError with the address and what to check, without the password."""
    for options in ({"user": "alice", "password": "secret"}, {"token": "secret"}, {}):
        error = await connect_fails(
            nats_server.url, AuthorizationError, nats_server.url, "Authorization Violation", "check user", **options
        )
        assert "secret" not in str(error) + repr(error)
    in_url = nats_server.url.replace("://", "://alice:secret@")
    error = await connect_fails(in_url, AuthorizationError, nats_server.url)
    assert "secret" not in str(error) + repr(error)
    async with open_client(nats_server.url, user="alice", password="sesame") as nc:
        await nc.flush()


# ------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return write_certificates(tmp_path_factory.mktemp("certificates"), "127.0.0.1", "localhost")


async def test_tls_works_with_the_right_authority(certificates: Certificates) -> None:
    """With the CA given, nats:// and tls:// both are encrypted where the server wants it; a reconnect is so too."""
    async with open_server(config=certificates.server_config()) as server:
        for url in (server.url, server.url.replace("nats://", "tls://")):
            async with open_client(url, tls=certificates.context()) as nc, nc.subscribe("a") as sub:
                assert nc.server_info.tls_required
                await nc.publish("a", bytes(200_000), headers={"A": "b"}, confirm=True)
                assert len((await sub.receive()).payload) == 200_000
        async with open_client(server.url, tls=certificates.context()) as nc, nc.subscribe("a") as sub:
            server.kill()
            await server.wait_exit()
            await server.start()
            with trio.fail_after(LIMIT_SECONDS):
                await nc.flush()
                await nc.publish("a", b"again", confirm=True)
                assert (await sub.receive()).payload == b"again"


async def test_a_certificate_that_nobody_vouches_for(certificates: Certificates) -> None:
    """A server that wants TLS, a client without its CA: TLSError with the address, the cause and what to give."""
    async with open_server(config=certificates.server_config()) as server:
        for url in (server.url, server.url.replace("nats://", "tls://")):
            error = await connect_fails(url, TLSError, str(server.port), "certificate", "CA", "SSLContext")
            assert isinstance(error, ConnectError)
            assert str(server.port) in error.address


async def test_a_certificate_for_another_name(certificates: Certificates, tmp_path: Path) -> None:
    """A certificate that is good for another host: TLSError that says so."""
    other = write_certificates(tmp_path, "elsewhere.example", authority=certificates.authority)
    async with open_server(config=other.server_config()) as server:
        await connect_fails(server.url, TLSError, "127.0.0.1", "host name", tls=certificates.context())


async def test_tls_is_wanted_and_the_server_has_none(nats_server: Server, certificates: Certificates) -> None:
    """tls:// or `tls=` to a plain server: TLSError that says what to do, and no secret has left."""
    url = nats_server.url.replace("nats://", "tls://")
    await connect_fails(url, TLSError, url, "TLS was asked for", "use nats://", user="u", password="p")
    for tls in (True, certificates.context()):
        await connect_fails(nats_server.url, TLSError, nats_server.url, "TLS was asked for", tls=tls)


async def test_the_server_wants_a_certificate_of_the_client(certificates: Certificates) -> None:
    """A server with `verify: true` refuses a client without certificate: TLSError; with one it connects."""
    async with open_server(config=certificates.server_config("verify: true")) as server:
        for _ in range(5):
            error = await connect_fails(server.url, TLSError, str(server.port), tls=certificates.context())
            assert "certificate" in str(error)
        context = certificates.context()
        certificates.authority.issue_cert("client@example.org").configure_cert(context)
        async with open_client(server.url, tls=context) as nc:
            await nc.flush()


async def test_the_server_wants_tls_first(certificates: Certificates) -> None:
    """A server with `handshake_first` is silent before TLS: the timeout's text names that cause."""
    config = certificates.server_config("handshake_first: true")
    async with open_server(config=config, tls_first=True) as server:
        await connect_fails(
            server.url,
            ConnectTimeoutError,
            server.url,
            "wait for TLS first",
            tls=certificates.context(),
            connect_timeout_seconds=0.3,
        )


# -------------------------------------------------------------------------------------------------------- silence


async def test_a_stopped_server(nats_server: Server) -> None:
    """A server that is stopped accepts and stays silent: ConnectTimeoutError in time; once it goes on, it works."""
    nats_server.pause()
    began = trio.current_time()
    await connect_fails(nats_server.url, ConnectTimeoutError, nats_server.url, connect_timeout_seconds=0.3)
    assert 0.3 <= trio.current_time() - began < 1
    nats_server.resume()
    async with open_client(nats_server.url) as nc:
        await nc.flush()


async def test_silence_in_the_middle_of_the_handshake() -> None:
    """The timeout covers everything: INFO in drips, a missing PONG, a TLS handshake that nobody answers."""

    async def drip(stream: trio.SocketStream) -> None:
        for byte in INFO:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.05)

    async def no_pong(stream: trio.SocketStream) -> None:
        await stream.send_all(INFO + b"\r\n")
        await say_nothing(stream)

    async def no_tls(stream: trio.SocketStream) -> None:
        await stream.send_all(INFO.replace(b"{", b'{"tls_required": true, ', 1) + b"\r\n")
        await say_nothing(stream)

    for behaviour in (drip, no_pong, no_tls):
        async with stranger(behaviour) as url:
            began = trio.current_time()
            await connect_fails(url, ConnectTimeoutError, url, connect_timeout_seconds=0.2)
            assert 0.2 <= trio.current_time() - began < 1


async def test_the_callers_own_deadline_ends_a_connect(nats_server: Server) -> None:
    """An outer deadline ends connecting at once and passes unchanged."""
    nats_server.pause()
    with trio.move_on_after(0.1) as scope:
        async with open_client(nats_server.url):
            raise AssertionError("connected")
    assert scope.cancelled_caught
