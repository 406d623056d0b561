"""From a message to those who want it: plain subscriptions, one member of each queue group, other servers, JetStream.

This is the hot path: a message is a few byte strings, and no object is made for it.

Must not know how bytes reach a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ._connection import ClientConnection
    from ._interest import Matches, Subscription
    from ._process import Process
    from ._route import RouteConnection

# Subject, reply or b"", header size or 0 for none, header size and total size as the publisher wrote them, and
# headers, payload and CRLF in one piece.
MessageParts: TypeAlias = tuple[bytes, bytes, int, bytes, bytes, bytes]


def publish(process: Process, source: ClientConnection, message: MessageParts) -> bool:
    """Deliver a client's message; False when nobody was there for it."""
    gateways, to = process.gateways, source.account + message[0]
    if gateways is not None and gateways.ways_back.answer(to, message):
        return True
    matches = process.interest.match(to)
    delivered = False
    for sub in matches.plain:
        if _deliver(process, source, sub, message):
            delivered = True
    if not matches.queues and not matches.beyond and gateways is None:
        return delivered
    found, served = _spread(process, source, matches, to, message, message)
    if gateways is not None and gateways.send(to, message, served):
        return True
    return found or delivered


def publish_from_server(process: Process, to: bytes, message: MessageParts) -> None:
    """Deliver a message of the server's own to those who listen to `to`; they see the subject that it has."""
    gateways = process.gateways
    if gateways is not None and gateways.ways_back.answer(to, message):
        return
    matches = process.interest.match(to)
    for sub in matches.plain:
        _deliver(process, None, sub, message)
    if not matches.queues and not matches.beyond and gateways is None:
        return
    _, served = _spread(process, None, matches, to, message, message)
    if gateways is not None:
        gateways.send(to, message, served)


def publish_from_gateway(process: Process, to: bytes, message: MessageParts, queues: list[bytes]) -> None:
    """Deliver what a server of another region has sent here: in this region, and to the queue groups it named."""
    matches = process.interest.match(to)
    here = _as_seen_here(process, message)
    for sub in matches.plain:
        _deliver(process, None, sub, here)
    _spread(process, None, matches, to, here, message, queues)


def publish_from_route(
    process: Process, route: RouteConnection, to: bytes, message: MessageParts, queues: list[bytes]
) -> None:
    """Deliver what another server has routed here: to all plain subscriptions, and to the queue groups it named.

    Members here come first. Should a group have none any more, the message goes on to a server that has.
    """
    matches = process.interest.match(to)
    here = _as_seen_here(process, message)
    for sub in matches.plain:
        _deliver(process, None, sub, here)
    for sub in matches.beyond:
        if sub.service is not None:
            sub.service(here, None)
    for members in matches.queues:
        if members[0].queue not in queues:
            continue
        own = [sub for sub in members if sub.route is None]
        if own and _choose(process, None, own, here) is not None:
            continue
        elsewhere = next((sub for sub in members if sub.route is not None), None)
        if elsewhere is not None and elsewhere.route not in (None, route) and elsewhere.queue is not None:
            elsewhere.route.send_message(to, message, [elsewhere.queue])


def _as_seen_here(process: Process, message: MessageParts) -> MessageParts:
    return message if process.gateways is None else process.gateways.ways_back.take_off(message)


def _spread(
    process: Process,
    source: ClientConnection | None,
    matches: Matches,
    to: bytes,
    here: MessageParts,
    onward: MessageParts,
    wanted: list[bytes] | None = None,
) -> tuple[bool, list[bytes]]:
    """Deliver to parts of the server, queue groups and servers behind routes.

    Args:
        process: of the server.
        source: the client that it comes from, if it does.
        matches: of `to`.
        to: the subject that it goes to.
        here: the message as it is seen here.
        onward: the message as it goes on to other servers.
        wanted: only these queue groups; None = all.

    Returns:
        Whether anybody was there, and the queue groups that have it.
    """
    delivered, served = False, []
    targets: dict[RouteConnection, list[bytes]] = {}
    for sub in matches.beyond:
        if sub.route is not None:
            targets[sub.route] = []
        elif sub.service is not None and sub.service(here, source):
            delivered = True
    for members in matches.queues:
        queue = members[0].queue
        if queue is None or (wanted is not None and queue not in wanted):
            continue
        chosen = _choose(process, source, members, here)
        if chosen is None:
            continue
        served.append(queue)
        delivered = True
        if chosen.route is not None:
            targets.setdefault(chosen.route, []).append(queue)
    for route, queues in targets.items():
        route.send_message(to, onward, queues)
        delivered = True
    return delivered, served


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
