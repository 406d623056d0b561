"""What comes in plain text before TLS is a stranger's: it reaches nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from beamline_trio import open_client
from beamline_trio.connection import ClientOptions, Connection, OptionsError
from beamline_trio.connection._handshake import Handshake
from beamline_trio.protocol import PermissionsError, ServerInfo
from beamline_trio.transport import TCPDialer, TLSError, parse_address
from tests._memory import MemoryDialer, ToyServer

INFO = b'INFO {"tls_required":true}\r\n'
PLAIN = b"MSG orders 1 4\r\nevil\r\n"
RUN = PLAIN * 3
WITH_HEADERS = b"HMSG orders 1 12 16\r\nNATS/1.0\r\n\r\nevil\r\n"
MALFORMED = b"HMSG orders 1 4 8\r\nnoneevil\r\n"


class RefusingDialer(TCPDialer):
    """Its TLS fails: nothing that came can be vouched for."""

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        raise TLSError("the certificate is somebody else's", address=host)


class Book:
    """A route that writes down whatever reaches it."""

    def __init__(self) -> None:
        self.delivered = 0
        self.heard: list[tuple[str, Any]] = []

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        self.heard.append(("deliver", payload))

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        self.heard.append(("deliver_run", payloads))

    def skipped(self, subject: bytes, reason: str) -> None:
        self.heard.append(("skipped", reason))

    def refused(self, error: PermissionsError) -> None:
        self.heard.append(("refused", error))

    def closed(self) -> None:
        self.heard.append(("closed", None))


@pytest.mark.parametrize("behind", [PLAIN, RUN, WITH_HEADERS, MALFORMED])
async def test_plaintext_before_tls_reaches_no_subscription(behind: bytes, autojump_clock: MockClock) -> None:
    """Messages behind the plaintext INFO are for nobody, also when the subscription is there already (a reconnect)."""
    connection = Connection(ClientOptions(tls=True), RefusingDialer())
    book = Book()
    connection.subscribe(b"orders", None, None, book)
    ours, theirs = memory_stream_pair()
    await theirs.send_all(INFO + behind)
    with pytest.raises(TLSError):
        await Handshake(connection, ours, parse_address("tls://h")).run()
    assert book.heard == []
    assert connection.counters.malformed == 0


def altered(**fields: Any) -> bytes:
    """An INFO that a stranger wrote."""
    info = {"server_id": "EVIL", "max_payload": 16, "connect_urls": ["evil:4222"], "ldm": True, "headers": True}
    return b"INFO %b\r\n" % json.dumps({**info, "tls_required": True, **fields}).encode()


async def test_the_plaintext_info_steers_nothing(autojump_clock: MockClock) -> None:
    """Bound, identity, other servers and lame duck are those that the server says inside TLS, from the first moment."""
    server = ToyServer(tls_required=True)
    server.greeting = altered()
    async with open_client(server.url, dialer=MemoryDialer(server)) as nc:
        assert nc.server_info.server_id == "TOY"
        assert nc.server_info.max_payload == 1_048_576
        assert nc.server_info.connect_urls == ()
        assert not nc.server_info.lame_duck
        assert [one.url for one in nc.connection.pool.snapshot()] == ["nats://toy:4222"]
        await nc.publish("a", b"x" * 17, confirm=True)


async def test_a_server_that_says_no_more_inside_tls(autojump_clock: MockClock) -> None:
    """No INFO behind the PONG: a second PING shows that none is to come, and the bounds are the defaults."""
    server = ToyServer(tls_required=True)
    server.greeting = altered()
    server.says_more = False
    async with open_client(server.url, dialer=MemoryDialer(server)) as nc:
        assert [operation.verb for operation in server.record] == ["CONNECT", "PING", "PING"]
        assert nc.server_info == ServerInfo(headers=True)


async def test_headers_that_were_hidden_in_plaintext(autojump_clock: MockClock) -> None:
    """Whoever strips the server's headers from the plaintext INFO is found out inside TLS."""
    server = ToyServer(tls_required=True)
    server.greeting = altered(headers=False)
    with pytest.raises(TLSError, match="somebody changes what it says in plain text"):
        async with open_client(server.url, dialer=MemoryDialer(server)):
            raise AssertionError


async def test_tls_first_is_before_info(autojump_clock: MockClock) -> None:
    """With tls_first the stream is upgraded before anything is read, once, and INFO is believed."""
    server = ToyServer(tls_required=True, max_payload=77)
    dialer = MemoryDialer(server)
    async with open_client(server.url, dialer=dialer, tls_first=True) as nc:
        assert dialer.upgraded == ["toy"]
        assert nc.server_info.max_payload == 77
        assert [operation.verb for operation in server.record] == ["CONNECT", "PING"]
        assert server.link.about["tls_required"] is True


async def test_tls_first_that_fails_says_so(autojump_clock: MockClock) -> None:
    """No TLS on the other side: TLSError, and nothing was sent."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    dialer.tls_fails = True
    with pytest.raises(TLSError):
        async with open_client(server.url, dialer=dialer, tls_first=True, token="t"):
            raise AssertionError
    assert server.received == b""


def test_tls_first_without_tls_is_a_contradiction() -> None:
    """tls=False refuses what tls_first asks for."""
    with pytest.raises(OptionsError, match="tls_first is True and tls is False"):
        ClientOptions(tls_first=True, tls=False)
