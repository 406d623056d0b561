"""Outages of the reconnect rows: kill the server, start it again, and offer messages until the contender has
one.

The clock starts when the server's port takes a connection and stops when the contender has the first message,
both on the machine's monotonic clock, which all processes share. A message is offered about every 0.3 ms, so
the resolution is well below the milliseconds that are measured.
"""

import time

from ._process import Child, ChildError
from ._protocol import FIRST_SUBJECT
from ._server import BenchServer
from ._wire import RawConnection

OFFER_INTERVAL_SECONDS = 0.0003


def run_outages(
    contender: Child, server: BenchServer, outages: int, outage_seconds: float, deadline_seconds: float
) -> list[float]:
    """Return, for each outage, the milliseconds from "listening again" to the contender's first message.

    Raises:
        ChildError: the contender ended, or got no message within the deadline of one outage.
    """
    latencies_ms: list[float] = []
    for outage in range(outages):
        contender.expect(deadline_seconds, "ready")
        server.kill()
        time.sleep(outage_seconds)
        server.start()
        listening_at = server.wait_listening()
        first_at = offer_until_received(contender, server.url, outage, listening_at + deadline_seconds)
        latencies_ms.append((first_at - listening_at) * 1e3)
    return latencies_ms


def offer_until_received(contender: Child, url: str, outage: int, deadline: float) -> float:
    """Offer the message of an outage at a server until the contender has it, and return when that was.

    Raises:
        ChildError: the contender ended, or has none of them at the deadline.
    """
    payload = str(outage).encode()
    frame = b"PUB %b %d\r\n%b\r\n" % (FIRST_SUBJECT.encode(), len(payload), payload)
    probe = RawConnection(url)
    try:
        probe.greet()
        while time.monotonic() < deadline:
            probe.socket.sendall(frame)
            line = contender.line(OFFER_INTERVAL_SECONDS)
            if line is not None:
                return float(line["at"])
    finally:
        probe.close()
    raise ChildError("no message arrived before the deadline")
