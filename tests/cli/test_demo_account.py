"""The demo's account: each message is judged by its own evidence, and a wrong book fails the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import given

from beamline_trio import ConnectionLostError, Ledger, OperationTimeoutError, PendingTimeoutError, State
from beamline_trio.cli.demo._account import (
    IN_WINDOW,
    WINDOW_SECONDS,
    Account,
    Evidence,
    Kill,
    Kind,
    Verdict,
    close_account,
    frames_in_windows,
    judge,
)
from beamline_trio.cli.demo._books import DIED, WITHDRAWN, Book, Fate, Hop, Leg
from beamline_trio.cli.demo._report import Result, as_json, as_text

OLD, NEW = "server-1", "server-2"
KILLED_AT = 10.0
LOST_AT = 10.01
REQUEST, FORWARD = 0, 1


def leg(
    fate: Fate = Fate.OPEN, ended_at: float = 1.0, *, server: str = OLD, reason: str = "", began_at: float = 0.5
) -> Leg:
    """A forwarded message's leg; long before the kill unless said otherwise."""
    ended = float("inf") if fate is Fate.OPEN else ended_at
    confirmed = fate in (Fate.CONFIRMED, Fate.ANSWERED)
    return Leg(fate is Fate.ANSWERED, began_at, fate, ended, server if confirmed else "", reason)


def died(at: float = LOST_AT) -> Leg:
    return leg(Fate.UNKNOWN, at, reason=DIED, began_at=9.9)


def evidence(
    to_router: dict[int, Leg] | None = None, to_receiver: dict[int, Leg] | None = None, **others: Any
) -> Evidence:
    """A run with one kill, in which the receiver's subscriptions were confirmed on both server processes."""
    books = {Hop.TO_ROUTER: Book(), Hop.TO_RECEIVER: Book()}
    books[Hop.TO_ROUTER].legs.update(to_router or {})
    books[Hop.TO_RECEIVER].legs.update(to_receiver or {})
    told = Evidence(
        books=books,
        received=set(),
        receipts=set(),
        interest={OLD: 0.1, NEW: 13.5},
        kills=(Kill(OLD, KILLED_AT),),
        losses={hop: (LOST_AT,) for hop in Hop},
    )
    return attrs.evolve(told, **others)


CONFIRMED = leg(Fate.CONFIRMED)


# What becomes of one message


@pytest.mark.parametrize("last", [CONFIRMED, died(), leg(Fate.FAILED, reason="x"), leg(Fate.ANSWERED), leg()])
def test_what_the_receiver_has_is_delivered_whatever_the_clients_were_told(last: Leg) -> None:
    """A message in the receiver's book is delivered."""
    verdict = judge(FORWARD, evidence({FORWARD: died()}, {FORWARD: last}, received={FORWARD}))
    assert verdict == Verdict(Kind.DELIVERED)


def test_confirmed_on_the_last_hop_and_not_received_is_lost() -> None:
    """A PONG of the last hop, outside the window, with the receiver's interest on that server: lost."""
    verdict = judge(FORWARD, evidence({FORWARD: CONFIRMED}, {FORWARD: CONFIRMED}))
    assert verdict == Verdict(Kind.LOST, Hop.TO_RECEIVER, "confirmed by PONG")


def test_a_reply_for_what_was_not_received_is_lost() -> None:
    """A reply is end to end: the window is no excuse, on either hop."""
    late = leg(Fate.ANSWERED, KILLED_AT)
    assert judge(REQUEST, evidence({REQUEST: late}, {REQUEST: late})).kind is Kind.LOST
    assert judge(REQUEST, evidence({REQUEST: died()}, {REQUEST: late})).kind is Kind.LOST
    assert judge(REQUEST, evidence({REQUEST: late}, {REQUEST: died()})).kind is Kind.LOST


def test_a_receipt_for_what_is_not_in_the_book_is_lost() -> None:
    """What the receiver once told it had, it must have at the end."""
    verdict = judge(FORWARD, evidence({FORWARD: died()}, {FORWARD: died()}, receipts={FORWARD}))
    assert verdict == Verdict(Kind.LOST, Hop.TO_RECEIVER, "the receiver had given its receipt")


