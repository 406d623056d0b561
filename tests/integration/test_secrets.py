"""No secret is in any log, repr, traceback, metric or event of a client, least of all when something fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trustme

from beamline_trio import ClientOptions, NatsError, Reconnected, ReconnectFailed, TLSFiles, open_client
from beamline_trio.metrics import Collector
from beamline_trio.operation import load_options
from beamline_trio.server_process import open_server
from beamline_trio.server_process._ports import choose_port
from tests._shown import LogTexts, rich_text, texts_of_error, texts_of_objects
from tests._user_jwt import Authority, creds_file, new_key
from tests.integration._certificates import write_certificates
from tests.integration.test_security_matrix import websocket_config

pytestmark = pytest.mark.slow

MARK: Final = "s3cr3t"
KEY = new_key("U", bytes(range(32)))
JWT = Authority(int(time.time()) - 60).user(KEY)
NEEDLES: Final = (MARK, KEY.seed, JWT, JWT.rpartition(".")[2], KEY.seed[4:])
INFO = b'INFO {"server_id":"x","proto":1,"headers":true,"nonce":"abc"}\r\n'

ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "password": {"user": "u", "password": f"{MARK}-password"},
    "password by callback": {"user": "u", "password": lambda: f"{MARK}-password"},
    "token": {"token": f"{MARK}-token"},
    "nkey": {"nkey": KEY.seed},
    "nkey as bytes": {"nkey": KEY.seed.encode()},
    "creds": {"creds": creds_file(JWT, KEY.seed)},
    "creds by callback": {"creds": lambda: creds_file(JWT, KEY.seed)},
    "creds that are none": {"creds": f"{MARK}\n{JWT}\n{KEY.seed}".encode()},
    "creds by callback that are none": {"creds": lambda: f"{MARK} {JWT} {KEY.seed}"},
    "password of a key": {"tls": TLSFiles(key_password=f"{MARK}-key")},
}


class Search:
    """Looks for the needles in whatever it is given, and counts the texts."""

    def __init__(self) -> None:
        self.texts = 0
        self.hits: list[str] = []

    def __call__(self, texts: Iterator[str] | list[str], where: str) -> None:
        for text in texts:
            self.texts += 1
            self.hits += [f"{where}: {text[:300]}" for needle in NEEDLES if needle in text]


@pytest.fixture(scope="module")
def search() -> Iterator[Search]:
    """One search for the whole module; it says what it looked through."""
    search = Search()
    yield search
    print(f"\nsecrets: {search.texts} texts searched, {len(search.hits)} hits")


@pytest.fixture
def logs() -> Iterator[LogTexts]:
    """All logs, at level DEBUG."""
    root, handler = logging.getLogger(), LogTexts()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


async def fails(search: Search, logs: LogTexts, where: str, *servers: str, **options: Any) -> None:
    """Open a client, which fails, and look through everything that it showed."""
    error: Exception | None = None
    try:
        async with open_client(*servers, **{"connect_timeout_seconds": 1.0, **options}):
            pass
    except (NatsError, TypeError) as caught:
        error = caught
    assert error is not None, where
    look_through(search, logs, where, error)


def look_through(search: Search, logs: LogTexts, where: str, error: Exception) -> None:
    before = len(search.hits)
    search(texts_of_error(error), f"{where}, error {type(error).__name__}")
    search([rich_text(error)], f"{where}, rich")
    search(logs.take(), f"{where}, log")
    assert search.hits[before:] == []


async def hostile(stream: trio.SocketStream, behind: bytes, *, reset: bool) -> None:
    """A server that answers CONNECT with some bytes and hangs up, or resets as soon as CONNECT comes."""
    import socket
    import struct

    await stream.send_all(INFO)
    if not reset:
        await stream.receive_some()
        await stream.send_all(behind)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@pytest.mark.parametrize("kind", ARGUMENTS)
async def test_a_first_connect_that_fails(kind: str, search: Search, logs: LogTexts, tmp_path: Path) -> None:
    """Refused, unreachable, silent, broken off in the middle of CONNECT, garbage, no TLS: nothing shows a secret."""
    options = ARGUMENTS[kind]
    users = f"users: [ {{user: u, password: other}}, {{nkey: {new_key().public}}} ]"
    async with open_server(config=f"authorization {{ {users} }}") as server, trio.open_nursery() as nursery:
        await fails(search, logs, f"{kind}, refused", server.url, **options)
        if "tls" not in options:
            await fails(search, logs, f"{kind}, no TLS", server.url.replace("nats:", "tls:"), **options)
            await fails(search, logs, f"{kind}, TLS first", server.url, **options, tls_first=True)
        for behind, reset in ((b"", False), (b"-ERR 'no'\r\n", False), (b"MSG garbage\r\n", False), (b"", True)):
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            serve = partial(hostile, behind=behind, reset=reset)
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            url = f"nats://127.0.0.1:{listener.socket.getsockname()[1]}"
            await fails(search, logs, f"{kind}, {behind!r}", url, **options)
        await fails(search, logs, f"{kind}, two servers", server.url, "nats://127.0.0.1:1", **options)
        await fails(search, logs, f"{kind}, not an option", server.url, **options, passwort=f"{MARK}")
        await fails(search, logs, f"{kind}, bad option", server.url, **options, echo="perhaps")
        nursery.cancel_scope.cancel()


URLS: Final = (
    f"nats://u:{MARK}@127.0.0.1:1",
    f"nats://{MARK}@127.0.0.1:1",
    f"nats://u:{MARK}@127.0.0.1:99999",
    f"http://u:{MARK}@127.0.0.1",
    f"nats://u:{MARK}/@127.0.0.1",
    f"nats://u:{MARK}@[::1",
    f"ws://u:{MARK}@127.0.0.1:1/path?token={MARK}",
    f"wss://127.0.0.1:1?token={MARK}",
    f"nats://u:{MARK}@no-such-host.invalid",
)


@pytest.mark.parametrize("number", range(len(URLS)))
async def test_secrets_in_urls(number: int, search: Search, logs: LogTexts) -> None:
    """User information and query of a URL, well formed or not, alone and among others."""
    await fails(search, logs, f"URL {number}", URLS[number])
    await fails(search, logs, f"URL {number} of two", "nats://127.0.0.1:1", URLS[number])
    wrong: Any = {"echo": 5}
    with pytest.raises(NatsError) as caught:
        ClientOptions(servers=URLS[number], **wrong)
    look_through(search, logs, f"URL {number}, options", caught.value)


async def test_websocket_headers(search: Search, logs: LogTexts, tmp_path: Path) -> None:
    """Headers and query of a WebSocket: refused by HTTP, broken off, silent, and over TLS that fails."""
    certificates = write_certificates(tmp_path, "127.0.0.1")
    port = choose_port("127.0.0.1")
    headers: Any = {"Authorization": f"Bearer {MARK}"}
    async with open_server(config=websocket_config(port, certificates.server_config())) as server:
        for url in (
            f"ws://127.0.0.1:{port}/?t={MARK}",
            f"wss://127.0.0.1:{port}/?t={MARK}",
            server.url.replace("nats:", "ws:"),
        ):
            await fails(search, logs, url[:5], url, websocket_headers=headers)
            await fails(search, logs, url[:5], url, websocket_headers=lambda: headers)
        wrong: Any = {"Authorization": f"{MARK}\n"}
        await fails(search, logs, "header", f"wss://127.0.0.1:{port}", websocket_headers=wrong)
        await fails(
            search, logs, "header", f"wss://127.0.0.1:{port}", tls=certificates.context(), websocket_headers=wrong
        )
    search.texts += 0


def test_configuration(search: Search, logs: LogTexts, tmp_path: Path) -> None:
    """Environment and file: a bad option beside secrets, and secrets that are bad themselves."""
    file = tmp_path / "beamline.toml"
    secrets = {"NATS_PASSWORD": MARK, "NATS_USER": "u", "NATS_URL": f"nats://u:{MARK}@h", "NATS_TLS_KEY_PASSWORD": MARK}
    file.write_text(f'token = "{MARK}"\nnkey = "{KEY.seed}"\necho = 5\n')
    certificate = trustme.CA().issue_cert("x")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    attempts: list[Callable[[], object]] = [
        partial(load_options, environment={**secrets, "NATS_ECHO": "perhaps"}),
        partial(load_options, environment={**secrets, "NATS_TLS_CERT_FILE": "/nowhere"}),
        partial(load_options, environment={**secrets, "NATS_TOKEN": MARK}),
        partial(load_options, environment={"NATS_NKEY": KEY.seed[:-1] + "A"}),
        partial(load_options, environment={}, file=file),
        partial(load_options, environment={}, password=MARK, echo=5),
    ]
    for attempt in attempts:
        with pytest.raises(NatsError) as caught:
            attempt()
        look_through(search, logs, "configuration", caught.value)
    configuration = load_options(environment=secrets)
    search(texts_of_objects(configuration), "configuration")
    assert search.hits == []


@pytest.mark.parametrize("kind", ["password by callback", "token", "creds by callback", "URL"])
async def test_a_living_client_that_loses_its_server(kind: str, search: Search, logs: LogTexts) -> None:
    """Connected, refused while reconnecting, restored, drained: objects, metrics, events, books, logs."""
    authority = Authority(int(time.time()) - 60)
    jwt = authority.user(KEY)
    good = {
        "password by callback": "authorization { users: [{user: u, password: s3cr3t-password}] }",
        "creds by callback": authority.server_config(),
    }.get(kind, "authorization { token: s3cr3t-token }")
    options: dict[str, Any] = {"URL": {}, "creds by callback": {"creds": lambda: creds_file(jwt, KEY.seed)}}.get(
        kind, ARGUMENTS.get(kind, {})
    )
    bad = "authorization { token: other }"
    async with open_server(config=good) as server:
        url = server.url.replace("//", f"//{MARK}-token@") if kind == "URL" else server.url
        async with open_client(url, **options) as nc, nc.events() as events, nc.subscribe("a") as sub:
            await nc.publish("a", b"x", confirm=True)
            seen: list[object] = [await sub.receive()]
            server.write_config(bad)
            await server.restart()
            refusals = 0
            while refusals < 2:
                seen.append(await events.receive())
                refusals += isinstance(seen[-1], ReconnectFailed)
            search(texts_of_objects(nc, *seen), f"{kind}, refused")
            server.write_config(good)
            await server.restart()
            while not isinstance(seen[-1], Reconnected):
                seen.append(await events.receive())
            collector = Collector()
            collector.add(nc)
            search([collector.render().decode()], f"{kind}, metrics")
            search(texts_of_objects(nc, nc.stats(), nc.ledger(), *seen), f"{kind}, restored")
        search(texts_of_objects(nc), f"{kind}, closed")
        search(logs.take(), f"{kind}, log")
    assert search.hits == []


def test_the_search_finds_what_is_there(search: Search) -> None:
    """The search is worth something: an object that shows a secret is found, in locals and behind attributes."""
    finds = Search()

    class Careless:
        pass

    Careless.__module__ = "beamline_trio.careless"
    careless = Careless()
    careless.__dict__["inner"] = [{"password": MARK}]
    finds(texts_of_objects(careless), "object")
    assert finds.hits
    assert search.texts > 10_000
