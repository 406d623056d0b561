"""What is known of the connection: anyio's typed attributes, of every layer of the stream."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
import trio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

from beamline_trio import Disconnected, Reconnected, from_anyio, open_client
from beamline_trio.client.attributes import ServerAttribute
from beamline_trio.server_process import open_server
from beamline_trio.server_process._ports import choose_port
from tests.integration._certificates import write_certificates
from tests.integration.test_security_matrix import websocket_config


async def test_peer_tls_and_server(tmp_path: Path) -> None:
    """Over TCP, TLS, WebSocket in TLS and anyio: the server's address and identifier, and the TLS version."""
    certificates = write_certificates(tmp_path, "127.0.0.1")
    port = choose_port("127.0.0.1")
    tls = certificates.server_config()
    with trio.fail_after(20):
        async with open_server(config=f"{tls}\n{websocket_config(port, tls)}") as server:
            context = certificates.context()
            over_tls = open_client(server.url, tls=context)
            over_anyio = open_client(server.url, dialer=from_anyio(anyio.connect_tcp, tls=context))
            over_websocket = open_client(f"wss://127.0.0.1:{port}", tls=context)
            for client, peer in ((over_tls, server.port), (over_anyio, server.port), (over_websocket, port)):
                async with client as nc:
                    assert nc.extra(SocketAttribute.remote_address) == ("127.0.0.1", peer)
                    assert nc.extra(TLSAttribute.tls_version).startswith("TLSv1")
                    assert nc.extra(TLSAttribute.peer_certificate)["subjectAltName"]
                    assert nc.extra(ServerAttribute.server_id) == nc.server_info.server_id
                    assert nc.extra(ServerAttribute.version) == nc.server_info.version


async def test_what_there_is_not() -> None:
    """Without TLS, and while there is no link: the default, or anyio's own error; the server last met stays known."""
    with trio.fail_after(20):
        async with open_server() as server, open_client(server.url) as nc, nc.events() as events:
            assert nc.extra(SocketAttribute.remote_port) == server.port
            assert nc.extra(TLSAttribute.tls_version, None) is None
            with pytest.raises(anyio.TypedAttributeLookupError):
                nc.extra(TLSAttribute.tls_version)
            before = nc.extra(ServerAttribute.server_id)
            await server.stop()
            while not isinstance(await events.receive(), Disconnected):
                pass
            assert nc.extra(SocketAttribute.remote_address, None) is None
            assert nc.extra(ServerAttribute.server_id) == before
            await server.start()
            while not isinstance(await events.receive(), Reconnected):
                pass
            assert nc.extra(ServerAttribute.server_id) != before
            assert nc.extra(SocketAttribute.remote_address) == ("127.0.0.1", server.port)
