"""What is known of the connection, as anyio's typed attributes: `nc.extra(SocketAttribute.remote_address)`.

Must not be imported by the path but inside `Client.extra`, since it needs anyio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import trio
from anyio import TypedAttributeSet, typed_attribute
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

from ..connection import Connection


class ServerAttribute(TypedAttributeSet):
    """Of the server that a client is connected to."""

    #: the server's identifier, new with each of its starts
    server_id: str = typed_attribute()
    #: its name
    server_name: str = typed_attribute()
    #: its version
    version: str = typed_attribute()


def extra_attributes(connection: Connection) -> Mapping[Any, Callable[[], Any]]:
    """Those of the server, and those of every layer of the present link's stream; without a link those of none."""
    info = connection.info
    found: dict[Any, Callable[[], Any]] = {
        ServerAttribute.server_id: lambda: info.server_id,
        ServerAttribute.server_name: lambda: info.server_name,
        ServerAttribute.version: lambda: info.version,
    }
    layer: Any = connection.stream if connection.link_is_up else None
    while layer is not None:
        for attribute, give in _attributes_of(layer).items():
            found.setdefault(attribute, give)
        layer = getattr(layer, "transport_stream", None)
    return found


def _attributes_of(layer: Any) -> Mapping[Any, Callable[[], Any]]:
    if isinstance(layer, trio.SSLStream):
        return {
            TLSAttribute.tls_version: layer.version,
            TLSAttribute.cipher: layer.cipher,
            # anyio declares an attribute as what it gives, and this one gives a dict.
            TLSAttribute.peer_certificate: partial(layer.getpeercert, False),  # pyright: ignore[reportUnhashable]
            TLSAttribute.peer_certificate_binary: partial(layer.getpeercert, True),
            TLSAttribute.server_side: lambda: False,
        }
    if isinstance(layer, trio.SocketStream):
        return {
            SocketAttribute.family: lambda: layer.socket.family,
            SocketAttribute.local_address: lambda: layer.socket.getsockname()[:2],
            SocketAttribute.remote_address: lambda: layer.socket.getpeername()[:2],
            SocketAttribute.remote_port: lambda: layer.socket.getpeername()[1],
        }
    attributes: Mapping[Any, Callable[[], Any]] = getattr(layer, "extra_attributes", {})
    return attributes
