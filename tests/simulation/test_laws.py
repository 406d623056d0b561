"""The laws see what they are for, and nothing else: each is shown a history in which it holds, and one it must refuse.

The histories are made by hand, from the facts that the journal and the network would have noted.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from beamline_trio.simulation import (
    Fault,
    FaultKind,
    Law,
    Plan,
    at_least_once,
    at_most,
    books_balance,
    bounded_calls,
    every_call_ends,
    fails_only_by,
    honest_unknown,
    no_loss,
    nothing_invented,
    notices_end,
    notices_silence,
    one_of,
    order_by,
    paced_dials,
    recovers,
    sent_once,
    settles,
    told_at_loss,
)
from beamline_trio.simulation._facts import (
    Queued,
)
from tests.simulation._history import APP_LINK, BILLING_LINK, Connection, Dialled, History


def _was_confirmed_and_never_taken(history: History) -> None:
    del history.journal.taken[history.publish(1)]


def _was_confirmed_too_early(history: History) -> None:
    history.journal.taken[history.publish(1)] = [(1.5, APP_LINK)]


def _was_accepted_and_never_written(history: History) -> None:
    del history.journal.written[history.publish(1, "queued")]


def _was_handed_over_and_not_given(history: History) -> None:
    history.publish(1)
    history.queue(1)


def _was_handed_over_twice_and_given_once(history: History) -> None:
    history.pass_on(1)
    history.queue(1, end=200)


def _nobody_published_it(history: History) -> None:
    history.give(7)


def _was_given_twice(history: History) -> None:
    history.pass_on(1)
    history.give(1)


def _came_under_another_subject(history: History) -> None:
    history.publish(1)
    history.queue(1)
    history.give(1, subject="t")


def _was_confirmed_and_given_to_nobody(history: History) -> None:
    history.publish(1)


def _came_out_of_order(history: History) -> None:
    history.publish(1)
    history.publish(2)
    history.give(2)
    history.give(1)


def _went_out_of_order(history: History) -> None:
    history.publish(1)
    history.publish(2)
    history.journal.written["app/1"] = history.journal.written.pop("app/1")


def _went_to_two_links(history: History) -> None:
    history.journal.written[history.publish(1)] = [APP_LINK, BILLING_LINK]


def _went_twice_to_one_link(history: History) -> None:
    history.journal.taken[history.publish(1)] *= 2


def _was_given_to_two_members(history: History) -> None:
    history.pass_on(1)
    history.give(1, "audit")


def _came_once_too_often(history: History) -> None:
    history.pass_on(1, 2, 3)


def _never_ended(history: History) -> None:
    history.publish(1, "open")


def _lasted_too_long(history: History) -> None:
    history.publish(1, "cancelled")
    history.journal.publications["app/1"].ended_at = 40.0


def _is_waiting_still(history: History) -> None:
    history.publish(1, "open", at=180.0)


def _unknown_was_never_written(history: History) -> None:
    del history.journal.written[history.publish(1, "unknown")]


def _unknown_went_to_a_link_that_lives(history: History) -> None:
    history.publish(1, "unknown", reason="ConnectionLostError: x")


def _failed_and_was_taken(history: History) -> None:
    history.publish(1, "failed", reason="PendingTimeoutError: never sent")


def _was_cancelled_and_went_out_later(history: History) -> None:
    history.journal.written[history.publish(1, "cancelled")] = [BILLING_LINK]
    history.journal.links[BILLING_LINK] = 20.0


def _the_ledger_does_not_add_up(history: History) -> None:
    history.book(accepted=2, confirmed=1)


def _the_ledger_is_negative(history: History) -> None:
    history.book(accepted=0, open=1, confirmed=-1)


def _more_are_pending_than_open(history: History) -> None:
    history.book(at=10.0, pending=3, accepted=2, open=2)


def _pending_for_ever(history: History) -> None:
    history.book(pending=1, accepted=1, open=1)


def _open_for_ever(history: History) -> None:
    history.book(accepted=1, open=1)


def _unknown_for_no_reason(history: History) -> None:
    history.publish(1, "unknown")
    history.book(accepted=1, unknown=1)


def _confirmed_more_than_were_taken(history: History) -> None:
    history.publish(1)
    del history.journal.taken[history.publish(2, "unknown")]
    history.book(accepted=2, confirmed=2)


def _a_request_waits_for_nobody(history: History) -> None:
    history.publish(1, "cancelled")
    history.book(requests=1)


def _a_counter_shrinks(history: History) -> None:
    history.publish(1)
    history.publish(2)
    history.book(at=10.0, accepted=2, confirmed=2)
    history.book(at=11.0, accepted=1, confirmed=1)


def _fails_by_an_error_of_another_kind(history: History) -> None:
    history.publish(1, "failed", reason="ConnectionLostError: nothing was sent")


def _one_publisher_begins_nothing(history: History) -> None:
    history.pass_on(*range(1, 30), at=100.0)


def _the_first_attempt_comes_late(history: History) -> None:
    history.links[APP_LINK].left_at = 40.0
    history.dials["app"] = [Dialled(0.0, 0.1, True), Dialled(43.0, 43.1, True)]


def _fails_without_a_fault(history: History) -> None:
    history.publish(1, "failed", at=100.0)


def _nothing_is_begun(history: History) -> None:
    history.publish(1)


def _nobody_hears_any_more(history: History) -> None:
    history.pass_on(1)
    for number in range(2, 40):
        history.publish(number, at=100.0)


def _one_hears_no_more(history: History) -> None:
    history.pass_on(1)
    history.give(1, "audit")
    history.pass_on(*range(2, 40), at=100.0)


def _oversleeps(history: History) -> None:
    history.dials["app"] = [Dialled(1.0, 1.1, False), Dialled(30.0, 30.1, True)]


def _stampedes(history: History) -> None:
    history.dials["app"] = [Dialled(1.0 + number / 1000, 1.0 + number / 1000, False) for number in range(100)]


def _kept_a_link_that_had_ended(history: History) -> None:
    history.links[APP_LINK].told_at = 5.0
    history.links[APP_LINK].left_at = 12.0


def _bore_silence(history: History) -> None:
    history.plan = Plan((Fault(FaultKind.PARTITION, 10.0, 20.0, ("app", "a")),))  # from 30 s to 50 s of the run
    history.links[APP_LINK].left_at = 45.0


def _waited_for_a_link_that_was_given_up(history: History) -> None:
    history.publish(1, "unknown")
    history.journal.publications["app/1"].ended_at = 9.0
    history.links[APP_LINK].left_at = 5.0


def _hung_up_without_a_fault(history: History) -> None:
    history.links[APP_LINK].ended_at = 100.0
    history.links[APP_LINK].told_at = 100.1


Broken = Callable[[History], None]


@pytest.mark.parametrize(
    "law, breaks",
    [
        (no_loss, _was_confirmed_and_never_taken),
        (no_loss, _was_confirmed_too_early),
        (no_loss, _was_accepted_and_never_written),
        (no_loss, _was_handed_over_and_not_given),
        (no_loss, _was_handed_over_twice_and_given_once),
        (nothing_invented, _nobody_published_it),
        (nothing_invented, _was_given_twice),
        (nothing_invented, _came_under_another_subject),
        (at_least_once, _was_confirmed_and_given_to_nobody),
        (order_by(), _came_out_of_order),
        (order_by(), _went_out_of_order),
        (sent_once, _went_to_two_links),
        (sent_once, _went_twice_to_one_link),
        (one_of("audit", "billing"), _was_given_to_two_members),
        (one_of("audit", "billing"), _was_given_twice),
        (at_most("billing", 2), _came_once_too_often),
        (every_call_ends, _never_ended),
        (bounded_calls(15), _lasted_too_long),
        (bounded_calls(15), _is_waiting_still),
        (honest_unknown, _unknown_was_never_written),
        (honest_unknown, _unknown_went_to_a_link_that_lives),
        (honest_unknown, _failed_and_was_taken),
        (honest_unknown, _was_cancelled_and_went_out_later),
        (books_balance, _the_ledger_does_not_add_up),
        (books_balance, _the_ledger_is_negative),
        (books_balance, _more_are_pending_than_open),
        (books_balance, _pending_for_ever),
        (books_balance, _open_for_ever),
        (books_balance, _unknown_for_no_reason),
        (books_balance, _confirmed_more_than_were_taken),
        (books_balance, _a_request_waits_for_nobody),
        (books_balance, _a_counter_shrinks),
        (fails_only_by("PendingTimeoutError"), _fails_by_an_error_of_another_kind),
        (recovers(30, publishers=("app", "till")), _one_publisher_begins_nothing),
        (paced_dials(first_seconds=0.5), _the_first_attempt_comes_late),
        (recovers(30), _fails_without_a_fault),
        (recovers(30), _nothing_is_begun),
        (recovers(30), _nobody_hears_any_more),
        (recovers(30), _one_hears_no_more),
        (paced_dials(), _oversleeps),
        (paced_dials(), _stampedes),
        (notices_end(), _kept_a_link_that_had_ended),
        (notices_silence(8), _bore_silence),
        (told_at_loss(), _waited_for_a_link_that_was_given_up),
        (settles(30), _hung_up_without_a_fault),
    ],
)
def test_a_broken_law_is_seen(law: Law, breaks: Broken) -> None:
    """The law says so, with its name, and where it shows."""
    history = History()
    breaks(history)
    found = history.judged(law)
    assert found
    assert {violation.law for violation in found} == {getattr(law, "__name__", None)}
    assert all(violation.text and violation.at >= 0 for violation in found)


@pytest.mark.parametrize(
    "law",
    [
        no_loss,
        nothing_invented,
        sent_once,
        at_least_once,
        order_by(),
        one_of("billing", "audit"),
        at_most("billing", 40),
        every_call_ends,
        bounded_calls(15),
        honest_unknown,
        books_balance,
        recovers(30),
        paced_dials(),
        notices_end(),
        notices_silence(8),
        told_at_loss(),
        settles(30),
    ],
)
def test_a_good_history_breaks_no_law(law: Law) -> None:
    """What core NATS may do is nobody's fault: losses that were told, refusals, unknown behind a link that died."""
    history = History()
    history.pass_on(1, 2)
    history.links[BILLING_LINK].received = 150
    history.queue(2, end=200)  # was queued, and the link died before it came
    refused = history.publish(3, "failed", reason="PermissionsError: Permissions Violation")
    del history.journal.taken[refused]
    history.publish(4, "unknown")
    history.links[APP_LINK].ended_at = history.links[APP_LINK].told_at = 2.0
    history.links[APP_LINK].left_at = 2.05
    history.links[BILLING_LINK].left_at = 37.5
    history.plan = Plan((Fault(FaultKind.BLACK_HOLE, 10.0, 20.0, ("a", "billing")),))
    history.queue(4)
    history.give(4)
    history.pass_on(*range(5, 30), at=100.0)
    history.book(accepted=30, confirmed=27, failed=1, unknown=1, expired=1)
    history.dials["app"] = [Dialled(1.0, 1.1, False), Dialled(3.0, 3.1, True), Dialled(90.0, 90.1, True)]
    assert not history.judged(law)


