"""What tests see of a server: its connections and subscriptions as they are now, as records.

Must not change anything.
"""

from __future__ import annotations

import attrs

from ._accounts import as_seen
from ._connection import ClientConnection
from ._interest import Subscription


@attrs.frozen(kw_only=True)
class SubscriptionView:
    """A subscription of a client.

    Attributes:
        client_id: the server's number for the client.
        max_messages: after how many it ends; 0 = never.
        delivered: messages since SUB.
    """

    client_id: int
    sid: str
    subject: str
    queue_group: str | None
    max_messages: int
    delivered: int


@attrs.frozen(kw_only=True)
class ConnectionView:
    """A client's connection.

    Attributes:
        client_id: the server's number for the client.
        link: the network's number for the connection.
        host: where the client is.
        name: what it calls itself.
        pending_bytes: what waits for it because it does not read.
        in_messages: taken from it. `in_bytes`, `out_messages` and `out_bytes` likewise; bytes of headers and payload.
    """

    client_id: int
    link: int
    host: str
    name: str
    user: str
    lang: str
    version: str
    subscriptions: tuple[SubscriptionView, ...]
    pending_bytes: int
    in_messages: int
    in_bytes: int
    out_messages: int
    out_bytes: int


def view_connection(client: ClientConnection) -> ConnectionView:
    """A client's connection as it is now."""
    options = client.options
    return ConnectionView(
        client_id=client.client_id,
        link=client.number,
        host=client.host,
        name=options.name,
        user=options.user,
        lang=options.lang,
        version=options.version,
        subscriptions=tuple(view_subscription(client, sub) for sub in client.subscriptions.values()),
        pending_bytes=client.outbound.pending,
        in_messages=client.in_messages,
        in_bytes=client.in_bytes,
        out_messages=client.out_messages,
        out_bytes=client.out_bytes,
    )


def view_subscription(client: ClientConnection, sub: Subscription) -> SubscriptionView:
    """A subscription as it is now."""
    return SubscriptionView(
        client_id=client.client_id,
        sid=_text(sub.sid),
        subject=_text(as_seen(sub.subject)),
        queue_group=None if sub.queue is None else _text(sub.queue),
        max_messages=sub.most,
        delivered=sub.delivered,
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
