"""Ask a server's monitoring endpoint: one GET, one JSON document.

The server answers HTTP/1.0 requests and closes, so that the body ends with the connection and no HTTP library is
needed. Nothing is kept between two questions.

Must not judge what a server says of itself.
"""

from __future__ import annotations

import json
from typing import Any

import trio

from ._errors import MonitoringError

_ANSWER_BYTES_MAX = 64 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


async def ask(host: str, port: int, path: str) -> dict[str, Any]:
    """Return what the server at this address answers to `GET path`, whatever the status.

    `/healthz` of an unhealthy server is an answer too, with status 503 and the reason as JSON. Cancelling it closes
    the connection.

    Raises:
        MonitoringError: there is no server, or what it says is no JSON object.
    """
    try:
        answer = await _exchange(host, port, path)
    except (OSError, trio.BrokenResourceError) as error:
        raise MonitoringError(f"no answer of http://{host}:{port}{path}: {error!r}; is the server running?") from error
    return _document(answer, f"http://{host}:{port}{path}")


async def status_of(host: str, port: int, path: str) -> int:
    """Return the HTTP status with which `GET path` is answered, as 200 or 503. Cancelling it closes the connection.

    Raises:
        MonitoringError: nobody answers, or not in HTTP.
    """
    try:
        answer = await _exchange(host, port, path)
        return int(answer.split(None, 2)[1])
    except (OSError, trio.BrokenResourceError, IndexError, ValueError) as error:
        raise MonitoringError(f"no answer of http://{host}:{port}{path}: {error!r}; does the program run?") from error


async def _exchange(host: str, port: int, path: str) -> bytes:
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = bytearray()
        while chunk := await stream.receive_some(_CHUNK_BYTES):
            answer += chunk
            if len(answer) > _ANSWER_BYTES_MAX:
                raise MonitoringError(
                    f"http://{host}:{port}{path} answered more than {_ANSWER_BYTES_MAX} bytes; ask for less of it"
                )
        return bytes(answer)


def _document(answer: bytes, url: str) -> dict[str, Any]:
    _, _, body = answer.partition(b"\r\n\r\n")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise MonitoringError(f"{url} answered {answer[:80]!r}, which is no JSON object; is it a nats-server?")
    return document