def test_losses_that_were_told_are_no_violation() -> None:
    """A consumer that was told of its losses, and a publisher whose books tell of them, broke no law."""
    history = History()
    history.publish(1)
    history.queue(1)
    del history.journal.written[history.publish(2, "queued")]
    assert len(history.judged(no_loss)) == 2
    history.journal.lost("billing", 1)
    history.book(accepted=2, confirmed=1, expired=1)
    assert not history.judged(no_loss)


MOVED_TO = 3


def _move(history: History, who: str, *, opened_at: float) -> None:
    """A client gives its link up at 20 s, and has another one from a time of its own on."""
    old = history.links[APP_LINK if who == "app" else BILLING_LINK]
    old.left_at = 20.0
    history.links[MOVED_TO] = Connection(who, MOVED_TO, target="b", opened_at=opened_at)
    history.journal.links[MOVED_TO] = opened_at


@pytest.mark.parametrize("opened_at, broken", [(19.0, False), (21.0, True)])
def test_what_comes_by_both_links_of_a_move_is_one_message(opened_at: float, broken: bool) -> None:
    """No loss: a client that holds two links at once is given their message once; one that reconnects, twice."""
    history = History()
    history.pass_on(1)
    _move(history, "billing", opened_at=opened_at)
    history.journal.queued.append(Queued("b", MOVED_TO, b"1", "app/1", 100, 1.0))
    assert bool(history.judged(no_loss)) is broken
    history.journal.deliveries.clear()
    assert history.judged(no_loss)


