"""What comes in plain text before TLS is a stranger's: it reaches nobody."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from beamline_trio.connection import ClientOptions, Connection
from beamline_trio.connection._handshake import Handshake
from beamline_trio.protocol import PermissionsError
from beamline_trio.transport import TCPDialer, TLSError, parse_address

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
