"""Who stands behind a label `client`, and what those that are gone have left.

A label is lent to one live client at a time. When that one is closed, its counters go into the label's total, so that
the next client of the name carries them on and no counter goes back while the process lives. Labels are few whatever a
program does: a client that finds the labels of its name all taken shares one, and so do all clients beyond
`LABELS_MAX` labels.

Must not know how a series is written down.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

import attrs

from ..client import Client
from ..cluster import ClusterWatch, RegionPublisher
from ..connection import State
from ..router import Router
from ._instance import Instance
from ._reading import read_client
from ._reading_cluster import read_instance, read_region, read_watch
from ._reading_router import read_router
from ._series import OF_CLIENTS_NOW, Reading

CLIENTS_PER_NAME_MAX: Final = 64
LABELS_MAX: Final = 1_024
LABEL_LENGTH_MAX: Final = 128
_BEYOND_LABELS: Final = "other"


@attrs.define
class RouterShare:
    """A router's work for one client: all it has counted less what was there before."""

    router: Router
    client: Client
    before: Reading

    def read(self) -> Reading:
        """What it has counted for this client."""
        return read_router(self.router).less(self.before)


@attrs.define
class Source:
    """A watch, a publisher of a region or an instance of a client, and how it is read."""

    client: Client
    of: object
    read: Callable[[], Reading]


class Account:
    """One label."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.shares: list[RouterShare] = []
        self.sources: list[Source] = []
        self._total = Reading()

    def read(self) -> Reading:
        """All series of the label at this moment."""
        reading = Reading()
        for client in self.clients:
            reading.add(read_client(client))
        for share in self.shares:
            reading.add(share.read())
        for source in self.sources:
            reading.add(source.read())
        reading.add(self._total)
        if not self.clients:
            reading.numbers.update({(name, ()): 0 for name in OF_CLIENTS_NOW})
        return reading

    def leave(self, client: Client) -> None:
        """A client is closed: only its totals stay."""
        self.clients.remove(client)
        self._total.add(read_client(client).lasting())

    def leave_share(self, share: RouterShare) -> Reading:
        """A router's work for a client is over; returns all the router had counted by then."""
        self.shares.remove(share)
        self._total.add(share.read().lasting())
        return read_router(share.router)

    def leave_source(self, source: Source) -> None:
        """Its client is closed: only its totals stay."""
        self.sources.remove(source)
        self._total.add(source.read().lasting())


class Accounts:
    """The labels of a collector."""

    def __init__(self) -> None:
        self._by_label: dict[str, Account] = {}
        self._counted: WeakKeyDictionary[Router, Reading] = WeakKeyDictionary()

    def add(self, client: Client) -> Account:
        """The account of a client, which is a new one's from now on."""
        self.settle()
        for account in self._by_label.values():
            if any(known is client for known in account.clients):
                return account
        account = self._by_label.setdefault(self._label_for(client.name), Account())
        account.clients.append(client)
        return account

    def add_router(self, router: Router, client: Client) -> None:
        """What a router counts from now on belongs to this client, and what it has counted to the one before."""
        account = self.add(client)
        for other in self._by_label.values():
            for share in [share for share in other.shares if share.router is router]:
                if share.client is client:
                    return
                self._counted[router] = other.leave_share(share)
        account.shares.append(RouterShare(router, client, self._counted.get(router, Reading())))

    def add_watch(self, watch: ClusterWatch) -> None:
        """What a watch knows, under its client."""
        self._add_source(Source(watch.client, watch, partial(read_watch, watch)))

    def add_region(self, publisher: RegionPublisher) -> None:
        """What is published to a region, under the client of its publisher."""
        self._add_source(Source(publisher.client, publisher, partial(read_region, publisher)))

    def add_instance(self, instance: Instance) -> None:
        """What an instance says of itself, under its client."""
        self._add_source(Source(instance.client, instance, partial(read_instance, instance)))

    def _add_source(self, source: Source) -> None:
        account = self.add(source.client)
        if not any(known.of is source.of for known in account.sources):
            account.sources.append(source)

    def settle(self) -> None:
        """Fold what is closed into the totals."""
        for account in self._by_label.values():
            for share in [share for share in account.shares if share.client.state is State.CLOSED]:
                self._counted[share.router] = account.leave_share(share)
            for source in [source for source in account.sources if source.client.state is State.CLOSED]:
                account.leave_source(source)
            for client in [client for client in account.clients if client.state is State.CLOSED]:
                account.leave(client)

    def read(self) -> dict[str, Reading]:
        """Label -> series."""
        self.settle()
        return {label: account.read() for label, account in self._by_label.items()}

    def _label_for(self, client_name: str) -> str:
        name = client_name.encode("utf-8", "replace").decode()[:LABEL_LENGTH_MAX]
        for number in range(1, CLIENTS_PER_NAME_MAX + 1):
            label = name if number == 1 else f"{name}-{number}"
            account = self._by_label.get(label)
            if account is None:
                return label if len(self._by_label) < LABELS_MAX else _BEYOND_LABELS
            if not account.clients:
                return label
        shared = f"{name}-other"
        known = shared in self._by_label or len(self._by_label) < LABELS_MAX
        return shared if known else _BEYOND_LABELS
