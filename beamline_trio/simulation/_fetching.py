"""A GET over the simulated network, for the monitoring ports of servers.

Must not know what is fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ._network import Network

_PIECE_BYTES: Final = 65_536


async def fetch(network: Network, source: str, url: str) -> bytes:
    """Get a URL from a host; cancelled, the connection is closed.

    Args:
        network: in which.
        source: the host that asks.
        url: as http://east-1:8222/varz.

    Raises:
        OSError: nobody answers there, the connection breaks, or the status is not 200.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None or parts.port is None:
        raise OSError(f"the URL {url!r} is not of the form http://host:port/path")
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    data = b""
    stream = await network.connect(source, parts.hostname, parts.port)
    async with stream:
        await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        while piece := await stream.receive_some(_PIECE_BYTES):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if words[1:2] != [b"200"]:
        raise OSError(f"GET {url} was answered {b' '.join(words[1:]).decode() or 'nothing'!r}: {body.decode()!r}")
    return body
