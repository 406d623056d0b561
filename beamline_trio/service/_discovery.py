"""Answering `$SRV` requests for a service, as long as its client lives.

Nine subscriptions, as tools ask for: three verbs to everybody, to the name, and to this instance.

Must not serve the endpoints themselves.
"""

from __future__ import annotations

import datetime

import trio

from ..client import Client, Message
from ..protocol import NatsError
from ._answers import Instance
from ._records import Service


async def serve_discovery(
    client: Client, service: Service, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer PING, INFO and STATS: `identifier = await nursery.start(serve_discovery, nc, service)`.

    Started when the server has confirmed every subscription, with the identifier of this instance. Returns when the
    client was drained; cancelled, it is no longer found, and nothing is left.

    Args:
        client: of the service.
        service: what is told of it.
        task_status: gives the identifier.

    Raises:
        PermissionsError: the server refuses a subject below `$SRV`.
        NatsError: see `Client.serve`.
    """
    environment = client.connection.environment
    began = datetime.datetime.fromtimestamp(environment.wall_clock(), datetime.UTC)
    started = began.isoformat().replace("+00:00", "Z")
    instance = Instance(service=service, id=environment.new_identifier(), started=started)
    failures: list[NatsError] = []
    async with trio.open_nursery() as nursery:

        async def serve(verb: str, subject: str, status: _Started) -> None:
            async def answer(_: Message) -> bytes:
                return instance.answer(verb)

            try:
                await client.serve(subject, answer, task_status=status)
            except NatsError as error:  # raised bare, and once, below
                failures.append(error)
                nursery.cancel_scope.cancel()

        for verb, subject in instance.subjects():
            status = _Started()
            nursery.start_soon(serve, verb, subject, status)
            await status.event.wait()
        task_status.started(instance.id)
    if failures:
        raise failures[0]


class _Started:
    """A task status that can be waited for beside the failure of its task."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def started(self, value: object = None) -> None:
        self.event.set()