@pytest.mark.parametrize(
    "confirmed_at, kind",
    [
        (KILLED_AT - WINDOW_SECONDS - 0.001, Kind.LOST),
        (KILLED_AT - WINDOW_SECONDS, Kind.LOST),
        (KILLED_AT - WINDOW_SECONDS + 0.001, Kind.UNKNOWN),
        (KILLED_AT + 0.005, Kind.UNKNOWN),
    ],
)
@pytest.mark.parametrize("hop", Hop)
def test_the_window_before_the_kill_is_less_than_250_ms(hop: Hop, confirmed_at: float, kind: Kind) -> None:
    """Confirmed less than 250 ms before the kill and not arrived is unknown, 250 ms and more is lost; on each hop."""
    last = leg(Fate.CONFIRMED, confirmed_at, began_at=confirmed_at - 0.001)
    told = evidence({FORWARD: last}) if hop is Hop.TO_ROUTER else evidence({FORWARD: CONFIRMED}, {FORWARD: last})
    verdict = judge(FORWARD, told)
    assert (verdict.kind, verdict.hop) == (kind, hop)
    assert kind is Kind.LOST or verdict.reason == IN_WINDOW


def test_the_window_is_that_of_the_server_process_that_confirmed() -> None:
    """The kill of one server process excuses nothing that another one confirmed."""
    last = leg(Fate.CONFIRMED, 14.0, server=NEW)
    assert judge(FORWARD, evidence({FORWARD: CONFIRMED}, {FORWARD: last})).kind is Kind.LOST


@pytest.mark.parametrize("interest", [{NEW: 13.5}, {OLD: 1.5, NEW: 13.5}])
def test_confirmed_without_the_receivers_interest_is_unaccounted(interest: dict[str, float]) -> None:
    """To send before the receiver's subscriptions are confirmed is a mistake of the demo, never an unknown message."""
    account = close_account(evidence({FORWARD: CONFIRMED}, {FORWARD: CONFIRMED}, interest=interest))
    assert (account.unaccounted, account.unknown, account.lost) == (1, 0, 0)
    assert not account.adds_up
    assert "subscriptions" in account.problems[0]


def test_the_last_leg_decides() -> None:
    """A message that came to the router is judged by the router's hop, whatever the publisher was told."""
    assert judge(FORWARD, evidence({FORWARD: CONFIRMED}, {FORWARD: died()})) == Verdict(
        Kind.UNKNOWN, Hop.TO_RECEIVER, DIED
    )
    assert judge(FORWARD, evidence({FORWARD: died()}, {FORWARD: CONFIRMED})).kind is Kind.LOST
    assert judge(FORWARD, evidence({FORWARD: died()})) == Verdict(Kind.UNKNOWN, Hop.TO_ROUTER, DIED)
    failed = leg(Fate.FAILED, reason="PendingTimeoutError")
    assert judge(FORWARD, evidence({FORWARD: died()}, {FORWARD: failed})) == Verdict(
        Kind.FAILED, Hop.TO_RECEIVER, "PendingTimeoutError"
    )


@pytest.mark.parametrize("identifier", [FORWARD, REQUEST])
def test_without_evidence_a_message_has_no_kind(identifier: int) -> None:
    """A leg that never ended is neither unknown nor lost: the account does not add up."""
    account = close_account(evidence({identifier: leg()}))
    assert (account.published, account.unaccounted) == (1, 1)
    assert not account.adds_up
    assert not account.passed
    assert judge(7, evidence()).kind is Kind.UNACCOUNTED


# What the senders write


@pytest.mark.parametrize(
    "error, fate, reason",
    [
        (ConnectionLostError("gone", sent="maybe"), Fate.UNKNOWN, DIED),
        (ConnectionLostError("exhausted", sent="no"), Fate.FAILED, "ConnectionLostError"),
        (PendingTimeoutError("x"), Fate.FAILED, "PendingTimeoutError"),
        (OperationTimeoutError("x"), Fate.FAILED, "OperationTimeoutError"),
        ("error 500", Fate.FAILED, "error 500"),
    ],
)
def test_only_a_link_that_died_makes_a_leg_unknown(error: Exception | str, fate: Fate, reason: str) -> None:
    """`unknown` needs a message that was written to a link that died; every other error is a failure."""
    written = Book().begin(FORWARD, 1.0, is_request=False)
    written.failed(2.0, error)
    assert (written.fate, written.reason, written.ended_at) == (fate, reason, 2.0)


