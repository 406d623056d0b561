"""The laws of the account and of streams: each is shown a history in which it holds, and those it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from beamline_trio.simulation import (
    Fault,
    FaultKind,
    Law,
    Plan,
    account,
    acked_for_good,
    delivered_until_acked,
    keeps_what_it_acked,
    nothing_lost_silently,
    replicas_agree,
    strands_nothing,
)
from beamline_trio.simulation._server import MessageView, StreamView
from tests.simulation._history import APP_LINK, History

WORKED_OFF = delivered_until_acked("S", "c", max_deliver=3)


def _unwritten(history: History, fate: str = "queued") -> None:
    del history.journal.written[history.publish(2, fate)]
    history.journal.on_link[APP_LINK].remove("app/2")
    del history.journal.taken["app/2"]


def _link_dies(history: History) -> None:
    history.links[APP_LINK].ended_at = history.links[APP_LINK].left_at = 50.0


def _is_open_at_the_end(history: History) -> None:
    history.publish(1, "sent")
    history.end(accepted=1, open=1)


def _was_given_up_and_not_told(history: History) -> None:
    _unwritten(history)
    history.end(accepted=1, expired=1)


def _was_told_and_not_counted(history: History) -> None:
    _unwritten(history, "failed")
    history.tell_dropped()
    history.end(accepted=1, confirmed=1)


def _was_told_of_another_subject(history: History) -> None:
    _unwritten(history)
    history.tell_dropped(subject="other")
    history.end(accepted=1, expired=1)


def _was_written_to_a_link_that_lives(history: History) -> None:
    del history.journal.taken[history.publish(1, "sent")]
    history.end(accepted=1, unknown=1)


def _went_down_with_a_link_that_was_closed_in_order(history: History) -> None:
    del history.journal.taken[history.publish(1, "sent")]
    history.links[APP_LINK].ended_at = history.links[APP_LINK].left_at = 150.0
    history.end(accepted=1, confirmed=1)


def _is_unknown_and_was_never_written(history: History) -> None:
    _unwritten(history, "unknown")
    history.end()


def _was_confirmed_and_never_taken(history: History) -> None:
    del history.journal.taken[history.publish(1)]
    history.end(accepted=1, confirmed=1)


def _is_in_no_ledger(history: History) -> None:
    history.publish(1)
    history.publish(2)
    history.end(accepted=1, confirmed=1)


def _is_in_the_ledger_twice(history: History) -> None:
    history.publish(1)
    history.end(accepted=2, confirmed=2)


def _is_unknown_without_a_death(history: History) -> None:
    history.publish(1, "sent")
    history.end(accepted=1, unknown=1)


def _is_unknown_behind_its_answer(history: History) -> None:
    history.publish(1, "sent")
    history.publish(2)
    _link_dies(history)
    history.end(accepted=2, confirmed=1, unknown=1)


def _the_end_told_too_little(history: History) -> None:
    _unwritten(history)
    history.tell_dropped()
    history.end(accepted=1, dropped=1, left=(1, 0), told=(0, 0))


def _is_not_in_the_stream(history: History) -> None:
    history.store(1)
    history.kept.clear()


def _is_in_the_stream_twice(history: History) -> None:
    history.kept.append(history.store(1))


def _failed_and_is_in_the_stream(history: History) -> None:
    history.journal.publications[history.store(1)].fate = "failed"


def _is_not_delivered(history: History) -> None:
    history.store(1)


def _is_given_up_before_its_last_delivery(history: History) -> None:
    history.store(1)
    history.hand_out(1, 1)
    history.hand_out(1, 2, at=9.0)


def _is_delivered_too_often(history: History) -> None:
    history.store(1)
    history.hand_out(1, 4)


def _comes_again_behind_its_double_ack(history: History) -> None:
    history.hand_out(1)
    history.acknowledge(1, confirmed_at=3.0)
    history.hand_out(1, 2, at=9.0)


def _is_kept_by_nobody(history: History) -> None:
    history.hand_out(1)
    history.hand_out(1, 2, at=14.0)


Broken = Callable[[History], None]


@pytest.mark.parametrize(
    "law, breaks",
    [
        (nothing_lost_silently, _is_open_at_the_end),
        (nothing_lost_silently, _was_given_up_and_not_told),
        (nothing_lost_silently, _was_told_and_not_counted),
        (nothing_lost_silently, _was_told_of_another_subject),
        (nothing_lost_silently, _was_written_to_a_link_that_lives),
        (nothing_lost_silently, _went_down_with_a_link_that_was_closed_in_order),
        (nothing_lost_silently, _is_unknown_and_was_never_written),
        (nothing_lost_silently, _was_confirmed_and_never_taken),
        (nothing_lost_silently, _is_in_no_ledger),
        (nothing_lost_silently, _is_in_the_ledger_twice),
        (nothing_lost_silently, _is_unknown_without_a_death),
        (nothing_lost_silently, _is_unknown_behind_its_answer),
        (nothing_lost_silently, _the_end_told_too_little),
        (keeps_what_it_acked, _is_not_in_the_stream),
        (keeps_what_it_acked, _is_in_the_stream_twice),
        (keeps_what_it_acked, _failed_and_is_in_the_stream),
        (WORKED_OFF, _is_not_delivered),
        (WORKED_OFF, _is_given_up_before_its_last_delivery),
        (WORKED_OFF, _is_delivered_too_often),
        (acked_for_good, _comes_again_behind_its_double_ack),
        (strands_nothing(12), _is_kept_by_nobody),
    ],
)
def test_a_broken_law_is_seen(law: Law, breaks: Broken) -> None:
    """The law says so, with its name; and what the account calls lost is not nothing."""
    history = History()
    breaks(history)
    found = history.judged(law)
    assert {violation.law for violation in found} == {getattr(law, "__name__", None)}
    assert all(violation.text and violation.at >= 0 for violation in found)
    assert bool(account(history.evidence())["lost"]) == (law is nothing_lost_silently)


@pytest.mark.parametrize(
    "law", [nothing_lost_silently, keeps_what_it_acked, WORKED_OFF, acked_for_good, strands_nothing(12)]
)
def test_a_good_history_breaks_no_law(law: Law) -> None:
    """Confirmed, expired with an event, unknown behind a dead link; acked, or delivered as often as it may be."""
    history = History()
    history.publish(1)
    _unwritten(history)
    history.tell_dropped()
    for number in (4, 5):
        history.store(number)
        history.hand_out(number)
    del history.journal.taken[history.publish(6, "sent")]
    _link_dies(history)
    history.acknowledge(4, confirmed_at=3.0)
    history.hand_out(5, 2, at=3.0)  # it was naked
    history.give(5, at=3.1)
    history.hand_out(5, 3, at=15.1)  # it was given to the application, which forgot it
    history.end(accepted=5, confirmed=3, unknown=1, expired=1)
    assert not history.judged(law)
    figures = account(history.evidence())
    assert figures == {
        "accepted": 5, "confirmed": 3, "failed": 0, "expired": 1, "dropped": 0, "unknown": 1, "lost": 0
    }  # fmt: skip


def test_the_count_of_an_end_that_could_not_deliver() -> None:
    """What was unsent and unknown is what the error says, exactly."""
    history = History()
    _unwritten(history)
    history.tell_dropped()
    del history.journal.taken[history.publish(3, "sent")]
    _link_dies(history)
    history.end(accepted=2, dropped=1, unknown=1, left=(1, 1))
    assert not history.judged(nothing_lost_silently)
    assert account(history.evidence())["lost"] == 0


@pytest.mark.parametrize("went_down, broken", [((3.05,), False), ((3.2,), True), ((20.0,), True)])
def test_a_server_may_forget_an_ack_of_its_last_moment(went_down: tuple[float, ...], broken: bool) -> None:
    """The state of a consumer is on disk a tenth of a second later; what comes again then is nobody's fault."""
    history = History()
    history.went_down = went_down
    _comes_again_behind_its_double_ack(history)
    assert bool(history.judged(acked_for_good)) is broken