@pytest.mark.parametrize("opened_at, broken", [(19.0, False), (22.0, True)])
def test_a_move_is_no_loss_of_a_link(opened_at: float, broken: bool) -> None:
    """Who moved need not dial again, and may still be answered by the other link."""
    history = History()
    history.publish(1, "unknown", at=24.0)
    history.dials["app"] = [Dialled(18.0, 18.1, True), Dialled(22.0, 22.1, True)]
    _move(history, "app", opened_at=opened_at)
    assert bool(history.judged(paced_dials(first_seconds=0.5))) is broken
    assert bool(history.judged(told_at_loss())) is broken


@pytest.mark.parametrize("ended_at, broken", [(22.0, False), (20.5, True)])
def test_a_dial_that_is_under_way_is_the_first(ended_at: float, broken: bool) -> None:
    """Who loses the link to a server that shuts down while it dials another one need not dial twice at once."""
    history = History()
    history.links[APP_LINK].left_at = 20.0
    history.dials["app"] = [Dialled(19.0, ended_at, False), Dialled(22.1, 22.2, True)]
    assert bool(history.judged(paced_dials(first_seconds=0.5))) is broken


def test_order_by_a_key_of_ones_own() -> None:
    """Only publications of one key have an order; None has none."""
    history = History()
    _came_out_of_order(history)
    assert history.judged(order_by(lambda note: note.publisher))
    assert not history.judged(order_by(lambda note: note.number))
    assert not history.judged(order_by(lambda note: None))


def test_the_first_violation_comes_first_and_there_are_not_too_many() -> None:
    """Violations come in order of time, at most so many of one law."""
    history = History()
    for number in range(1, 30):
        del history.journal.taken[history.publish(number, at=30.0 - number)]
    found = history.judged(no_loss)
    assert len(found) == 5
    assert [violation.at for violation in found] == sorted(violation.at for violation in found)
    assert "app/29 " in found[0].text
