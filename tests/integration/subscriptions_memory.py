"""What many subscriptions cost: `python -m tests.integration.subscriptions_memory [--count 10000]` prints MB over idle.

A process of its own, since another test's memory that is reused would make them look free.
"""

from __future__ import annotations

import argparse
import gc
from contextlib import AsyncExitStack

import trio

from beamline_trio import open_client
from beamline_trio.server_process import open_server

from ._measure import resident_bytes


async def _main(count: int) -> None:
    async with open_server() as server, open_client(server.url) as nc, AsyncExitStack() as stack:
        await nc.flush()
        gc.collect()
        before = resident_bytes()
        for number in range(count):
            await stack.enter_async_context(nc.subscribe(f"orders.{number}.created"))
        await nc.flush()
        gc.collect()
        grown = resident_bytes() - before
        assert nc.stats().subscriptions == count
        print(f"{count} subscriptions: {grown / 1024 / 1024:.1f} MB over idle")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.integration.subscriptions_memory", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    trio.run(_main, parser.parse_args().count)
