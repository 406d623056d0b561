"""The account of a run: the judgement of each message by its own evidence, and the checks of the whole.

A message takes two hops, publisher to router and router to receiver; each hop has a book with one leg per message:
when it was sent, how it ended, on which server process. A message that the receiver has is delivered. Of any other the
last leg decides, so that `published = delivered + failed + unknown + lost` is a check: nothing is a difference.

- failed: the client told the caller an error, and nothing was sent or nobody answered;
- unknown: it was written to a link that died before its confirmation, or the server confirmed it so shortly before it
  was killed that it may not have passed it on (core NATS is at most once);
- lost: confirmed, and all the same not in the receiver's book. A message without any evidence never gets a kind: it is
  unaccounted for, and the run fails.

Must not do I/O or know a clock.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import attrs

from ...connection import Ledger
from ._books import Book, Fate, Hop, Leg

# A server that has sent the PONG needs a moment to pass the message on; killed in that moment, it takes it along.
WINDOW_SECONDS: Final = 0.25
IN_WINDOW: Final = "confirmed by PONG less than 250 ms before the kill"
_EXAMPLES_MAX: Final = 10


@attrs.frozen
class Kill:
    """The end of one server process, in trio's time."""

    server: str
    at: float


@attrs.frozen(kw_only=True)
class Evidence:
    """Everything that is known at the end of a run.

    Attributes:
        books: what the clients were told.
        received: the receiver's book.
        duplicates: how many messages the receiver got once more.
        receipts: ids the receiver told it had, while the run lasted.
        interest: server process -> when it was told that the receiver's subscriptions are confirmed there.
        kills: the ends of server processes.
        losses: per hop, when its sender's link was lost, in trio's time.
        ledgers: per hop, the account of its sender's client.
        drained: whether the senders' clients were drained; without that their ledgers may have open operations.
    """

    books: Mapping[Hop, Book]
    received: Collection[int]
    receipts: Collection[int]
    interest: Mapping[str, float]
    duplicates: int = 0
    kills: tuple[Kill, ...] = ()
    losses: Mapping[Hop, tuple[float, ...]] = attrs.field(factory=dict)
    ledgers: Mapping[Hop, Ledger] = attrs.field(factory=dict)
    drained: bool = True

    def leg(self, hop: Hop, identifier: int) -> Leg | None:
        """A message's leg on a hop."""
        return self.books[hop].legs.get(identifier)


class Kind(enum.StrEnum):
    """What a message is counted as."""

    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    LOST = "lost"
    UNACCOUNTED = "unaccounted"


@attrs.frozen
class Verdict:
    """A message's kind, and for all but delivered ones the hop and the reason."""

    kind: Kind
    hop: Hop | None = None
    reason: str = ""


_DELIVERED: Final = Verdict(Kind.DELIVERED)


def judge(identifier: int, evidence: Evidence) -> Verdict:
    """What became of a message, by its own evidence."""
    if identifier in evidence.received:
        return _DELIVERED
    to_router = evidence.leg(Hop.TO_ROUTER, identifier)
    to_receiver = evidence.leg(Hop.TO_RECEIVER, identifier)
    if to_router is not None and to_router.fate is Fate.ANSWERED:
        return Verdict(Kind.LOST, Hop.TO_RECEIVER, "the publisher has the reply to it")
    if identifier in evidence.receipts:
        return Verdict(Kind.LOST, Hop.TO_RECEIVER, "the receiver had given its receipt")
    if to_receiver is not None:
        return _judge_leg(Hop.TO_RECEIVER, to_receiver, evidence)
    if to_router is not None:
        return _judge_leg(Hop.TO_ROUTER, to_router, evidence)
    return Verdict(Kind.UNACCOUNTED, None, "in no book")


def _judge_leg(hop: Hop, leg: Leg, evidence: Evidence) -> Verdict:
    """What became of a message that came no further than this leg."""
    if leg.fate is Fate.FAILED:
        return Verdict(Kind.FAILED, hop, leg.reason)
    if leg.fate is Fate.UNKNOWN:
        return Verdict(Kind.UNKNOWN, hop, leg.reason)
    if leg.fate is Fate.ANSWERED:
        return Verdict(Kind.LOST, hop, "the sender has the reply to it")
    if leg.fate is Fate.CONFIRMED:
        return _judge_confirmed(hop, leg, evidence)
    return Verdict(Kind.UNACCOUNTED, hop, "the client never told its fate")


def _judge_confirmed(hop: Hop, leg: Leg, evidence: Evidence) -> Verdict:
    if any(kill.server == leg.server and leg.ended_at > kill.at - WINDOW_SECONDS for kill in evidence.kills):
        return Verdict(Kind.UNKNOWN, hop, IN_WINDOW)
    if hop is Hop.TO_RECEIVER and leg.ended_at < evidence.interest.get(leg.server, float("inf")):
        return Verdict(Kind.UNACCOUNTED, hop, "sent before the receiver's subscriptions were confirmed")
    return Verdict(Kind.LOST, hop, "confirmed by PONG")


def frames_in_windows(hop: Hop, evidence: Evidence) -> int:
    """How many messages of a hop can be unknown: the most that `unknown` may say of it.

    A window opens WINDOW_SECONDS before the kill (or before the loss of a link that nobody killed) and closes when the
    link is lost. In it are the messages that were under way at any of its moments, less those that another server
    process confirmed later: they were written to a later link. It goes by times and servers alone, not by fates.
    """
    windows = _windows(evidence.kills, evidence.losses.get(hop, ()))
    return sum(
        any(
            leg.began_at <= closes and leg.ended_at > opens and (server is None or leg.server in ("", server))
            for opens, closes, server in windows
        )
        for leg in evidence.books[hop].legs.values()
    )


