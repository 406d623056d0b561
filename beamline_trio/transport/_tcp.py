"""A host and port -> a connected TCP stream, over all addresses of the name.

The name is resolved anew for each attempt, and its A and AAAA records are tried in an order drawn by chance (ADR-11).
The next address is tried when one has failed, or has said nothing for `STAGGER_SECONDS`: a dead machine behind a name
costs no more than that. The first that connects is taken. The caller's deadline bounds all of it together.

Must not keep an address for later.
"""

from __future__ import annotations

import random
import socket
from typing import Any, Final, TypeAlias

import trio

from ._address import ServerAddress
from ._errors import NameResolutionError, ServerUnreachableError

STAGGER_SECONDS: Final = 0.25

# What getaddrinfo gives: family, type, protocol, canonical name, socket address.
Target: TypeAlias = tuple[int, int, int, str, Any]


async def connect_tcp(address: ServerAddress, rng: random.Random | None) -> trio.SocketStream:
    """Connect. Cancelled: nothing is left open.

    Args:
        address: whose host and port.
        rng: draws the order of the addresses; None = it is kept as DNS gave it.

    Raises:
        NameResolutionError: the name has no address.
        ServerUnreachableError: nothing took the connection at any address.
    """
    targets = await _resolve(address)
    if rng is not None:
        rng.shuffle(targets)
    race = _Race()
    await race.run(targets)
    if race.winner is None:
        reasons = "; ".join(dict.fromkeys(str(error) for error in race.errors))
        raise ServerUnreachableError(
            f"cannot connect to {address}: {reasons}; is a nats-server listening there?", address=str(address)
        ) from race.errors[0]
    return trio.SocketStream(race.winner)


async def _resolve(address: ServerAddress) -> list[Target]:
    try:
        return list(await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    except (socket.gaierror, UnicodeError) as exc:  # UnicodeError: not even a host name
        reason = exc.strerror if isinstance(exc, socket.gaierror) else exc
        raise NameResolutionError(
            f"cannot resolve {address.host!r} of {address}: {reason}; check the host name and DNS",
            address=str(address),
        ) from exc


class _Race:
    """Attempts on addresses, staggered, until one connects.

    Attributes:
        winner: its socket.
        errors: of the others, in the order in which they failed.
    """

    def __init__(self) -> None:
        self.winner: trio.socket.SocketType | None = None
        self.errors: list[OSError] = []

    async def run(self, targets: list[Target]) -> None:
        """Try them all, or until one connects."""
        try:
            async with trio.open_nursery() as nursery:
                for target in targets:
                    failed = trio.Event()
                    nursery.start_soon(self._try, target, failed, nursery.cancel_scope)
                    with trio.move_on_after(STAGGER_SECONDS):
                        await failed.wait()
        except BaseException:  # cancelled from outside in the step in which one connected
            if self.winner is not None:
                self.winner.close()
            raise

    async def _try(self, target: Target, failed: trio.Event, others: trio.CancelScope) -> None:
        family, kind, protocol, _, where = target
        try:
            sock = trio.socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine has not
            self.errors.append(error)
            failed.set()
            return
        try:
            await sock.connect(where)
            if self.winner is None:
                self.winner = sock
                others.cancel()
        except OSError as error:
            self.errors.append(error)
            failed.set()
        finally:
            if self.winner is not sock:
                sock.close()
