"""Which publisher takes a subject: what a program has said for a client, and routers on it go by.

Found in `Client.attachments`. Must not publish.
"""

from __future__ import annotations

import re
from typing import Final

from ..client import Client
from ..connection import OptionsError
from ..jetstream import pattern_of
from ..protocol import frozen
from ._regional import RegionPublisher

_NAME: Final = "cluster"


@frozen
class RegionRoutes:
    """The publishers of a client, each with the subjects that it takes."""

    publishers: tuple[tuple[re.Pattern[str], RegionPublisher], ...]


def route_by_region(client: Client, *publishers: RegionPublisher) -> None:
    """From now on, effects of routers on a client that go to a stream of one of these regions go by its publisher.

    It replaces what was said before; without publishers they go straight again. The publishers run as they always do:
    `await nursery.start(publisher.run)`.

    Args:
        client: that the routers run on.
        publishers: whose `Home` has `subjects`; of two that take a subject the first does.

    Raises:
        OptionsError: one has no subjects, or works over another client.
    """
    for publisher in publishers:
        if publisher.client is not client:
            raise OptionsError(f"the publisher of region {publisher.home.region!r} works over another client")
        if not publisher.home.subjects:
            raise OptionsError(
                f"the publisher of region {publisher.home.region!r} takes no subjects; give its Home subjects, as "
                f"('{publisher.home.region}.>',)"
            )
    taken = tuple((pattern_of(publisher.home.subjects), publisher) for publisher in publishers)
    client.attachments[_NAME] = RegionRoutes(taken)


def publisher_for(client: Client, subject: str) -> RegionPublisher | None:
    """The publisher that takes a subject, if one does."""
    routes = client.attachments.get(_NAME)
    if not isinstance(routes, RegionRoutes):
        return None
    return next((publisher for pattern, publisher in routes.publishers if pattern.fullmatch(subject)), None)
