"""The router whose instances `rolling` restarts: `beamline run tests.integration.clusters._instance:router`."""

from __future__ import annotations

from beamline_trio.router import Publish, Retry, Router

from ._load import STREAM, SUBJECT

ASK = "load.ask"
DONE = "done.out"
DONE_STREAM = "DONE"
DURABLE = "instances"

router = Router("instance", grace_seconds=10.0)


@router.route(
    SUBJECT, stream=STREAM, durable=DURABLE, concurrency=32, retry=Retry(max_deliver=50, ack_wait_seconds=5.0)
)
async def pass_on(payload: bytes) -> Publish:
    """From one stream to the other."""
    return Publish(DONE, payload)


@router.route(ASK, queue_group="instances", concurrency=8)
async def answer(payload: bytes) -> bytes:
    """To one of the instances."""
    return payload
