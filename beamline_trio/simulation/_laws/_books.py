"""Laws about what the client says of itself: its books are true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import attrs

from .._facts import Books
from ._evidence import Evidence, Finding, Law, named

# Names, since the simulation does not know the client. What may become less; accepted by what a cancellation withdraws.
_GAUGES: Final = ("accepted", "open", "requests_inflight", "pending_operations", "pending_bytes", "subscriptions")
# Errors by which a server tells that it had the message, and refused it or had nobody for it.
_ANSWERS: Final = ("PermissionsError", "NoRespondersError", "ServerError")


def honest_unknown(evidence: Evidence) -> Iterator[Finding]:
    """What is called unknown was written to a link that died; what is called failed was taken by no server.

    And when a call has failed, or was cancelled, its message goes to no link that begins afterwards. What the
    server answers itself (a permission, no responders) is a failure too, and it had the message then: not judged.
    """
    journal = evidence.journal
    for note in journal.publications.values():
        links = journal.tried(note.identity)
        if note.fate == "unknown":
            died = [link for link in links if evidence.link(link).ended_at is not None]
            timed_out = note.reason.startswith("OperationTimeoutError")
            if not links:
                yield note.ended_at, f"{note.identity} is called unknown, and was never written ({note.reason})"
            elif not died and not timed_out:
                yield note.ended_at, f"{note.identity} is called unknown, and its link lives ({note.reason})"
        elif note.fate in ("failed", "cancelled") and any(journal.links[link] > note.ended_at for link in links):
            yield note.ended_at, f"{note.identity} is {note.fate}, and was written to a link afterwards ({note.reason})"
        elif note.stream:  # whether it failed is for its stream to say: `keeps_what_it_acked`
            continue
        elif note.fate == "failed" and note.identity in journal.taken and not note.reason.startswith(_ANSWERS):
            yield note.ended_at, f"{note.identity} is called not sent, and a server took it ({note.reason})"


def fails_only_by(*errors: str) -> Law:
    """A call that fails does so by one of these errors.

    Args:
        errors: names of classes, such as "PendingFullError". Unknown fates are not judged here.
    """

    def fails_only_by_(evidence: Evidence) -> Iterator[Finding]:
        for note in evidence.journal.publications.values():
            if note.fate == "failed" and note.reason.split(":", 1)[0] not in errors:
                yield note.ended_at, f"{note.identity} failed by {note.reason or 'an error'}"

    return named(fails_only_by_, "fails_only_by")


def books_balance(evidence: Evidence) -> Iterator[Finding]:
    """The ledger adds up and has no negative entry whenever it is looked at, and nothing waits for ever.

    What only grows never shrinks.

    In a quiet system (the last books, behind the last fault) no operation is open or pending, and no request that
    nobody waits for. Of a host that journals all its publishes, the unknown are at most the frames that went to links
    that died, and the confirmed at most what servers took.
    """
    for books in evidence.journal.books:
        ledger = books.ledger
        if not ledger.balanced or min(attrs.astuple(ledger)) < 0:
            yield books.at, f"the ledger of {books.who} does not add up: {ledger}"
        if books.statistics.pending_operations < 0 or books.statistics.pending_operations > max(ledger.open, 0):
            pending = books.statistics.pending_operations
            yield books.at, f"{books.who} says {pending} operations are pending, and {ledger.open} are open"
    yield from _shrunk(evidence)
    yield from _quiet(evidence)
    yield from _unknown(evidence)


def _shrunk(evidence: Evidence) -> Iterator[Finding]:
    last: dict[str, Books] = {}
    for books in evidence.journal.books:
        before = last.get(books.who)
        last[books.who] = books
        if before is None:
            continue
        for kind in ("ledger", "statistics"):
            new, old = _fields(getattr(books, kind)), _fields(getattr(before, kind))
            for name, value in new.items():
                if isinstance(value, int) and name not in _GAUGES and value < old[name]:
                    yield books.at, f"{books.who} says {name} is {value}; it was {old[name]} before, and only grows"


def _fields(record: Any) -> dict[str, Any]:
    return attrs.asdict(record, recurse=False) if attrs.has(type(record)) else vars(record)


def _quiet(evidence: Evidence) -> Iterator[Finding]:
    last = {books.who: books for books in evidence.journal.books if books.at >= evidence.faults_end_at}
    for who, books in last.items():
        if books.statistics.pending_operations or books.statistics.pending_bytes:
            yield books.at, f"{who} is connected and says {books.statistics.pending_operations} operations are pending"
        if books.ledger.open and books.at > evidence.faults_end_at:
            yield books.at, f"{who} is quiet and says {books.ledger.open} publishes are open"
        waiting = _waiting(evidence, who, books.at)
        if books.statistics.requests_inflight > waiting:
            yield books.at, f"{who} says {books.statistics.requests_inflight} requests wait; {waiting} calls do"


def _unknown(evidence: Evidence) -> Iterator[Finding]:
    """Only for hosts whose every publish is journaled does the network's count bind the ledger's."""
    died: Counter[str] = Counter()
    for identity in evidence.journal.publications:
        for link in evidence.journal.tried(identity):
            connection = evidence.link(link)
            died[connection.source] += connection.ended_at is not None
    for who, books in {books.who: books for books in evidence.journal.books}.items():
        most = died[evidence.host(who)]
        if books.ledger.accepted > _journaled(evidence, who) or _has_streams(evidence, who):
            continue
        if books.ledger.unknown > most:
            yield books.at, f"{who} says {books.ledger.unknown} are unknown; {most} were written to links that died"
        taken = _taken(evidence, who)
        if books.ledger.confirmed > taken:
            yield books.at, f"{who} says {books.ledger.confirmed} are confirmed; servers took {taken}"


def _waiting(evidence: Evidence, who: str, at: float) -> int:
    """How many calls of a host were under way at a moment."""
    host = evidence.host(who)
    return sum(
        note.began_at <= at and (note.fate == "open" or note.ended_at >= at)
        for note in evidence.journal.publications.values()
        if evidence.host(note.publisher) == host
    )


def _taken(evidence: Evidence, who: str) -> int:
    """How many messages of a host servers took."""
    host = evidence.host(who)
    publications = evidence.journal.publications
    return sum(
        identity in publications and evidence.host(publications[identity].publisher) == host
        for identity in evidence.journal.taken
    )


def _has_streams(evidence: Evidence, who: str) -> bool:
    """Whether a host publishes to streams: one message may go out more than once then."""
    host = evidence.host(who)
    return any(note.stream and evidence.host(note.publisher) == host for note in evidence.journal.publications.values())


def _journaled(evidence: Evidence, who: str) -> int:
    host = evidence.host(who)
    return sum(evidence.host(note.publisher) == host for note in evidence.journal.publications.values())
