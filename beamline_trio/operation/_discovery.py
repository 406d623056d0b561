"""A router as a service of ADR-32: its core routes are endpoints, with what they have counted.

Routes from streams answer nobody: they are in the metadata, for whoever looks what an instance does.

Must not send.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from ..router import Route, Router
from ..service import Endpoint, EndpointStatistics, Service

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


def service_of(router: Router, *, description: str = "") -> Service:
    """What `serve_discovery` tells of a router.

    Characters that a service's name cannot have are `-` in it.

    Args:
        router: it.
        description: for people.

    Raises:
        ServiceError: its version is no semantic version.
    """
    core = [route for route in router.routes.values() if route.options.stream is None]
    streams = [route for route in router.routes.values() if route.options.stream is not None]
    return Service(
        name=_name(router.name),
        version=router.version,
        description=description,
        metadata={f"route.{route.name}": _source_of(route) for route in streams},
        endpoints=tuple(_endpoint(route) for route in core),
    )


def _endpoint(route: Route) -> Endpoint:
    return Endpoint(
        name=_name(route.name),
        subject=route.subject,
        queue_group=route.options.queue_group,
        statistics=partial(_statistics, route),
    )


def _statistics(route: Route) -> EndpointStatistics:
    counted = route.counters
    return EndpointStatistics(
        requests=counted.ended,
        errors=counted.failures,
        seconds=counted.duration_seconds,
        data={"outcomes": {outcome: count for outcome, count in counted.outcomes.items() if count}},
    )


def _source_of(route: Route) -> str:
    return (
        f"{route.subject} of the stream {route.options.stream}, durable {route.options.consumer_config().durable_name}"
    )


def _name(text: str) -> str:
    return _NOT_IN_A_NAME.sub("-", text) or "-"
