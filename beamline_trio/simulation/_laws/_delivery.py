"""Laws about messages: what was sent arrives, and nothing else does.

Core NATS is at most once: what a server took while a subscriber was away is gone, and no law here blames anybody for
it. But from the server's last byte on nothing may get lost: what the network handed over to the client's host must
have reached the application.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from .._facts import Publication
from ._evidence import Evidence, Finding, Law, named


def no_loss(evidence: Evidence) -> Iterator[Finding]:
    """Nothing confirmed, accepted or handed over is lost.

    1. What was confirmed, a server had taken by then.
    2. What was accepted without confirmation ("sent", "queued") was written to a link, or its loss was told.
    3. What a server queued to a link, and the network handed over, the application was given.
    """
    journal = evidence.journal
    unwritten: Counter[str] = Counter()
    for note in journal.publications.values():
        if note.fate == "confirmed" and note.identity not in journal.taken:
            yield note.ended_at, f"{note.identity} was confirmed, and no server ever had it"
        elif note.fate == "confirmed" and journal.taken[note.identity][0][0] > note.ended_at:
            late = journal.taken[note.identity][0][0] - note.ended_at
            yield note.ended_at, f"{note.identity} was confirmed {late:.6f} s before a server had it"
        elif note.fate in ("sent", "queued") and not journal.tried(note.identity):
            unwritten[evidence.host(note.publisher)] += 1
    for host, count in unwritten.items():
        told = _told(evidence, host)
        if count > told:
            yield evidence.ended_at, f"{count} messages of {host} were accepted and never sent; {told} were told"
    yield from _handed_over(evidence)


def nothing_invented(evidence: Evidence) -> Iterator[Finding]:
    """The application is given nothing that nobody published, and nothing more often than servers queued it."""
    journal = evidence.journal
    allowed: Counter[tuple[str, str]] = Counter(
        (evidence.link(queued.link).source, queued.identity) for queued in journal.queued
    )
    for delivery in journal.deliveries:
        note = journal.publications.get(delivery.identity)
        if note is None:
            yield delivery.at, f"{delivery.who} was given {delivery.identity}, which nobody published"
            continue
        if note.subject != delivery.subject:
            yield delivery.at, f"{delivery.identity} went to {note.subject} and came as {delivery.subject}"
        key = (evidence.host(delivery.who), delivery.identity)
        allowed[key] -= 1
        if allowed[key] < 0:
            yield delivery.at, f"{delivery.who} was given {delivery.identity} more often than it was sent there"


def sent_once(evidence: Evidence) -> Iterator[Finding]:
    """No publish goes out twice: what was handed to a link is never handed to another one, nor again to the same."""
    journal = evidence.journal
    for identity, links in journal.written.items():
        if len(links) > 1:
            yield journal.links[links[1]], f"{identity} was written to the links {', '.join(map(str, links))}"
    for identity, taken in journal.taken.items():
        if len(taken) > 1:
            yield taken[1][0], f"servers took {identity} {len(taken)} times"


def at_least_once(evidence: Evidence) -> Iterator[Finding]:
    """What was confirmed was delivered to somebody.

    For requests (confirmed means answered), and for publishes whose subscribers are always there: core NATS itself
    does not promise it.
    """
    given = {delivery.identity for delivery in evidence.journal.deliveries}
    for note in evidence.journal.publications.values():
        if note.fate == "confirmed" and note.identity not in given:
            yield note.ended_at, f"{note.identity} was confirmed and never delivered"


def order_by(key: Callable[[Publication], object] | None = None) -> Law:
    """Messages of one key are written, and given to each receiver, in the order in which they were published.

    Given: as far as they went over one link. What is still under way on a link that its client has given up may come
    behind the first messages of the next one, and nobody can help it.

    Args:
        key: of a publication; None = its publisher. What is None for a publication has no order. Messages of one key
            must be published one after another.
    """
    chosen = key if key is not None else _publisher

    def order(evidence: Evidence) -> Iterator[Finding]:
        position = {identity: index for index, identity in enumerate(evidence.journal.publications)}
        yield from _written_in_order(evidence, position, chosen)
        last: dict[tuple[str, object, int], int] = {}
        for delivery in evidence.journal.deliveries:
            note = evidence.journal.publications.get(delivery.identity)
            of = chosen(note) if note is not None else None
            if of is None:
                continue
            here = position[delivery.identity]
            links = evidence.journal.written.get(delivery.identity, [0])
            before = last.get((delivery.who, of, links[0]), -1)
            if here < before:
                yield delivery.at, f"{delivery.who} was given {delivery.identity} behind a later one of {of}"
            last[delivery.who, of, links[0]] = max(here, before)

    return named(order, "order_by")


def at_most(who: str, count: int) -> Law:
    """A receiver is given at most so many messages (a subscription with a maximum, over reconnects too)."""

    def at_most_(evidence: Evidence) -> Iterator[Finding]:
        given = [delivery for delivery in evidence.journal.deliveries if delivery.who == who]
        if len(given) > count:
            yield given[count].at, f"{who} was given {len(given)} messages, and asked for {count}"

    return named(at_most_, "at_most")


def one_of(*who: str) -> Law:
    """The members of a queue group share: each message is given to at most one of them, once.

    Args:
        who: the receivers.
    """

    def one_of_(evidence: Evidence) -> Iterator[Finding]:
        first: dict[str, str] = {}
        for delivery in evidence.journal.deliveries:
            if delivery.who not in who:
                continue
            if delivery.identity in first:
                yield delivery.at, f"{delivery.identity} was given to {first[delivery.identity]} and to {delivery.who}"
            first.setdefault(delivery.identity, delivery.who)

    return named(one_of_, "one_of")


def _written_in_order(
    evidence: Evidence, position: dict[str, int], key: Callable[[Publication], object]
) -> Iterator[Finding]:
    last: dict[object, int] = {}
    for identity, links in evidence.journal.written.items():
        note = evidence.journal.publications.get(identity)
        of = key(note) if note is not None else None
        if of is None:
            continue
        here = position[identity]
        if here < last.get(of, -1):
            yield evidence.journal.links[links[0]], f"{identity} was written behind a later one of {of}"
        last[of] = max(here, last.get(of, -1))


def _handed_over(evidence: Evidence) -> Iterator[Finding]:
    """What reached a host in whole, and not its application.

    A client that moves from one server to another is subscribed on both links for a moment: what comes by both is one.
    """
    journal = evidence.journal
    given: Counter[tuple[str, str]] = Counter(
        (evidence.host(delivery.who), delivery.identity) for delivery in journal.deliveries
    )
    missing: Counter[str] = Counter()
    first: dict[str, Finding] = {}
    brought: dict[tuple[str, str, bytes], list[int]] = {}
    for queued in journal.queued:
        connection = evidence.link(queued.link)
        if queued.end > connection.received:
            continue
        links = brought.setdefault((connection.source, queued.identity, queued.sid), [])
        again = any(evidence.overlap(queued.link, link) for link in links)
        links.append(queued.link)
        if again:
            continue
        key = (connection.source, queued.identity)
        given[key] -= 1
        if given[key] < 0:
            missing[connection.source] += 1
            text = f"{queued.identity} reached the host {connection.source}, and its application was never given it"
            first.setdefault(connection.source, (queued.at, text))
    reported: Counter[str] = Counter()
    for who, count in journal.reported.items():
        reported[evidence.host(who)] += count
    for host, count in missing.items():
        if count > reported[host]:
            at, text = first[host]
            yield at, f"{text} ({count} such messages, {reported[host]} were told)"


def _told(evidence: Evidence, host: str) -> int:
    """How many losses a host was told of by the last books that it handed over."""
    last = next((books for books in reversed(evidence.journal.books) if evidence.host(books.who) == host), None)
    return 0 if last is None else last.ledger.expired + last.ledger.dropped + last.ledger.open


def _publisher(note: Publication) -> object:
    return note.publisher
