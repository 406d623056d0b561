"""Laws about streams and their consumers: what was stored stays, and comes until it is acknowledged.

Must not know the client.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from ...faults import FaultKind
from .._facts import HandedOut
from .._journal import identity_of
from .._server import StreamView
from ._evidence import Evidence, Finding, Law, named

# A consumer's state is on disk so long after it has changed: what a server forgets when it is killed.
CONSUMER_SYNC_SECONDS: Final = 0.1
# A server queues a message to a link as soon as its consumer has handed it out.
_SOON_SECONDS: Final = 0.01


def keeps_what_it_acked(evidence: Evidence) -> Iterator[Finding]:
    """What a PubAck confirmed is in its stream, once; what failed is not; and nothing is there twice.

    For streams that keep their messages (retention by limits that the run does not reach), on servers that run at the
    end, and for publishes with their identity as message id within the duplicate window. Of a stream with replicas the
    one that has most counts; that the others are the same is `replicas_agree`.
    """
    kept: dict[str, Counter[str]] = {}
    for name, replicas in _replicas(evidence).items():
        most = max((stream for _, stream in replicas), key=lambda stream: len(stream.messages))
        kept[name] = Counter(filter(None, (identity_of(message.header) for message in most.messages)))
    for note in evidence.journal.publications.values():
        is_there = note.stream in kept and note.identity in kept[note.stream]
        if note.stream and note.fate == "confirmed" and not is_there:
            yield note.ended_at, f"{note.identity} was confirmed by the stream {note.stream}, and is not in it"
        elif note.stream and note.fate == "failed" and is_there:
            yield note.ended_at, f"{note.identity} is called failed, and is in the stream {note.stream} ({note.reason})"
    for name, found in kept.items():
        for identity, count in found.items():
            if count > 1:
                yield evidence.ended_at, f"{identity} is in the stream {name} {count} times"


def replicas_agree(evidence: Evidence) -> Iterator[Finding]:
    """All replicas of a stream on servers that run at the end have the same messages at the same sequences.

    For runs whose end leaves the replicas the time to catch up: some seconds without faults.
    """
    for name, replicas in _replicas(evidence).items():
        first, expected = replicas[0]
        for server, stream in replicas[1:]:
            if stream.last_sequence != expected.last_sequence:
                ends = f"{expected.last_sequence} on {first} and {stream.last_sequence} on {server}"
                yield evidence.ended_at, f"the stream {name} ends at {ends}"
            elif stream.messages != expected.messages:
                here = {message.sequence: message for message in expected.messages}
                other = {message.sequence: message for message in stream.messages}
                at = min(one for one in here.keys() | other.keys() if here.get(one) != other.get(one))
                yield evidence.ended_at, f"the stream {name} has two messages {at}, on {first} and on {server}"


def delivered_until_acked(stream: str, consumer: str, *, max_deliver: int = -1) -> Law:
    """A durable consumer delivers each message until it is acknowledged or terminated, and at most `max_deliver` times.

    At the end nothing waits: the application must have had the time to read all of it.

    Args:
        stream: the stream's name.
        consumer: the consumer's name; it has no filter.
        max_deliver: how often at the most; -1 = no bound.
    """

    def delivered_until_acked_(evidence: Evidence) -> Iterator[Finding]:
        journal = evidence.journal
        done = {one.sequence for one in journal.acknowledged if (one.stream, one.consumer) == (stream, consumer)}
        deliveries: Counter[int] = Counter()
        for one in _handed_out(evidence, stream, consumer):
            deliveries[one.sequence] = max(deliveries[one.sequence], one.deliveries)
            if 0 < max_deliver < one.deliveries:
                yield one.at, f"{one.identity} was delivered {one.deliveries} times, at most {max_deliver} are allowed"
        for stored in journal.stored:
            if stored.stream != stream or stored.sequence in done:
                continue
            if not 0 < max_deliver <= deliveries[stored.sequence]:
                count = deliveries[stored.sequence]
                text = f"{stored.identity} was delivered {count} times by {consumer} and not acknowledged"
                yield evidence.ended_at, text

    return named(delivered_until_acked_, "delivered_until_acked")


def acked_for_good(evidence: Evidence) -> Iterator[Finding]:
    """What a server has confirmed as acknowledged (`journal.acked`) does not come again.

    Unless the server goes down right behind it: the consumer's state is on disk a tenth of a second later, in which it
    must run; one that a fault of the plan has paused meanwhile writes nothing.
    """
    taken: dict[tuple[str, str, int], float] = {}
    for ack in evidence.journal.acknowledged:
        taken.setdefault((ack.stream, ack.consumer, ack.sequence), ack.at)
    handed_out: dict[tuple[str, str, int], list[HandedOut]] = defaultdict(list)
    for one in evidence.journal.handed_out:
        handed_out[one.stream, one.consumer, one.sequence].append(one)
    for settled in evidence.journal.settled:
        message = settled.stream, settled.consumer, settled.sequence
        since = taken.get(message, settled.at)
        for again in handed_out[message]:
            if again.at <= settled.at:
                continue
            server = evidence.servers.get(again.server)
            downs = () if server is None else server.went_down
            if not any(since <= down <= _on_disk_at(evidence, again.server, since) for down in downs):
                yield again.at, f"{again.identity} came again; its ack was confirmed at {settled.at:.6f} s"


def strands_nothing(ack_wait_seconds: float) -> Law:
    """A message that reached a host, and that its application was not given, is given back at once.

    That it comes again only when its ack wait is over, over a link that lived all the time, is a broken law: a fetch
    that was cancelled or left has kept it.

    Args:
        ack_wait_seconds: of the consumers; more than the clients need to find out that a link is dead.
    """

    def strands_nothing_(evidence: Evidence) -> Iterator[Finding]:
        before: dict[tuple[str, str, int], HandedOut] = {}
        for one in evidence.journal.handed_out:
            last = before.get((one.stream, one.consumer, one.sequence))
            before[one.stream, one.consumer, one.sequence] = one
            if last is None or one.at - last.at < ack_wait_seconds:
                continue
            host = _reached(evidence, last, one.at)
            if host is not None and not _was_given(evidence, host, last, one.at):
                waited = one.at - last.at
                yield last.at, f"{one.identity} reached {host}, nobody was given it, and {waited:.1f} s went by"

    return named(strands_nothing_, "strands_nothing")


def _replicas(evidence: Evidence) -> dict[str, list[tuple[str, StreamView]]]:
    """The streams by name, as each server that runs has them."""
    found: dict[str, list[tuple[str, StreamView]]] = {}
    for name, server in evidence.servers.items():
        for stream in server.streams:
            found.setdefault(stream.name, []).append((name, stream))
    return found


def _on_disk_at(evidence: Evidence, server: str, since: float) -> float:
    """When a change of a consumer is on disk at the latest."""
    at = since + CONSUMER_SYNC_SECONDS
    if evidence.plan is None:
        return at
    began_at = evidence.faults_end_at - evidence.plan.end_seconds
    for fault in evidence.plan.faults:
        starts_at, until = began_at + fault.at_seconds, began_at + fault.end_seconds
        if fault.kind is FaultKind.PAUSE and fault.hosts == (server,) and starts_at <= at and since < until:
            at += until - max(since, starts_at)
    return at


def _handed_out(evidence: Evidence, stream: str, consumer: str) -> Iterator[HandedOut]:
    return (one for one in evidence.journal.handed_out if (one.stream, one.consumer) == (stream, consumer))


def _reached(evidence: Evidence, one: HandedOut, until: float) -> str | None:
    """The host that a delivery reached over a link that lived until then."""
    for queued in evidence.journal.queued:
        soon = 0 <= queued.at - one.at < _SOON_SECONDS
        if queued.server == one.server and soon and one.is_in(queued):
            link = evidence.link(queued.link)
            lived = all(at is None or at > until for at in (link.ended_at, link.left_at))
            if lived and queued.end <= link.received:
                return link.source
    return None


def _was_given(evidence: Evidence, host: str, one: HandedOut, until: float) -> bool:
    """Whether the application on a host was given it meanwhile."""
    return any(
        delivery.identity == one.identity and evidence.host(delivery.who) == host and one.at <= delivery.at <= until
        for delivery in evidence.journal.deliveries
    )
