"""From a message to those who want it: plain subscriptions, one member of each queue group, other servers, JetStream.

This is the hot path: a message is a few byte strings, and no object is made for it.

Must not know how bytes reach a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ._connection import ClientConnection
    from ._interest import Subscription
    from ._process import Process
    from ._route import RouteConnection

# Subject, reply or b"", header size or 0 for none, header size and total size as the publisher wrote them, and
# headers, payload and CRLF in one piece.
MessageParts: TypeAlias = tuple[bytes, bytes, int, bytes, bytes, bytes]


def publish(process: Process, source: ClientConnection, message: MessageParts) -> bool:
    """Deliver a client's message; False when nobody was there for it."""
    matches = process.interest.match(message[0])
    delivered = False
    for sub in matches.plain:
        if _deliver(process, source, sub, message):
            delivered = True
    if not matches.queues and not matches.beyond:
        return delivered
    targets: dict[RouteConnection, list[bytes]] = {}
    for sub in matches.beyond:
        if sub.route is not None:
            targets[sub.route] = []
        elif sub.service is not None and sub.service(message, source):
            delivered = True
    for members in matches.queues:
        chosen = _choose(process, source, members, message)
        if chosen is None:
            continue
        if chosen.route is None:
            delivered = True
        elif chosen.queue is not None:
            targets.setdefault(chosen.route, []).append(chosen.queue)
    for route, queues in targets.items():
        route.send_message(message, queues)
        delivered = True
    return delivered


def publish_from_server(process: Process, to: bytes, message: MessageParts) -> None:
    """Deliver a message of the server's own to those who listen to `to`; they see the subject that it has."""
    matches = process.interest.match(to)
    for sub in matches.plain:
        _deliver(process, None, sub, message)
    for members in matches.queues:
        _choose(process, None, members, message)
    for sub in matches.beyond:
        if sub.service is not None:
            sub.service(message, None)


def publish_from_route(process: Process, route: RouteConnection, message: MessageParts, queues: list[bytes]) -> None:
    """Deliver what another server has routed here: to all plain subscriptions, and to the queue groups it named.

    Members here come first. Should a group have none any more, the message goes on to a server that has.
    """
    matches = process.interest.match(message[0])
    for sub in matches.plain:
        _deliver(process, None, sub, message)
    for members in matches.queues:
        if members[0].queue not in queues:
            continue
        here = [sub for sub in members if sub.route is None]
        if here and _choose(process, None, here, message) is not None:
            continue
        elsewhere = next((sub for sub in members if sub.route is not None), None)
        if elsewhere is not None and elsewhere.route not in (None, route) and elsewhere.queue is not None:
            elsewhere.route.send_message(message, [elsewhere.queue])


def _choose(
    process: Process, source: ClientConnection | None, members: list[Subscription], message: MessageParts
) -> Subscription | None:
    """Deliver to one member of a queue group, from a random one on; a route is only returned."""
    count = len(members)
    first = int(process.random.random() * count) if count > 1 else 0
    for index in range(first, first + count):
        sub = members[index % count]
        if sub.route is not None or _deliver(process, source, sub, message):
            return sub
    return None


def _deliver(process: Process, source: ClientConnection | None, sub: Subscription, message: MessageParts) -> bool:
    client = sub.connection
    if client is None or (client is source and not client.options.echo):
        return False
    subject, reply, header_size, header_text, size_text, data = message
    if client.permissions is not None and client.permissions.withholds(subject, sub.queue):
        return False
    if sub.closed or client.closed:
        return False
    sub.delivered += 1
    if sub.most and sub.delivered >= sub.most:
        client.end_subscription(sub)
    if reply:
        reply += b" "
    if not header_size:
        queued = b"MSG %b %b %b%b\r\n%b" % (subject, sub.sid, reply, size_text, data)
    elif client.headers:
        queued = b"HMSG %b %b %b%b %b\r\n%b" % (subject, sub.sid, reply, header_text, size_text, data)
    else:
        payload = data[header_size:]
        queued = b"MSG %b %b %b%d\r\n%b" % (subject, sub.sid, reply, len(payload) - 2, payload)
        client.out_bytes -= header_size
    client.out_messages += 1
    client.out_bytes += len(data) - 2
    outbound = client.outbound
    if outbound.crowded and source is not None:
        source.stall()
    outbound.add(queued)
    observer = process.observer
    if observer is not None:
        header = data[:header_size] if header_size else None
        observer.delivered(process.host, client.number, sub.sid, reply.rstrip(), header, outbound.queued)
    return True
