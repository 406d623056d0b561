"""The servers a client knows, and the order of trying them. Pure decisions.

Must not dial.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..transport import AddressError, ServerAddress, parse_address


@attrs.define
class KnownServer:
    """One server and its book: failures since its last success, and the last error in words."""

    address: ServerAddress
    failures: int = 0
    last_error: str = ""


class ServerPool:
    """The given servers, in order; after a loss the one that was lost is tried last."""

    def __init__(self, urls: Sequence[str]) -> None:
        unique: dict[str, ServerAddress] = {}
        for address in map(parse_address, urls):
            if unique.setdefault(str(address), address) != address:
                raise AddressError(f"{address} is given twice with different credentials; give it once")
        self._servers = [KnownServer(address) for address in unique.values()]

    def __len__(self) -> int:
        return len(self._servers)

    def one_pass(self) -> list[KnownServer]:
        """Every server once, in the order to try them."""
        return list(self._servers)

    def succeeded(self, server: KnownServer) -> None:
        """A link to it was established."""
        server.failures = 0
        server.last_error = ""

    def failed(self, server: KnownServer, error: str) -> None:
        """An attempt on it failed, or its link was lost: it is tried last from now on."""
        server.failures += 1
        server.last_error = error
        self._servers.remove(server)
        self._servers.append(server)
