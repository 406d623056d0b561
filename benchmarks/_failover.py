"""The failover row: two servers of a cluster, of which the one that the contender is on is killed.

The clock starts when the kill is sent and stops when the contender has the first message that was offered at the other
server behind it, both on the machine's monotonic clock, which all processes share. A message is offered about every
0.3 ms. The killed server is back, and known to the contender's server, before the next round begins.
"""

import contextlib
import json
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path

from ._outage import offer_until_received
from ._process import Child
from ._server import BenchServer, ServerError, free_ports

JOINED_SECONDS = 10.0
POLL_SECONDS = 0.01
TOLD_SECONDS = 0.3
"""For the news that the killed server is back to reach the contender, which then has two servers again."""


class Pair:
    """Two servers that are joined by routes; a client of either knows of both."""

    def __init__(self, servers: tuple[BenchServer, BenchServer]) -> None:
        self.servers = servers

    @property
    def url(self) -> str:
        """Of the first server."""
        return self.servers[0].url

    def split(self) -> tuple[BenchServer, BenchServer]:
        """The server that a client is connected to, and the other one.

        Raises:
            ServerError: there is no client, or more than one.
        """
        connected = [server for server in self.servers if _monitored(server, "varz")["connections"]]
        if len(connected) != 1:
            raise ServerError(f"{len(connected)} of the two servers have a client; it should be one")
        other = next(server for server in self.servers if server is not connected[0])
        return connected[0], other

    def wait_joined(self) -> None:
        """Return when each has a route to the other.

        Raises:
            ServerError: not within 10 s.
        """
        deadline = time.monotonic() + JOINED_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if all(_monitored(server, "routez")["num_routes"] for server in self.servers):
                    return
            time.sleep(POLL_SECONDS)
        raise ServerError(f"the two servers have no routes to each other after {JOINED_SECONDS:g} s")


@contextlib.contextmanager
def open_pair(binary: Path) -> Generator[Pair]:
    """Two servers, joined when the block begins and gone when it ends."""
    first, second = free_ports(2)
    with (
        BenchServer(binary, _route_arguments(first, second)) as one,
        BenchServer(binary, _route_arguments(second, first)) as other,
    ):
        pair = Pair((one, other))
        pair.wait_joined()
        yield pair


def run_failovers(contender: Child, pair: Pair, outages: int, deadline_seconds: float) -> list[float]:
    """Return, for each kill, the milliseconds from it to the contender's next message.

    Raises:
        ChildError: the contender ended, or got no message within the deadline of one kill.
        ServerError: a server did not come back.
    """
    latencies_ms: list[float] = []
    for outage in range(outages):
        contender.expect(deadline_seconds, "ready")
        killed, survivor = pair.split()
        killed_at = time.monotonic()
        killed.kill()
        first_at = offer_until_received(contender, survivor.url, outage, killed_at + deadline_seconds)
        latencies_ms.append((first_at - killed_at) * 1e3)
        killed.start()
        killed.wait_listening()
        pair.wait_joined()
        time.sleep(TOLD_SECONDS)
    return latencies_ms


def _route_arguments(own: int, other: int) -> list[str]:
    cluster = ["-cluster_name", "bench", "-cluster", f"nats://127.0.0.1:{own}"]
    return [*cluster, "-routes", f"nats-route://127.0.0.1:{other}"]


def _monitored(server: BenchServer, path: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{server.monitoring_url}/{path}", timeout=5.0) as response:
        found: dict[str, int] = json.load(response)
    return found
