"""What a router needs of a server, by what its routes were declared with.

Where handlers publish to is theirs to know; a file of routes says it.

Must not ask a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...router import Retry, Route, Router
from ._records import RouteNeeds, Target


def needs_of(router: Router, targets: Mapping[str, Sequence[Target]] | None = None) -> tuple[RouteNeeds, ...]:
    """What each route of a router needs.

    Args:
        router: it.
        targets: name of a route -> where it publishes to, as far as that is known.
    """
    known = targets if targets is not None else {}
    return tuple(_needs_of(route, tuple(known.get(name, ()))) for name, route in router.routes.items())


def _needs_of(route: Route, targets: tuple[Target, ...]) -> RouteNeeds:
    options = route.options
    if options.stream is None:
        return RouteNeeds(name=route.name, subject=route.subject, queue_group=options.queue_group, targets=targets)
    return RouteNeeds(
        name=route.name,
        subject=route.subject,
        stream=options.stream,
        consumer=options.consumer_config(),
        dead_letter=options.dead_letter,
        holds=options.held_max > 0,
        targets=targets,
        redelivery_seconds=_redelivery_seconds(options.retry),
    )


def _redelivery_seconds(retry: Retry) -> float:
    """From the first delivery of a message to its last one, when each takes its whole ack wait."""
    again = retry.max_deliver - 1
    delays = [retry.delays_seconds[min(index, len(retry.delays_seconds) - 1)] for index in range(again)]
    return again * retry.ack_wait_seconds + sum(delays) * (1 + retry.jitter)
