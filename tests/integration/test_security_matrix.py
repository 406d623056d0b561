"""Who is let in, over what: every way to say who one is and every way to reach a server, on real servers.

A row is a function; what it returns is what the table shows (`pytest tests/integration/test_security_matrix.py`, or
`nox -s security`, which prints it).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
import attrs
import pytest
import trio
import trustme

from beamline_trio import (
    AuthorizationError,
    Client,
    ConnectError,
    CredentialsNotFoundError,
    EventStream,
    NkeySigner,
    Reconnected,
    ReconnectFailed,
    TLSError,
    TLSFiles,
    UserJWT,
    WebSocketError,
    from_anyio,
    open_client,
)
from beamline_trio.server_process import open_server
from beamline_trio.server_process._ports import choose_port
from tests._user_jwt import Authority, Key, new_key
from tests.integration._certificates import Certificates, write_certificates
from tests.integration._recording_proxy import open_recording_proxy

LIMIT_SECONDS: Final = 20.0


@attrs.frozen
class Stage:
    """What a row may use."""

    directory: Path
    certificates: Certificates

    def files(self, *, mutual: bool = False) -> TLSFiles:
        """The client's files: the authority, and a certificate of its own."""
        at = self.certificates.directory
        if not mutual:
            return TLSFiles(ca_file=str(at / "ca.pem"))
        return TLSFiles(ca_file=str(at / "ca.pem"), cert_file=str(at / "cert.pem"), key_file=str(at / "key.pem"))


Row: TypeAlias = Callable[[Stage], Awaitable[str]]
ROWS: Final[dict[str, Row]] = {}


def row(name: str) -> Callable[[Row], Row]:
    """A row of the table."""

    def add(function: Row) -> Row:
        ROWS[name] = function
        return function

    return add


async def works(url: str, **options: Any) -> Client:
    """A client is let in, and a message comes back to it."""
    async with open_client(url, **options) as nc, nc.subscribe("a") as sub:
        await nc.publish("a", b"x" * 100_000, confirm=True)
        assert (await sub.receive()).payload == b"x" * 100_000
        return nc


async def refused(kind: type[Exception], url: str, **options: Any) -> str:
    """A client is not let in."""
    with pytest.raises(kind) as caught:
        async with open_client(url, **options):
            raise AssertionError
    return f"refused: {type(caught.value).__name__}"


async def heard(events: EventStream, kind: type[object], times: int = 1) -> None:
    """Wait until an event has come so often."""
    while times:
        times -= isinstance(await events.receive(), kind)


# ---------------------------------------------------------------------------------------------------------- TLS


@row("TLS: plain server, nothing asked")
async def _(stage: Stage) -> str:
    async with open_server() as server:
        await works(server.url)
    return "in, plaintext"


@row("TLS: required by the server")
async def _(stage: Stage) -> str:
    async with open_server(config=stage.certificates.server_config()) as server:
        for tls in (stage.certificates.context(), stage.files()):
            for url in (server.url, server.url.replace("nats:", "tls:")):
                nc = await works(url, tls=tls)
                assert nc.server_info.tls_required
    return "in, by context and by files"


@row("TLS: required, authority unknown")
async def _(stage: Stage) -> str:
    async with open_server(config=stage.certificates.server_config()) as server:
        return await refused(TLSError, server.url)


@row("TLS: first (handshake_first)")
async def _(stage: Stage) -> str:
    config = stage.certificates.server_config("handshake_first: true")
    async with open_server(config=config, tls_first=True) as server:
        await works(server.url, tls=stage.files(), tls_first=True)
    return "in"


@row("TLS: first asked, server is not")
async def _(stage: Stage) -> str:
    async with open_server(config=stage.certificates.server_config()) as server:
        return await refused(TLSError, server.url, tls=stage.files(), tls_first=True)


