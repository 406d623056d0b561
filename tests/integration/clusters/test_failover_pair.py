"""The two servers of the failover row: joined when they are given out, and the one with the client is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._failover import open_pair
from benchmarks._server import ServerError
from benchmarks._wire import RawConnection


def test_the_server_with_the_client_is_found(nats_server_executable: Path) -> None:
    """Without a client, or with one on each, there is none to kill; what is offered at one arrives at the other."""
    with open_pair(nats_server_executable) as pair:
        with pytest.raises(ServerError, match="0 of the two servers have a client"):
            pair.split()
        first, second = pair.servers
        client = RawConnection(second.url)
        try:
            client.greet()
            assert pair.split() == (second, first)
            other = RawConnection(first.url)
            try:
                other.greet()
                with pytest.raises(ServerError, match="2 of the two"):
                    pair.split()
            finally:
                other.close()
        finally:
            client.close()
        second.kill()
        second.start()
        second.wait_listening()
        pair.wait_joined()
