"""Publish into a server that is stopped, and print what it costs: `python -m tests.integration.stalled_server`.

Publishers send messages of 60 KB without pause to a nats-server under SIGSTOP. The client must hold what its outbox may
hold and not more, other tasks must run on time, and cancelling must end all publishers within one pass of the
scheduler. Exit code 1 when one of that is not so.
"""

from __future__ import annotations

import argparse
import sys

import attrs
import trio

from beamline_trio import ClientOptions, open_client
from beamline_trio.server_process import Server, open_server

from ._lateness import LATE_MAX_SECONDS, Ticker
from ._measure import resident_bytes

PAYLOAD_BYTES = 60_000
GROWTH_BEYOND_CAP_MAX_BYTES = 20 * 1024 * 1024


@attrs.frozen(kw_only=True)
class StallReport:
    """What was seen.

    Attributes:
        growth_bytes: the most memory over that before the stall.
        late_seconds: the longest delay of another task.
        cancelled_within_a_pass: publishers that were still there one pass after the cancellation.
        accepted: messages that the client took in.
        ledger_balanced: whether its books added up at the end of the stall.
    """

    publishers: int
    seconds: float
    growth_bytes: int
    late_seconds: float
    left_after_a_pass: int
    accepted: int
    ledger_balanced: bool

    @property
    def holds(self) -> bool:
        """Whether every law holds."""
        return (
            self.growth_bytes <= ClientOptions().outbox_bytes_max + GROWTH_BEYOND_CAP_MAX_BYTES
            and self.late_seconds <= LATE_MAX_SECONDS
            and self.left_after_a_pass == 0
            and self.ledger_balanced
        )

    def __str__(self) -> str:
        return (
            f"{self.publishers} publishers of {PAYLOAD_BYTES} bytes into a stopped server for {self.seconds:g} s: "
            f"memory +{self.growth_bytes / 1024 / 1024:.1f} MB, other tasks at most {self.late_seconds * 1000:.1f} ms "
            f"late, {self.left_after_a_pass} publishers left one scheduler pass after cancelling, "
            f"{self.accepted} messages accepted"
        )


async def stall(server: Server, *, publishers: int, seconds: float) -> StallReport:
    """Stop the server, publish into it, cancel, let it go on; what was accepted must be confirmed then."""
    payload = bytes(PAYLOAD_BYTES)
    running: set[int] = set()
    ticker = Ticker()
    most = left = 0

    async with open_client(server.url) as nc, trio.open_nursery() as nursery:

        async def publish(number: int) -> None:
            running.add(number)
            try:
                while True:
                    await nc.publish(f"stall.{number}", payload)
            finally:
                running.discard(number)

        await nc.flush()
        nursery.start_soon(ticker.run)
        await trio.sleep(0.05)
        before = resident_bytes()
        server.pause()
        with trio.CancelScope() as publishing:
            async with trio.open_nursery() as inner:
                for number in range(publishers):
                    inner.start_soon(publish, number)
                end = trio.current_time() + seconds
                while trio.current_time() < end:
                    await trio.sleep(0.05)
                    most = max(most, resident_bytes() - before)
                publishing.cancel()
                with trio.CancelScope(shield=True):
                    # A pass runs all tasks that are ready in some order: after two of ours each of them had its turn.
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                left = len(running)
        ledger = nc.ledger()
        server.resume()
        with trio.fail_after(10):
            await nc.flush()
        assert nc.ledger().confirmed == nc.ledger().accepted
        nursery.cancel_scope.cancel()
    return StallReport(
        publishers=publishers,
        seconds=seconds,
        growth_bytes=most,
        late_seconds=ticker.worst_seconds,
        left_after_a_pass=left,
        accepted=ledger.accepted,
        ledger_balanced=ledger.balanced,
    )


async def _main(publishers: int, seconds: float) -> int:
    async with open_server() as server:
        report = await stall(server, publishers=publishers, seconds=seconds)
    print(report)
    return 0 if report.holds else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.integration.stalled_server", description=__doc__)
    parser.add_argument("--publishers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    sys.exit(trio.run(_main, arguments.publishers, arguments.seconds))
