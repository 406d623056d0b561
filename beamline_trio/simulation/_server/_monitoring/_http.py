"""The monitoring port: documents by HTTP, one request a connection.

    GET /varz, /connz, /routez, /gatewayz, /jsz, /healthz, with options in the query; 503 = it is not well

Must not know the documents.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from .._surroundings import Link, LinkHandler, Network
    from ._monitor import Monitor

_HEAD_BYTES_MAX: Final = 8192
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


def http_answer(monitor: Monitor, target: str) -> tuple[int, str, bytes]:
    """What a GET is answered.

    Args:
        monitor: has the documents.
        target: path and query, as /jsz?streams=1.

    Returns:
        The status, the type and the body.
    """
    url = urlsplit(target)
    name = url.path.removeprefix("/").upper()
    if name not in monitor.names or url.path != url.path.lower():
        return 404, _TEXT, b"404 page not found\n"
    document = monitor.document(name, dict(parse_qsl(url.query)))
    if name == "HEALTHZ":
        status: int = document.pop("status_code")
        return status, _JSON, json.dumps(document, separators=(",", ":")).encode()
    return 200, _JSON, json.dumps(document, indent=2, ensure_ascii=False).encode()


class MonitoringPort:
    """Takes connections to the monitoring port: a `Listener`.

    Args:
        monitor: has the documents.
        network: in which it listens.
    """

    def __init__(self, monitor: Monitor, network: Network) -> None:
        self.monitor = monitor
        self._network = network
        self._process = monitor.process
        self._port = self._process.config.http_port
        self.open: dict[int, _Request] = {}
        network.listen(self._process.host, self._port, self)

    def accept(self, link: Link) -> LinkHandler | None:
        """Somebody has connected. Called by the network."""
        if not self._process.running:
            return None
        request = self.open[link.number] = _Request(self, link)
        return request

    def run(self, request: _Request, data: bytes) -> None:
        """Read on, now or when the process goes on."""
        self._process.run(request.read, data)

    def stop(self) -> None:
        """The server ends, however it does."""
        self._network.unlisten(self._process.host, self._port)
        for request in list(self.open.values()):
            request.close()


class _Request:
    """One connection."""

    def __init__(self, port: MonitoringPort, link: Link) -> None:
        self._port = port
        self._link = link
        self._head = b""
        self._left = b""

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self._port.run(self, data)

    def ended(self) -> None:
        """No more will come; what is being answered still is."""

    def broken(self, reason: str) -> None:
        """The connection is gone."""
        self._port.open.pop(self._link.number, None)

    def writable(self) -> None:
        """There is room again."""
        self._write()

    def read(self, data: bytes) -> None:
        """Answer when the head of the request is there."""
        if self._left:
            return
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._answer(*_answer(self._port.monitor, self._head))
        elif len(self._head) > _HEAD_BYTES_MAX:
            self._answer(400, _TEXT, b"400 Bad Request")

    def close(self) -> None:
        """Hang up."""
        if self._port.open.pop(self._link.number, None) is not None:
            self._link.close()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
        self._left = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        self._write()

    def _write(self) -> None:
        if self._left:
            self._left = self._left[self._link.write(self._left) :]
            if not self._left:
                self.close()


def _answer(monitor: Monitor, head: bytes) -> tuple[int, str, bytes]:
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[1].startswith("/"):
        return 400, _TEXT, b"400 Bad Request"
    if words[0] not in ("GET", "HEAD"):
        return 405, _TEXT, b"405 Method Not Allowed"
    status, kind, body = http_answer(monitor, words[1])
    return status, kind, body if words[0] == "GET" else b""
