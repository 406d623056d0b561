"""Choose a port that is free now and can be bound again after the server was killed.

The kernel's own choice (port 0) comes from the range it also takes the ports of outgoing connections from.
While a killed server is away, any connection of this machine may get its number; a client that redials a
loopback port can even be connected to itself there. The restart then fails. So the choice is made outside
that range.

It only chooses: between the choice and the server's bind somebody else may take the port, and the caller
retries.
"""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

_LOWEST = 20_000
_HIGHEST = 32_767
_SPAN_MIN = 1_000
_ATTEMPTS = 100
# Each call goes on where the last one ended, and processes side by side begin far apart, so they seldom meet.
_candidates = itertools.count(os.getpid() * 7_919)
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_FIRST = 32_768  # Linux's default; macOS and the BSDs begin higher


def choose_port(host: str) -> int:
    """Return a port of `host` (an IP address) that nobody listens on at this moment.

    Raises:
        OSError: the host is no address of this machine.
    """
    highest = min(_HIGHEST, _ephemeral_first() - 1)
    if highest - _LOWEST >= _SPAN_MIN:
        for _ in range(_ATTEMPTS):
            port = _LOWEST + next(_candidates) % (highest - _LOWEST + 1)
            if _is_free(host, port):
                return port
    # A machine whose outgoing ports begin low has no better place than the kernel's choice; and where no port
    # can be bound, this says why.
    return _bound_port(host, 0)


def _ephemeral_first() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL_FIRST


def _is_free(host: str, port: int) -> bool:
    try:
        _bound_port(host, port)
    except OSError:
        return False
    return True


def _bound_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # As Go's listeners do: connections in TIME_WAIT are no obstacle to the server either.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
        return int(listener.getsockname()[1])
