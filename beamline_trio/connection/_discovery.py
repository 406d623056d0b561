"""The servers that a cluster advertises (INFO's connect_urls) -> addresses to dial, and whom we say we are there.

They inherit what the link had on which they were told: its scheme, with TLS where that link had it, so that no gossip
leads from TLS to plaintext. A bare IP address has no name that a certificate could be checked against: it inherits the
name of the server that told it (as in nats.go), unless that one is a bare IP address itself.

Must not dial, and must not decide what stays in the pool.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import attrs

from ..protocol import Credentials, frozen
from ..transport import AddressError, ServerAddress, parse_address

_WITH_TLS = {"nats": "tls"}


@frozen
class Origin:
    """The link on which servers are told.

    Attributes:
        address: where it leads.
        secure: whether it is inside TLS.
        vouched: whether the credentials of its URL may go to the servers it tells: TLS has proven who it is, or the
            user says so (`trust_discovered`).
    """

    address: ServerAddress
    secure: bool = False
    vouched: bool = False


def advertised(urls: Iterable[str], origin: Origin) -> list[ServerAddress]:
    """The addresses of advertised servers (host:port each). What cannot be read is passed over: it is the server's.

    Args:
        urls: connect_urls.
        origin: the link on which they came.
    """
    found: dict[tuple[str, int], ServerAddress] = {}
    for url in urls:
        try:
            told = parse_address(url.rpartition("@")[2])
        except AddressError:
            continue
        found.setdefault((told.host, told.port), _inherit(told, origin))
    return list(found.values())


def _inherit(told: ServerAddress, origin: Origin) -> ServerAddress:
    own = origin.address
    scheme = _WITH_TLS.get(own.scheme, own.scheme) if origin.secure else own.scheme
    name = own.tls_name or own.host
    return attrs.evolve(
        own,
        host=told.host,
        port=told.port,
        scheme=scheme,
        credentials=own.credentials if origin.vouched else Credentials(),
        tls_name=name if is_ip_address(told.host) and not is_ip_address(name) else "",
    )


def is_ip_address(host: str) -> bool:
    """Whether a host is a bare IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