def test_a_withdrawn_message_failed_and_one_that_was_cut_off_stays_open() -> None:
    """Cancelled without a connection it was never written; cancelled with one nobody knows, and the run must fail."""
    withdrawn, cut = Leg(False, 1.0), Leg(False, 1.0)
    withdrawn.withdrawn(2.0, State.RECONNECTING)
    cut.withdrawn(2.0, State.CONNECTED)
    assert (withdrawn.fate, withdrawn.reason) == (Fate.FAILED, WITHDRAWN)
    assert cut.fate is Fate.OPEN


# The whole account


def ledger(**changes: int) -> Ledger:
    sound = {
        "accepted": 9,
        "open": 0,
        "confirmed": 6,
        "failed": 0,
        "expired": 0,
        "dropped": 0,
        "unknown": 3,
        "skipped": 0,
    }
    return Ledger(**(sound | changes))


def sound_run() -> Evidence:
    """One of each kind that may be."""
    return evidence(
        {
            0: leg(Fate.ANSWERED),
            1: CONFIRMED,
            2: died(),
            3: died(),
            4: leg(Fate.FAILED, reason="x"),
            5: leg(Fate.CONFIRMED, KILLED_AT - 0.1),
        },
        {0: leg(Fate.ANSWERED), 1: CONFIRMED, 2: leg(Fate.ANSWERED, 14.0, server=NEW)},
        received={0, 1, 2},
        receipts={0, 1},
        ledgers={hop: ledger() for hop in Hop},
    )


def test_a_sound_run_adds_up() -> None:
    """The published are the delivered, failed, unknown and lost together, each counted for itself."""
    account = close_account(sound_run())
    assert account.problems == ()
    assert (account.published, account.delivered, account.replied) == (6, 3, 1)
    assert (account.failed, account.unknown, account.lost, account.unaccounted) == (1, 2, 0, 0)
    assert account.adds_up
    assert account.passed


@pytest.mark.parametrize(
    "spoil, word",
    [
        (lambda e: attrs.evolve(e, received={*e.received, 99}), "nobody published: 99"),
        (lambda e: attrs.evolve(e, duplicates=2), "2 messages twice"),
        (lambda e: attrs.evolve(e, ledgers={Hop.TO_ROUTER: ledger(accepted=10)}), "does not add up"),
        (lambda e: attrs.evolve(e, ledgers={Hop.TO_ROUTER: ledger(open=1, confirmed=5)}), "1 open operations"),
        (lambda e: attrs.evolve(e, ledgers={Hop.TO_ROUTER: ledger(unknown=1, confirmed=8)}), "ledger says 1"),
        (lambda e: attrs.evolve(e, losses={}, kills=()), "windows held 0"),
    ],
)
def test_what_must_not_be_fails_the_run(spoil: Callable[[Evidence], Evidence], word: str) -> None:
    """Strangers, duplicates, a ledger that is not closed or knows less than its callers, more unknown than possible."""
    account = close_account(spoil(sound_run()))
    assert any(word in problem for problem in account.problems), account.problems
    assert not account.passed


def test_a_message_that_takes_a_hop_twice_fails_the_run() -> None:
    """The router gets each message once."""
    told = sound_run()
    again = told.books[Hop.TO_RECEIVER].begin(1, 2.0, is_request=False)
    again.succeeded(3.0, OLD)
    assert "took the hop router to receiver twice: 1" in close_account(told).problems[0]


def test_one_lost_message_fails_a_run_that_adds_up() -> None:
    """Lost is counted like any kind: the account adds up, the run does not pass."""
    told = sound_run()
    account = close_account(attrs.evolve(told, received={0, 2}, receipts={0}))
    assert (account.lost, account.adds_up, account.passed) == (1, True, False)


# The bound of unknown


@pytest.mark.parametrize(
    "began_at, ended, inside",
    [
        (9.0, leg(Fate.CONFIRMED, 9.7), False),  # confirmed before the window
        (9.0, leg(Fate.CONFIRMED, 9.8), True),
        (9.9, leg(Fate.UNKNOWN, LOST_AT), True),
        (9.9, leg(Fate.FAILED, 20.0), True),
        (9.9, leg(), True),
        (9.9, leg(Fate.CONFIRMED, 14.0, server=NEW), False),  # never written to the link that died
        (10.5, leg(Fate.CONFIRMED, 14.0, server=NEW), False),
        (10.5, leg(Fate.FAILED, 14.0), False),  # begun when the link was lost already
    ],
)
def test_the_bound_counts_what_was_under_way_in_the_window(began_at: float, ended: Leg, inside: bool) -> None:
    """From 250 ms before the kill to the loss of the link, less what a later server process confirmed."""
    told = evidence({FORWARD: attrs.evolve(ended, began_at=began_at)})
    assert frames_in_windows(Hop.TO_ROUTER, told) == inside


