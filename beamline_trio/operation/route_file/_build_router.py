"""A router of a file of routes: each mapping becomes a handler, and its refusals the outcomes of the router.

Must not run it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ...connection import OptionsError
from ...protocol import InvalidSubjectError
from ...router import Delivery, Publish, Reject, Reply, RouteCounters, Router
from ._errors import MappingError, RouteFileError
from ._mapping import Mapping
from ._paths import Input
from ._route_file import FileRoute, RouteFile

Handler: TypeAlias = Callable[[Any, Delivery], Awaitable[Publish | Reply | None]]


class MappedHandler:
    """What the mapping of a route does with its messages.

    Attributes:
        mapping: it.
        counters: of its route, where what the filter leaves out is counted.
    """

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.counters = RouteCounters()

    @property
    def left_out(self) -> int:
        """Messages that the filter has left out: done with, and without an effect."""
        return self.counters.left_out

    def apply(self, payload: Any, delivery: Delivery) -> Publish | Reply | None:
        """The effect of one message.

        Raises:
            Reject: the message lacks what the mapping needs; no retry can mend it.
        """
        metadata = delivery.metadata
        source = Input(
            payload=payload,
            subject=delivery.subject,
            headers=delivery.headers,
            stream=metadata.stream if metadata is not None else None,
            sequence=metadata.stream_sequence if metadata is not None else None,
            deliveries=delivery.number,
        )
        try:
            effect = self.mapping.apply(source, delivery.payload)
        except MappingError as error:
            raise Reject(str(error)) from None
        self.counters.left_out += effect is None
        return effect

    @property
    def handler(self) -> Handler:
        """The handler, annotated with what the payload is to be read as."""
        if self.mapping.payload == "json":
            return self._json
        return self._text if self.mapping.payload == "text" else self._bytes

    # A decision without an await: there is nothing here that could be cancelled half done.

    async def _json(self, payload: Any, delivery: Delivery) -> Publish | Reply | None:
        return self.apply(payload, delivery)

    async def _text(self, payload: str, delivery: Delivery) -> Publish | Reply | None:
        return self.apply(payload, delivery)

    async def _bytes(self, payload: bytes, delivery: Delivery) -> Publish | Reply | None:
        return self.apply(payload, delivery)


def build_router(file: RouteFile) -> tuple[Router, dict[str, MappedHandler]]:
    """The router that a file describes, and by the names of its routes what handles them.

    Raises:
        RouteFileError: a route has a value that a router does not take.
    """
    try:
        given: dict[str, Any] = {} if file.grace_seconds is None else {"grace_seconds": file.grace_seconds}
        router = Router(file.name, version=file.version, **given)
    except (OptionsError, ValueError) as error:
        raise RouteFileError("router", str(error)) from None
    handlers: dict[str, MappedHandler] = {}
    for index, route in enumerate(file.routes):
        handlers[route.name] = MappedHandler(route.mapping)
        _add(router, route, handlers[route.name].handler, f"routes[{index}]")
        handlers[route.name].counters = router.routes[route.name].counters
    return router, handlers


def _add(router: Router, route: FileRoute, handler: Handler, where: str) -> None:
    try:
        router.route(route.subject, name=route.name, retry=route.retry, **route.options)(handler)
    except (OptionsError, InvalidSubjectError, TypeError, ValueError) as error:
        raise RouteFileError(where, str(error)) from None
