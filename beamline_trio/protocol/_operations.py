"""INFO and CONNECT: what the two sides tell each other about themselves.

`ServerInfo` reads leniently (a field of the wrong type, or a number beyond 64 bits, is its default; half characters are
replaced; unknown fields stay in `raw`): INFO may come at any time and must never cost a healthy connection.
`ConnectOptions` is strict: it is ours.

Must not decide when they are sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from ._credentials import Credentials
from ._errors import ProtocolError
from ._frozen import frozen

LANGUAGE = "python-trio"
_INTEGER_MAX: Final = 2**63 - 1


@frozen(kw_only=True)
class ServerInfo:
    """What a server says of itself in INFO (nats-server 2.15); `raw` has every field as it came.

    Attributes:
        max_payload: the most bytes of headers and payload together that a publish may have.
        lame_duck: the server is about to shut down and wants its clients to leave.
        connect_urls: other servers of its cluster, as host:port.
    """

    server_id: str = ""
    server_name: str = ""
    version: str = ""
    host: str = ""
    port: int = 0
    protocol: int = 0
    headers: bool = False
    max_payload: int = 1_048_576
    auth_required: bool = False
    tls_required: bool = False
    tls_available: bool = False
    jetstream: bool = False
    lame_duck: bool = False
    connect_info: bool = False
    nonce: str = attrs.field(default="", repr=False)
    client_id: int = 0
    client_ip: str = ""
    cluster: str = ""
    domain: str = ""
    connect_urls: tuple[str, ...] = ()
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)


def decode_info(text: bytes) -> ServerInfo:
    """Read the JSON behind INFO.

    Raises:
        ProtocolError: it is not a JSON object.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"INFO is not JSON: {text[:64]!r}") from exc
    if not isinstance(raw, dict):
        raise ProtocolError(f"INFO is not a JSON object: {text[:64]!r}")
    urls = raw.get("connect_urls")
    max_payload = _integer(raw, "max_payload")
    return ServerInfo(
        server_id=_text(raw, "server_id"),
        server_name=_text(raw, "server_name"),
        version=_text(raw, "version"),
        host=_text(raw, "host"),
        port=_integer(raw, "port"),
        protocol=_integer(raw, "proto"),
        headers=raw.get("headers") is True,
        max_payload=max_payload if max_payload > 0 else 1_048_576,
        auth_required=raw.get("auth_required") is True,
        tls_required=raw.get("tls_required") is True,
        tls_available=raw.get("tls_available") is True,
        jetstream=raw.get("jetstream") is True,
        lame_duck=raw.get("ldm") is True,
        connect_info=raw.get("connect_info") is True,
        nonce=_text(raw, "nonce"),
        client_id=_integer(raw, "client_id"),
        client_ip=_text(raw, "client_ip"),
        cluster=_text(raw, "cluster"),
        domain=_text(raw, "domain"),
        connect_urls=tuple(_whole(url) for url in urls if isinstance(url, str)) if isinstance(urls, list) else (),
        raw=MappingProxyType(raw),
    )


@frozen(kw_only=True)
class ConnectOptions:
    """The fields of CONNECT. `headers` and `no_responders` go together: the server refuses the second alone."""

    name: str = ""
    version: str = ""
    verbose: bool = False
    pedantic: bool = False
    echo: bool = True
    headers: bool = True
    no_responders: bool = True
    tls_required: bool = False
    credentials: Credentials = attrs.field(factory=Credentials)


def encode_connect(options: ConnectOptions) -> bytes:
    """The CONNECT line."""
    fields: dict[str, object] = {
        "verbose": options.verbose,
        "pedantic": options.pedantic,
        "tls_required": options.tls_required,
        "echo": options.echo,
        "headers": options.headers,
        "no_responders": options.no_responders and options.headers,
        "protocol": 1,
        "lang": LANGUAGE,
        "version": options.version,
    }
    optional = {"name": options.name or None, **options.credentials.connect_fields()}
    fields.update({key: value for key, value in optional.items() if value is not None})
    return b"CONNECT %b\r\n" % json.dumps(fields, separators=(",", ":")).encode("utf-8")


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return _whole(value) if isinstance(value, str) else ""


def _whole(text: str) -> str:
    """The text with surrogates replaced: JSON may escape half a character, which nothing can print or send."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _integer(raw: Mapping[str, Any], key: str) -> int:
    value = raw.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INTEGER_MAX else 0
