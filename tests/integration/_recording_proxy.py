r"""A TCP proxy between a client and a server that records what passes: the wire as it was, for tests to judge.

    async with open_recording_proxy(server.port) as proxy:
        async with open_client(proxy.url) as nc: ...
        assert proxy.links[0].sent.endswith(b"PING\r\n")

Must not understand what it passes on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define
class RecordedLink:
    """What passed over one connection: from the client, and from the server."""

    sent: bytearray = attrs.field(factory=bytearray)
    received: bytearray = attrs.field(factory=bytearray)


class RecordingProxy:
    """The proxy; `links` are the connections so far, the oldest first."""

    def __init__(self, port: int, server_port: int) -> None:
        self.url = f"nats://127.0.0.1:{port}"
        self.links: list[RecordedLink] = []
        self._server_port = server_port
        self._scopes: list[trio.CancelScope] = []

    def cut(self) -> None:
        """Break all connections."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        """Pass on one connection in both directions until either side ends it."""
        link = RecordedLink()
        self.links.append(link)
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            server = await trio.open_tcp_stream("127.0.0.1", self._server_port)
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, client, server, link.sent, scope)
                nursery.start_soon(_pass_on, server, client, link.received, scope)


async def _pass_on(
    source: trio.SocketStream, sink: trio.SocketStream, record: bytearray, scope: trio.CancelScope
) -> None:
    try:
        async for chunk in source:
            record += chunk
            await sink.send_all(chunk)
    except trio.BrokenResourceError:
        pass
    scope.cancel()


@asynccontextmanager
async def open_recording_proxy(server_port: int) -> AsyncGenerator[RecordingProxy]:
    """A proxy on a free loopback port; connections that are left are broken at the end."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = RecordingProxy(listeners[0].socket.getsockname()[1], server_port)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, proxy.serve, listeners)
        try:
            yield proxy
        finally:
            nursery.cancel_scope.cancel()