def test_a_link_that_is_lost_without_a_kill_has_a_window_of_its_own() -> None:
    """A client that loses its link for another reason may have unknown messages, and only then."""
    told = evidence({FORWARD: attrs.evolve(died(30.0), began_at=29.9)}, losses={Hop.TO_ROUTER: (LOST_AT, 30.001)})
    assert close_account(told).problems == ()
    assert close_account(attrs.evolve(told, losses={Hop.TO_ROUTER: (LOST_AT,)})).problems != ()


times = st.sampled_from([1.0, 9.7, 9.8, 10.0, LOST_AT, 14.0])
legs = st.builds(
    leg, st.sampled_from(Fate), times, server=st.sampled_from([OLD, NEW]), began_at=st.sampled_from([0.5, 9.9])
)
books = st.dictionaries(st.integers(0, 9), legs, max_size=10)
ids = st.sets(st.integers(0, 9))


@given(first=books, second=books, received=ids, receipts=ids, another=st.integers(0, 9))
def test_every_message_has_exactly_one_kind(
    first: dict[int, Leg], second: dict[int, Leg], received: set[int], receipts: set[int], another: int
) -> None:
    """Whatever the books say, the kinds sum up to what was published; and one more message in the receiver's book
    moves that message to delivered and no other.
    """
    told = evidence(first, second, received=received, receipts=receipts)

    def total(account: Account) -> int:
        return account.delivered + account.failed + account.unknown + account.lost + account.unaccounted

    account = close_account(told)
    assert account.published == len(first) == total(account)
    assert sum(account.reasons.values()) == total(account) - account.delivered
    more = attrs.evolve(told, received=received | {another})
    after = close_account(more)
    assert total(after) == total(account)
    assert after.delivered - account.delivered == (another in first and another not in received)
    assert all(judge(each, more) == judge(each, told) for each in first if each != another)


# How it is told


def result(told: Evidence, *problems: str) -> Result:
    return Result(
        account=close_account(told),
        reconnects={"publisher": 1, "router": 1, "receiver": 1},
        seconds=20.0614,
        publishing_seconds=20.0,
        kills=1,
        problems=problems,
    )


def test_the_json_line_has_the_promised_fields_first() -> None:
    """One line, one object: published, delivered, replied, failed, unknown, lost, reconnects, seconds, then details."""
    line = as_json(result(sound_run()))
    fields = json.loads(line)
    assert "\n" not in line
    assert list(fields)[:8] == [
        "published",
        "delivered",
        "replied",
        "failed",
        "unknown",
        "lost",
        "reconnects",
        "seconds",
    ]
    assert list(fields.values())[:8] == [6, 3, 1, 1, 2, 0, 3, 20.061]
    assert fields["hops"]["publisher to router"]["unknown"] == 2
    assert {"kind": "unknown", "hop": "publisher to router", "reason": IN_WINDOW, "messages": 1} in fields["reasons"]
    assert sum(hop["unknown_bound"] for hop in fields["hops"].values()) == fields["unknown_bound"] >= fields["unknown"]


def test_the_text_says_the_sum_the_reasons_and_the_verdict() -> None:
    """For people: the equation, why messages did not arrive and on which hop, and whether all is well."""
    text = as_text(result(sound_run()))
    assert "published 6 = delivered 3 + failed 1 + unknown 2 + lost 0" in text
    assert f"1 publisher to router: {DIED}" in text
    assert text.endswith("the account adds up, nothing is lost")
    lost = as_text(result(attrs.evolve(sound_run(), received={0, 2}, receipts={0})))
    assert lost.endswith("FAILED: 1 confirmed message(s) lost")
    unsound = as_text(result(evidence({1: leg()})))
    assert "published 1 != delivered 0" in unsound
    assert unsound.endswith("FAILED: the account does not add up")
    late = result(sound_run(), "too late")
    assert not late.passed
    assert "PROBLEM: too late" in as_text(late)