@row("TLS: first (auto), client is not")
async def _(stage: Stage) -> str:
    async with open_server(config=stage.certificates.server_config('handshake_first: "auto"')) as server:
        await works(server.url, tls=stage.files())
        await works(server.url, tls=stage.files(), tls_first=True)
    return "in, both ways"


@row("TLS: mutual, with a certificate")
async def _(stage: Stage) -> str:
    async with open_server(config=stage.certificates.server_config("verify: true")) as server:
        await works(server.url, tls=stage.files(mutual=True))
    return "in"


@row("TLS: mutual, without a certificate")
async def _(stage: Stage) -> str:
    async with open_server(config=stage.certificates.server_config("verify: true")) as server:
        return await refused(TLSError, server.url, tls=stage.files(), token="s3cr3t")


@row("TLS: certificate of another host")
async def _(stage: Stage) -> str:
    directory = stage.directory / "other"
    directory.mkdir()
    other = write_certificates(directory, "other.example", authority=stage.certificates.authority)
    async with open_server(config=other.server_config()) as server:
        return await refused(TLSError, server.url, tls=stage.files())


@row("TLS: asked, server has none")
async def _(stage: Stage) -> str:
    async with open_server() as server, open_recording_proxy(server.port) as proxy:
        shown = await refused(TLSError, proxy.url, tls=True, user="u", password="s3cr3t")
        assert [bytes(link.sent) for link in proxy.links] == [b""]
    return f"{shown}, 0 bytes sent"


@row("TLS: renewed certificate on disk")
async def _(stage: Stage) -> str:
    directory = stage.directory / "renewed"
    directory.mkdir()
    certificates = write_certificates(directory, "127.0.0.1")
    files = TLSFiles(ca_file=str(directory / "ca.pem"))
    async with (
        open_server(config=certificates.server_config()) as server,
        open_client(server.url, tls=files) as nc,
        nc.events() as events,
    ):
        write_certificates(directory, "127.0.0.1", authority=trustme.CA())
        await server.restart()
        await heard(events, Reconnected)
    return "back in, without a restart of the client"


# ------------------------------------------------------------------------------------------------ authentication


@row("token")
async def _(stage: Stage) -> str:
    async with open_server(config="authorization { token: s3cr3t }") as server:
        await works(server.url, token="s3cr3t")
        await works(server.url.replace("//", "//s3cr3t@"))
        await works(server.url, token=lambda: "s3cr3t")
        return "in (option, URL, callback); wrong: " + await refused(AuthorizationError, server.url, token="wrong")


@row("user and password")
async def _(stage: Stage) -> str:
    async with open_server(config="authorization { users: [ {user: u, password: s3cr3t} ] }") as server:

        async def password() -> str:
            await trio.sleep(0.01)
            return "s3cr3t"

        await works(server.url, user="u", password="s3cr3t")
        await works(server.url.replace("//", "//u:s3cr3t@"), user="v", password="w")
        await works(server.url, user="u", password=password)
        wrong = await refused(AuthorizationError, server.url, user="u", password="x")
        return f"in (option, URL, async callback); wrong: {wrong}"


@row("credentials though INFO does not ask (no_auth_user)")
async def _(stage: Stage) -> str:
    users = "users: [ {user: u, password: p}, {user: guest, password: g, permissions: {publish: {deny: a}}} ]"
    async with open_server(config=f"authorization {{ {users} }}\nno_auth_user: guest") as server:
        await works(server.url, user="u", password="p")
    return "in, as the user given"


def nkey_config(*keys: Key) -> str:
    users = ", ".join(f"{{nkey: {key.public}}}" for key in keys)
    return f"authorization {{ users: [ {users} ] }}"


