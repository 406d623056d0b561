"""Asking a server what a check has to know: requests only, no subscription to what routes take, nothing changed.

Must not judge what it finds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import attrs

from ...client import Client, NoRespondersError
from ...connection import OperationTimeoutError
from ...jetstream import (
    APIError,
    ConsumerInfo,
    ConsumerNotFoundError,
    JetStream,
    JetStreamNotEnabledError,
    StreamInfo,
    StreamNotFoundError,
)
from ...protocol import PermissionsError
from ._permissions import Permissions, read_permissions
from ._records import RouteNeeds, Survey

T = TypeVar("T")

_USER_INFO: Final = "$SYS.REQ.USER.INFO"


async def survey_server(client: Client, needs: Sequence[RouteNeeds]) -> Survey:
    """What a server has of what routes need. Changes nothing; cancelled, nothing is left.

    What the server refuses to tell is in `Survey.unanswered`.

    Raises:
        NatsError: the connection is lost, or the client is closed.
    """
    return await _Survey(client).run(needs)


@attrs.define(eq=False)
class _Survey:
    client: Client
    streams: dict[str, StreamInfo] = attrs.field(factory=dict, init=False)
    consumers: dict[tuple[str, str], ConsumerInfo] = attrs.field(factory=dict, init=False)
    takers: dict[str, tuple[str, ...]] = attrs.field(factory=dict, init=False)
    unanswered: dict[str, str] = attrs.field(factory=dict, init=False)

    async def run(self, needs: Sequence[RouteNeeds]) -> Survey:
        permissions = await self._permissions()
        missing = await self._jetstream(needs)
        info = self.client.server_info
        return Survey(
            server=f"{info.server_name or info.server_id} (nats-server {info.version})",
            jetstream=missing,
            streams=self.streams,
            consumers=self.consumers,
            takers=self.takers,
            permissions=permissions,
            unanswered=self.unanswered,
            inbox_prefix=self.client.connection.options.inbox_prefix,
        )

    async def _permissions(self) -> Permissions | None:
        try:
            answer = await self.client.request(_USER_INFO)
        except (NoRespondersError, OperationTimeoutError, PermissionsError) as error:
            self.unanswered[_USER_INFO] = f"{error}; permissions are not checked"
            return None
        permissions = read_permissions(answer.payload)
        if permissions is None:
            self.unanswered[_USER_INFO] = "the answer has no permissions in it; they are not checked"
        return permissions

    async def _jetstream(self, needs: Sequence[RouteNeeds]) -> str | None:
        """Look at streams and consumers; why there are none, or None."""
        if not any(route.stream is not None or route.stored_subjects for route in needs):
            return None
        js = JetStream(self.client)
        try:
            for route in needs:
                await self._route(js, route)
        except JetStreamNotEnabledError as error:
            return error.description
        return None

    async def _route(self, js: JetStream, route: RouteNeeds) -> None:
        if route.stream is not None:
            await self._stream(js, route.stream)
            name = route.consumer.durable_name if route.consumer is not None else None
            if name is not None and route.stream in self.streams:
                await self._consumer(js, route.stream, name)
        for subject in route.stored_subjects:
            await self._takers(js, subject)

    async def _stream(self, js: JetStream, name: str) -> None:
        if name not in self.streams:
            info = await self._ask(f"STREAM.INFO.{name}", lambda: js.stream_info(name))
            if info is not None:
                self.streams[name] = info

    async def _consumer(self, js: JetStream, stream: str, name: str) -> None:
        info = await self._ask(f"CONSUMER.INFO.{stream}.{name}", lambda: js.consumer_info(stream, name))
        if info is not None:
            self.consumers[(stream, name)] = info

    async def _takers(self, js: JetStream, subject: str) -> None:
        if subject in self.takers:
            return
        names = await self._ask("STREAM.NAMES", lambda: js.stream_names(subject=subject))
        if names is None:
            return
        self.takers[subject] = tuple(names)
        for name in names:
            await self._stream(js, name)

    async def _ask(self, what: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """An answer; None when there is no such thing, or it may not be asked."""
        try:
            return await call()
        except (StreamNotFoundError, ConsumerNotFoundError):
            return None
        except JetStreamNotEnabledError:
            raise
        except (APIError, OperationTimeoutError, PermissionsError) as error:
            self.unanswered[what] = str(error)
            return None
