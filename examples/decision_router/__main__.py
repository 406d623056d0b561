"""Create the streams: `python -m examples.decision_router [nats://host:port]`. `beamline run` then runs the router."""

import sys

import trio

from beamline_trio import JetStream, StreamExistsError, open_client

from .streams import STREAMS, create_streams


async def main(url: str) -> None:
    """Create the streams, and say what is there."""
    async with open_client(url, name="decision-router-streams") as nc:
        js = JetStream(nc)
        try:
            await create_streams(js)
        except StreamExistsError as error:
            sys.exit(f"a stream is there with another configuration, and was left as it is: {error}")
        for config in STREAMS:
            print(config.name, *(config.subjects or ()))


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222")
