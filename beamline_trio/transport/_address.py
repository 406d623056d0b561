"""A server's URL -> where and how to dial it, and whom to say we are.

Must not resolve names.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from ..protocol import Credentials, Secret, credentials_of_url, frozen, hidden
from ._errors import AddressError

DEFAULT_PORT: Final = 4222
_DEFAULT_PORTS: Final = {"nats": DEFAULT_PORT, "tls": DEFAULT_PORT, "ws": 80, "wss": 443}
_WEBSOCKET: Final = ("ws", "wss")


@frozen
class ServerAddress:
    """One server: scheme, host, port, and the credentials of its URL (never shown).

    `str(address)` is safe to log.

    Attributes:
        tls_name: the name its certificate must have where that is not the host: a cluster told of it by a bare IP
            address.
        resource: path and query of a WebSocket URL; the query is never shown.
    """

    host: str
    port: int = DEFAULT_PORT
    scheme: str = "nats"
    credentials: Credentials = attrs.field(factory=Credentials, repr=False)
    tls_name: str = ""
    resource: Secret = attrs.field(default=Secret(""), converter=hidden, repr=False)

    @property
    def wants_tls(self) -> bool:
        """Whether the scheme asks for TLS."""
        return self.scheme == "tls"

    @property
    def is_websocket(self) -> bool:
        """Whether NATS is inside WebSocket there."""
        return self.scheme in _WEBSOCKET

    @property
    def authority(self) -> str:
        """Host and port as an HTTP request has them: without the port that the scheme implies."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.resource.reveal().partition('?')[0]}"


def parse_address(url: str | Secret) -> ServerAddress:
    """Read `nats://user:password@host:4222`, `tls://host`, `wss://host/path?query`, `host:port`, `host`, `[::1]:4222`.

    A user without a password is a token. Percent-encoding in user and password is undone.

    Raises:
        TypeError: it is not a str.
        AddressError: the scheme is unknown, there is no host, or the port is no number from 1 to 65535.
    """
    if not isinstance(url, (str, Secret)):
        raise TypeError(f"a server is given as a str (nats://host:port), not {type(url).__name__}")
    url = hidden(url)  # a traceback may show this frame
    address = _read(url)
    if isinstance(address, str):
        raise AddressError(address)
    return address


def _read(url: Secret) -> ServerAddress | str:
    """The address, or what is wrong with it. Raises nothing: the URL stands here in plain."""
    text = url.reveal().strip()
    if "://" not in text:
        text = f"nats://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname
    except ValueError:
        # The words of urlsplit may quote the password: neither they nor the user information are shown.
        return f"cannot read server URL {_plain(text)!r}; use nats://host:port"
    if "@" in parts.path + parts.query + parts.fragment:
        return f"cannot read server URL {_plain(text)!r}: percent-encode / ? # and @ in its user and password"
    if parts.scheme not in _DEFAULT_PORTS:
        return f"scheme {parts.scheme!r} of {_plain(text)} is not one of {', '.join(_DEFAULT_PORTS)}"
    if not host or any(char.isspace() for char in text):
        return f"no host in server URL {_plain(text)!r}; use nats://host:port"
    if port == 0:
        return f"port 0 in server URL {_plain(text)!r}; a server listens on 1 to 65535"
    user = unquote(parts.username) if parts.username is not None else None
    password = unquote(parts.password) if parts.password is not None else None
    return ServerAddress(
        host=host,
        port=port if port is not None else _DEFAULT_PORTS[parts.scheme],
        scheme=parts.scheme,
        credentials=credentials_of_url(user or None, password),
        resource=_resource(parts) if parts.scheme in _WEBSOCKET else "",
    )


def _resource(parts: SplitResult) -> str:
    """Path and query, as they were written; a bare slash is none."""
    path = "" if parts.path == "/" else parts.path
    return f"{path or '/'}?{parts.query}" if parts.query else path


def _plain(url: str) -> str:
    """A URL without its user information, also where that holds what it must not."""
    scheme, _, rest = url.partition("://")
    if "@" not in rest:
        return url
    return f"{scheme if scheme in _DEFAULT_PORTS else ''}://{rest.rpartition('@')[2]}"