def _windows(kills: Iterable[Kill], losses: Iterable[float]) -> list[tuple[float, float, str | None]]:
    """(opens, closes, server process) of each kill and of each loss without one."""
    left = sorted(losses)
    windows: list[tuple[float, float, str | None]] = []
    for kill in kills:
        lost = next((loss for loss in left if loss >= kill.at), None)
        if lost is not None:
            left.remove(lost)
        windows.append((kill.at - WINDOW_SECONDS, kill.at if lost is None else lost, kill.server))
    windows += [(loss - WINDOW_SECONDS, loss, None) for loss in left]
    return windows


@attrs.frozen(kw_only=True)
class Account:
    """The end of a run.

    Attributes:
        published: messages the publisher gave to its client.
        delivered: those in the receiver's book. `replied`: messages to whose publisher the reply came.
        unaccounted: messages without evidence; the account does not add up with one of them.
        unknown_bounds: per hop, the most that may be unknown, see `frames_in_windows`.
        reasons: (kind, hop, reason) -> messages, of all that were not delivered.
        fates: per hop, how its legs ended.
        problems: everything that must not be, in words.
    """

    published: int
    delivered: int
    replied: int
    failed: int
    unknown: int
    lost: int
    unaccounted: int
    unknown_bounds: Mapping[Hop, int]
    reasons: Mapping[Verdict, int]
    fates: Mapping[Hop, Mapping[Fate, int]]
    problems: tuple[str, ...]

    @property
    def adds_up(self) -> bool:
        """Whether every published message has one kind, and nothing else is wrong."""
        return not self.problems and self.published == self.delivered + self.failed + self.unknown + self.lost

    @property
    def passed(self) -> bool:
        """Whether it adds up and nothing is lost."""
        return self.adds_up and self.lost == 0


def close_account(evidence: Evidence) -> Account:
    """Judge every published message and check the whole."""
    verdicts = {identifier: judge(identifier, evidence) for identifier in evidence.books[Hop.TO_ROUTER].legs}
    kinds = Counter(verdict.kind for verdict in verdicts.values())
    bounds = {hop: frames_in_windows(hop, evidence) for hop in Hop}
    return Account(
        published=len(verdicts),
        delivered=kinds[Kind.DELIVERED],
        replied=evidence.books[Hop.TO_ROUTER].count(Fate.ANSWERED),
        failed=kinds[Kind.FAILED],
        unknown=kinds[Kind.UNKNOWN],
        lost=kinds[Kind.LOST],
        unaccounted=kinds[Kind.UNACCOUNTED],
        unknown_bounds=bounds,
        reasons=Counter(verdict for verdict in verdicts.values() if verdict is not _DELIVERED),
        fates={hop: {fate: evidence.books[hop].count(fate) for fate in Fate} for hop in Hop},
        problems=tuple(_problems(verdicts, bounds, evidence)),
    )


def _problems(verdicts: Mapping[int, Verdict], bounds: Mapping[Hop, int], evidence: Evidence) -> Iterable[str]:
    unaccounted = [identifier for identifier, verdict in verdicts.items() if verdict.kind is Kind.UNACCOUNTED]
    if unaccounted:
        why = {verdicts[identifier].reason for identifier in unaccounted}
        yield f"{len(unaccounted)} messages have no evidence ({'; '.join(sorted(why))}): {_some(unaccounted)}"
    for hop, bound in bounds.items():
        unknown = sum(verdict.kind is Kind.UNKNOWN and verdict.hop is hop for verdict in verdicts.values())
        if unknown > bound:
            yield f"{unknown} messages are unknown on the hop {hop}, its windows held {bound}"
    strangers = [identifier for identifier in evidence.received if identifier not in verdicts]
    if strangers:
        yield f"the receiver has {len(strangers)} messages that nobody published: {_some(strangers)}"
    if evidence.duplicates:
        yield f"the receiver got {evidence.duplicates} messages twice"
    for hop, book in evidence.books.items():
        if book.repeated:
            yield f"{len(book.repeated)} messages took the hop {hop} twice: {_some(book.repeated)}"
    for hop, ledger in evidence.ledgers.items():
        yield from _ledger_problems(hop, ledger, evidence.books[hop], drained=evidence.drained)


def _ledger_problems(hop: Hop, ledger: Ledger, book: Book, *, drained: bool) -> Iterable[str]:
    """The client's own account must add up, be closed, and know at least the unknown publishes that its callers know.

    Requests are left out of the last: the server may have confirmed one whose reply the link took along.
    """
    if not ledger.balanced:
        yield f"the ledger of the sender {hop} does not add up: {ledger}"
    if ledger.open and drained:
        yield f"the ledger of the sender {hop} has {ledger.open} open operations after the drain"
    told = sum(leg.fate is Fate.UNKNOWN and not leg.is_request for leg in book.legs.values())
    if told > ledger.unknown:
        yield f"{told} publishes of the hop {hop} are unknown, the client's ledger says {ledger.unknown}"


def _some(identifiers: list[int]) -> str:
    rest = len(identifiers) - _EXAMPLES_MAX
    return ", ".join(map(str, identifiers[:_EXAMPLES_MAX])) + (f" and {rest} more" if rest > 0 else "")