@row("nkey")
async def _(stage: Stage) -> str:
    key, other = new_key(), new_key()
    file = stage.directory / "user.nk"
    file.write_text(f"{key.seed}\n")
    async with open_server(config=nkey_config(key)) as server:
        for nkey in (key.seed, key.seed.encode(), file, NkeySigner(key.public, key.sign)):
            await works(server.url, nkey=nkey)
        wrong = await refused(AuthorizationError, server.url, nkey=other.seed)
        forged = await refused(AuthorizationError, server.url, nkey=NkeySigner(key.public, other.sign))
        return f"in (text, bytes, file, signer); another's: {wrong}; forged: {forged}"


@row("nkey inside TLS")
async def _(stage: Stage) -> str:
    key = new_key()
    async with open_server(config=f"{stage.certificates.server_config()}\n{nkey_config(key)}") as server:
        await works(server.url, nkey=key.seed, tls=stage.files())
    return "in"


@row("JWT credentials")
async def _(stage: Stage) -> str:
    authority, user = Authority(int(time.time()) - 60), new_key()
    content = authority.creds(user)
    file = stage.directory / "user.creds"
    file.write_bytes(content)
    async with open_server(config=authority.server_config()) as server:
        for creds in (str(file), file, content, lambda: content, UserJWT(authority.user(user), user.sign)):
            await works(server.url, creds=creds)
        await works(server.url, creds=UserJWT(authority.user(user, bearer=True)))
        stranger = Authority(int(time.time()) - 60).creds(user)
        wrong = await refused(AuthorizationError, server.url, creds=stranger)
        return f"in (path, bytes, callback, signer, bearer); another operator's: {wrong}"


@row("JWT credentials: file missing at first")
async def _(stage: Stage) -> str:
    authority = Authority(int(time.time()) - 60)
    async with open_server(config=authority.server_config()) as server:
        return await refused(CredentialsNotFoundError, server.url, creds=str(stage.directory / "missing.creds"))


@row("JWT credentials: expired at first")
async def _(stage: Stage) -> str:
    now = int(time.time())
    authority, user = Authority(now - 60), new_key()
    async with open_server(config=authority.server_config()) as server:
        began = trio.current_time()
        shown = await refused(AuthorizationError, server.url, creds=authority.creds(user, expires_at=now - 30))
        assert trio.current_time() - began < 2
        return f"{shown}, at once"


@row("JWT credentials: expire, then a fresh file")
async def _(stage: Stage) -> str:
    now = int(time.time())
    authority, user = Authority(now - 60), new_key()
    file = stage.directory / "expiring.creds"
    file.write_bytes(authority.creds(user, expires_at=now + 2))
    async with (
        open_server(config=authority.server_config()) as server,
        open_client(server.url, creds=file) as nc,
        nc.events() as events,
    ):
        await heard(events, ReconnectFailed, 2)  # cut off, and refused with the expired one
        file.write_bytes(authority.creds(user))
        await heard(events, Reconnected)
        await nc.publish("a", b"x", confirm=True)
        return f"cut off, back in with the fresh one after {nc.stats().reconnect_attempts} attempts"


@row("JWT credentials: file missing for a while")
async def _(stage: Stage) -> str:
    authority, user = Authority(int(time.time()) - 60), new_key()
    file = stage.directory / "away.creds"
    file.write_bytes(authority.creds(user))
    async with (
        open_server(config=authority.server_config()) as server,
        open_client(server.url, creds=file) as nc,
        nc.events() as events,
    ):
        content = file.read_bytes()
        file.unlink()
        await server.restart()
        await heard(events, ReconnectFailed, 2)
        file.write_bytes(content)
        await heard(events, Reconnected)
    return "tried again, back in"


@row("JWT credentials: revoked, then a fresh user")
async def _(stage: Stage) -> str:
    now = int(time.time())
    authority, user, fresh = Authority(now - 60), new_key(), new_key()
    file = stage.directory / "revoked.creds"
    file.write_bytes(authority.creds(user))
    async with (
        open_server(config=authority.server_config()) as server,
        open_client(server.url, creds=file) as nc,
        nc.events() as events,
    ):
        server.write_config(authority.server_config(revoked={user.public: now}))
        await server.restart()
        await heard(events, ReconnectFailed, 2)
        file.write_bytes(authority.creds(fresh))
        await heard(events, Reconnected)
        shown = await refused(AuthorizationError, server.url, creds=authority.creds(user))
    return f"{shown}; back in as the fresh one"


