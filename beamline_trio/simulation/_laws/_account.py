"""The account of everything that clients took in: nothing is lost silently.

    accepted = confirmed + failed + expired + dropped + unknown

That is what a client says of itself, in its ledger. Here it is held against what was seen from outside: each message on
the wire and at the servers, and what the application was told, by an outcome, an error or an event.

Must not know the client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import attrs

from .._facts import Books, Publication
from ._evidence import Evidence, Finding

FIGURES: Final = ("accepted", "confirmed", "failed", "expired", "dropped", "unknown")
# By these the application was told that a publish was taken in, and not what becomes of it.
_TAKEN_IN: Final = ("sent", "queued", "dropped")


def nothing_lost_silently(evidence: Evidence) -> Iterator[Finding]:
    """Whatever was accepted was confirmed, failed, expired, was dropped or is unknown; each once, and all were told.

    For clients whose books were handed over behind their end (`journal.note_end`), and whose `Dropped` events were
    noted (`journal.dropped`):

    1. In the ledger nothing is open any more, and it adds up.
    2. What it calls expired or dropped was told by events, as many and no more; and what was taken in and never written
       to a link was among them.
    3. What no server took was written to a link that died before it was confirmed; and no more are unknown than were
       written to such links, with no answer on them to anything that was written behind. (A refusal does not say which
       publish it is about: so many more may be unknown as were refused.)
    4. As many were accepted as were seen on the wire, or told by an event (where all publishes are journaled).
    5. What a drain could not deliver is what its error says.
    """
    for loss in _Audit(evidence).losses():
        yield loss.at, loss.text


def account(evidence: Evidence) -> dict[str, int]:
    """The sums of all ledgers at the ends of their clients, and what was lost: figures for `@laws(figures=...)`."""
    audit = _Audit(evidence)
    sums = {name: sum(getattr(books.ledger, name) for books in audit.last) for name in FIGURES}
    return {**sums, "lost": sum(loss.count for loss in audit.losses())}


@attrs.frozen
class _Loss:
    """So many messages of which nobody was told the truth, when it shows, and how."""

    at: float
    count: int
    text: str


class _Audit:
    """One run's account."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._journal = evidence.journal
        self.last = list({books.who: books for books in self._journal.books}.values())
        self._closed = self._closed_in_order()
        self._answered = set(self._answered_behind())

    def losses(self) -> Iterator[_Loss]:
        """All that is lost."""
        for books in self.last:
            yield from self._unaccounted(books)
            yield from self._untold(books)
        yield from self._undelivered()
        yield from self._vanished()
        yield from self._unwritten()
        for host in dict.fromkeys(self._evidence.host(books.who) for books in self.last):
            of_host = [books for books in self.last if self._evidence.host(books.who) == host]
            if all(books.complete for books in of_host):
                yield from self._miscounted(host, of_host)

    def _ends(self) -> Iterator[tuple[Books, Books]]:
        """The books right before the end of a client, and those behind it."""
        before: dict[str, Books] = {}
        for books in self._journal.books:
            since = before.get(books.who)
            before[books.who] = books
            if books.undelivered is not None and since is not None:
                yield since, books

    def _closed_in_order(self) -> set[int]:
        """Links that a client had at its end, which left nothing unknown: on these everything was confirmed."""
        closed: set[int] = set()
        for since, books in self._ends():
            if books.undelivered is not None and not books.undelivered[1]:
                for number in self._journal.links:
                    link = self._evidence.link(number)
                    is_its_own = link.source == self._evidence.host(books.who) and link.opened_at <= books.at
                    if is_its_own and (link.left_at is None or link.left_at >= since.at):
                        closed.add(number)
        return closed

    def _died(self, note: Publication) -> bool:
        """Whether a link died that it was written to, and may have taken it along."""
        links = self._journal.tried(note.identity)
        return any(self._evidence.link(link).ended_at is not None and link not in self._closed for link in links)

    def _answered_behind(self) -> Iterator[tuple[str, int]]:
        """What the client was shown to have arrived on a link: it got an answer to that, or to what it wrote behind."""
        for link, identities in self._journal.on_link.items():
            if self._evidence.moved_from(link):
                continue  # answers may have come by the next link, and prove nothing there
            shown = [at for at, identity in enumerate(identities, 1) if self._is_answered(identity, link)]
            for identity in identities[: max(shown, default=0)]:
                yield identity, link

    def _is_answered(self, identity: str, link: int) -> bool:
        note = self._journal.publications.get(identity)
        return note is not None and note.fate == "confirmed" and self._journal.tried(identity) == [link]

    def _may_be_unknown(self, note: Publication) -> bool:
        """Whether a link died that it was written to, before any answer to that, or to what was written behind."""
        return any(
            self._evidence.link(link).ended_at is not None
            and link not in self._closed
            and (note.identity, link) not in self._answered
            for link in self._journal.tried(note.identity)
        )

    # What clients say

    def _unaccounted(self, books: Books) -> Iterator[_Loss]:
        ledger = books.ledger
        missing = ledger.accepted - sum(getattr(ledger, name) for name in FIGURES[1:])
        if missing:
            yield _Loss(books.at, abs(missing), f"{missing} publishes of {books.who} came to no end at all: {ledger}")

    def _untold(self, books: Books) -> Iterator[_Loss]:
        """Events tell of exactly what was given up before it was written."""
        told = sum(one.count for one in self._journal.withheld if one.who == books.who)
        counted = books.ledger.expired + books.ledger.dropped
        if told != counted:
            text = f"{books.who} has given up {counted} publishes unsent, and told of {told} by events"
            yield _Loss(books.at, abs(counted - told), text)

    def _undelivered(self) -> Iterator[_Loss]:
        for since, books in self._ends():
            new, old = books.ledger, since.ledger
            counted = new.expired + new.dropped - old.expired - old.dropped, new.unknown - old.unknown
            told = books.undelivered
            if told is not None and counted != told:
                text = f"the end of {books.who} left {counted} publishes unsent and unknown, and told of {told}"
                yield _Loss(books.at, abs(counted[0] - told[0]) + abs(counted[1] - told[1]), text)

    # What was seen

    def _vanished(self) -> Iterator[_Loss]:
        """What is not what it is called: confirmed, and no server had it; unknown or sent, and its link lives."""
        for note in self._journal.publications.values():
            if note.identity in self._journal.taken or note.fate not in ("confirmed", "unknown", *_TAKEN_IN):
                continue
            written = bool(self._journal.tried(note.identity))
            if note.fate == "confirmed":
                yield _Loss(note.ended_at, 1, f"{note.identity} was confirmed, and no server ever had it")
            elif note.fate == "unknown" and not written:
                yield _Loss(note.ended_at, 1, f"{note.identity} is called unknown, and was not written ({note.reason})")
            elif written and not self._died(note):
                yield _Loss(note.ended_at, 1, f"{note.identity} is {note.fate}, no server took it, and its link lives")

    def _unwritten(self) -> Iterator[_Loss]:
        """Taken in, and never written: events of this host and subject tell of it."""
        silent: Counter[tuple[str, str]] = Counter(
            (self._evidence.host(note.publisher), note.subject)
            for note in self._journal.publications.values()
            if note.fate in _TAKEN_IN and not self._journal.tried(note.identity)
        )
        told: Counter[tuple[str, str]] = Counter()
        for one in self._journal.withheld:
            told[self._evidence.host(one.who), one.subject] += one.count
        for (host, subject), count in silent.items():
            missing = count - told[host, subject]
            if missing > 0:
                text = (
                    f"{count} publishes of {host} to {subject} were taken in and never written; {count - missing} told"
                )
                yield _Loss(self._evidence.ended_at, missing, text)

    def _miscounted(self, host: str, last: list[Books]) -> Iterator[_Loss]:
        """The ledgers of a host against what was seen of its publishes on the wire."""
        notes = [note for note in self._journal.publications.values() if self._evidence.host(note.publisher) == host]
        written = [note for note in notes if self._journal.tried(note.identity)]
        told = sum(one.count for one in self._journal.withheld if self._evidence.host(one.who) == host)
        at = max(books.at for books in last)
        accepted, unknown, confirmed, failed = (
            sum(getattr(books.ledger, name) for books in last)
            for name in ("accepted", "unknown", "confirmed", "failed")
        )
        if accepted != len(written) + told:
            text = f"{host} has accepted {accepted} publishes; {len(written)} were written and {told} given up"
            yield _Loss(at, abs(accepted - len(written) - told), text)
        most = sum(map(self._may_be_unknown, written)) + failed
        if unknown > most:
            text = f"{host} says {unknown} are unknown; {most} were written to dead links with no answer behind them"
            yield _Loss(at, unknown - most, text)
        taken = sum(note.identity in self._journal.taken for note in written)
        if confirmed > taken:
            yield _Loss(at, confirmed - taken, f"{host} says {confirmed} are confirmed; servers took {taken}")