@pytest.mark.parametrize("paused_at, broken", [(3.02, False), (3.15, True)])
def test_a_server_that_is_paused_writes_nothing(paused_at: float, broken: bool) -> None:
    """It is killed half a second behind an ack: what it was paused in, and could not write, comes again."""
    history = History()
    history.plan = Plan((Fault(FaultKind.PAUSE, paused_at, 1.0, ("a",)), Fault(FaultKind.NO_DNS, 49.0, 1.0, ("a",))))
    history.went_down = (3.5,)
    _comes_again_behind_its_double_ack(history)
    assert bool(history.judged(acked_for_good)) is broken


@pytest.mark.parametrize("received, left_at, given_at", [(50, None, None), (100, 13.0, None), (100, None, 5.0)])
def test_a_message_that_somebody_has_is_not_stranded(
    received: int, left_at: float | None, given_at: float | None
) -> None:
    """It did not come, its link was given up, or the application has it: it comes again by its ack wait."""
    history = History()
    history.links[2].received, history.links[2].left_at = received, left_at
    if given_at is not None:
        history.give(1, at=given_at)
    _is_kept_by_nobody(history)
    assert not history.judged(strands_nothing(12))


def test_a_message_of_another_consumer_on_a_living_link_proves_nothing() -> None:
    """Two consumers had it: that one was given it and waits, and that the other came to another host, is lawful."""
    history = History()
    _is_kept_by_nobody(history)
    assert history.judged(strands_nothing(12))
    history.journal.queued[:] = [
        attrs.evolve(one, reply=one.reply.replace(b".c.", b".other.")) for one in history.journal.queued
    ]
    assert not history.judged(strands_nothing(12))


def test_replicas_that_differ_are_seen() -> None:
    """A replica that lacks a message, or has another one at its place, breaks the law; equal ones do not."""

    def view(*payloads: bytes) -> StreamView:
        messages = [
            MessageView(sequence=at, subject="S.a", header=b"", payload=payload, stored_at=0.0)
            for at, payload in enumerate(payloads, 1)
        ]
        return StreamView(
            name="S",
            subjects=("S.>",),
            first_sequence=1,
            last_sequence=len(messages),
            bytes=0,
            messages=tuple(messages),
            consumers=(),
        )

    def findings(*views: StreamView) -> list[str]:
        servers = {f"n{at}": SimpleNamespace(streams=(one,)) for at, one in enumerate(views, 1)}
        evidence: Any = SimpleNamespace(servers=servers, ended_at=1.0)
        return [text for _, text in replicas_agree(evidence)]

    same = view(b"a", b"b")
    assert findings(same, same, same) == []
    assert findings(same, view(b"a")) == ["the stream S ends at 2 on n1 and 1 on n2"]
    assert findings(same, same, view(b"a", b"c")) == ["the stream S has two messages 2, on n1 and on n3"]