@row("password changed on the server (reload)")
async def _(stage: Stage) -> str:
    def config(password: str) -> str:
        return f"authorization {{ users: [ {{user: u, password: {password}}} ] }}"

    password = ["first"]
    async with (
        open_server(config=config("first")) as server,
        open_client(server.url, user="u", password=lambda: password[0]) as nc,
        nc.events() as events,
    ):
        server.write_config(config("second"))
        server.reload()
        await heard(events, ReconnectFailed, 2)
        password[0] = "second"
        await heard(events, Reconnected)
    return "cut off, back in with what the callback gives"


# ----------------------------------------------------------------------------------------------------- WebSocket


def websocket_config(port: int, *more: str) -> str:
    return f'websocket {{ host: "127.0.0.1", port: {port}, {", ".join(more)} }}'


@row("ws")
async def _(stage: Stage) -> str:
    port = choose_port("127.0.0.1")
    async with open_server(config=websocket_config(port, "no_tls: true")):
        await works(f"ws://127.0.0.1:{port}")
        await works(f"ws://127.0.0.1:{port}/some/path?and=query", websocket_headers={"X-Forwarded-For": "192.0.2.7"})
    return "in, with path, query and headers"


@row("wss")
async def _(stage: Stage) -> str:
    port = choose_port("127.0.0.1")
    config = websocket_config(port, stage.certificates.server_config())
    async with open_server(config=config):
        await works(f"wss://127.0.0.1:{port}", tls=stage.files())
        stranger = await refused(TLSError, f"wss://127.0.0.1:{port}")
        plain = await refused(ConnectError, f"ws://127.0.0.1:{port}", connect_timeout_seconds=2)
        return f"in; authority unknown: {stranger}; ws instead: {plain}"


@row("ws: nkey, JWT and a server that wants TLS of others")
async def _(stage: Stage) -> str:
    port, authority, user = choose_port("127.0.0.1"), Authority(int(time.time()) - 60), new_key()
    config = [stage.certificates.server_config(), websocket_config(port, "no_tls: true"), authority.server_config()]
    async with open_server(config="\n".join(config)):
        await works(f"ws://127.0.0.1:{port}", creds=authority.creds(user))
    return "in, no TLS in band"


@row("ws: reconnect")
async def _(stage: Stage) -> str:
    port = choose_port("127.0.0.1")
    async with (
        open_server(config=websocket_config(port, "no_tls: true")) as server,
        open_client(f"ws://127.0.0.1:{port}") as nc,
        nc.events() as events,
    ):
        await server.restart()
        await heard(events, Reconnected)
        await nc.publish("a", b"x", confirm=True)
    return "back in"


@row("ws asked of a TCP port")
async def _(stage: Stage) -> str:
    async with open_server() as server:
        return await refused(WebSocketError, server.url.replace("nats:", "ws:"))


@row("anyio stream, plain and TLS")
async def _(stage: Stage) -> str:
    async with open_server() as server:
        await works(server.url, dialer=from_anyio(anyio.connect_tcp))
    async with open_server(config=stage.certificates.server_config()) as server:
        await works(server.url, dialer=from_anyio(anyio.connect_tcp, tls=stage.files()))
    return "in"


# -------------------------------------------------------------------------------------------------------- the test


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return write_certificates(tmp_path_factory.mktemp("certificates"), "127.0.0.1", "localhost")


@pytest.mark.parametrize("name", ROWS)
async def test_security(
    name: str, certificates: Certificates, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The row holds on a real server."""
    with trio.fail_after(LIMIT_SECONDS):
        record_property("security", f"{name}\t{await ROWS[name](Stage(tmp_path, certificates))}")
