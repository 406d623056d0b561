"""The books of a run: each thing that must not happen is seen when it happens."""

from __future__ import annotations

from beamline_trio.scenarios._ledger import Gap, Ledger, tell_handled


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ledger_of(count: int) -> tuple[Ledger, Clock]:
    clock = Clock()
    ledger = Ledger(clock, max_deliver=4)
    for _ in range(count):
        ledger.begin()
    return ledger, clock


def test_what_was_acked_and_never_ended_is_lost_and_what_was_never_acked_is_unknown() -> None:
    """Done and dead are both an end; neither is none."""
    ledger, _ = ledger_of(5)
    for number in (0, 1, 2, 3):
        ledger.note_acked(number, duplicate=False)
    ledger.note_done(0, 1)
    ledger.note_dead(1)
    assert (ledger.lost(), ledger.unknown()) == ([2, 3], [4])
    assert (ledger.begun, ledger.acked.count, ledger.ended.count, ledger.outstanding) == (5, 4, 2, 2)


def test_an_effect_that_comes_again_is_the_same_one_and_at_another_place_another() -> None:
    """A redelivery to the sink is no double; a second place in the stream is."""
    ledger, _ = ledger_of(1)
    ledger.note_done(0, 7)
    ledger.note_done(0, 7)
    assert (ledger.done, ledger.stored_twice) == (1, 0)
    ledger.note_done(0, 9)
    assert (ledger.done, ledger.stored_twice) == (1, 1)
    assert ledger.examples == ["0.000 s: the effect of message 0 is stored at 7 and at 9"]


def test_a_message_whose_last_ack_was_lost_is_done_and_dead_and_has_ended_once() -> None:
    """Ended counts messages, not ways."""
    ledger, _ = ledger_of(1)
    ledger.note_done(0, 1)
    ledger.note_dead(0)
    ledger.note_dead(0)
    assert (ledger.done, ledger.dead, ledger.ended.count) == (1, 1, 1)


def test_what_another_process_tells_of_its_handlers_is_in_the_books() -> None:
    """Deliveries, repeats and the order of keys are counted as if the handler had been here."""
    theirs, ours = ledger_of(3)[0], ledger_of(3)[0]
    for number, key, delivery in ((0, "k", 1), (2, "k", 1), (1, "k", 1), (1, "k", 2), (0, "other", 5)):
        in_order = theirs.note_handled(number, key, delivery, "router-1")
        ours.note_told(number, tell_handled(delivery, "router-1", in_order=in_order))
    for ledger in (theirs, ours):
        assert (ledger.handled, ledger.again, ledger.over_delivered, ledger.out_of_order) == (5, 2, 1, 1)
        assert ledger.by_instance == {"router-1": 5}
    assert ours.examples[0] == "0.000 s: message 1 first came to router-1 behind a later message of its key"


def test_an_effect_of_no_message_is_unasked() -> None:
    """Numbers that were never begun are told, not counted as ended."""
    ledger, _ = ledger_of(1)
    ledger.note_done(5, 1)
    ledger.note_dead(-1)
    assert (ledger.unasked, ledger.ended.count) == (2, 0)


def test_deliveries_beyond_the_limit_and_out_of_order_are_counted() -> None:
    """Order is that of first deliveries to one instance, of one key."""
    ledger, _ = ledger_of(9)
    ledger.note_handled(2, "k", 1, "one")
    ledger.note_handled(1, "other", 1, "one")
    ledger.note_handled(1, "k", 1, "two")
    ledger.note_handled(1, "k", 2, "one")
    ledger.note_handled(0, None, 1, "three")
    assert (ledger.out_of_order, ledger.over_delivered, ledger.handled, ledger.again) == (0, 0, 5, 1)
    ledger.note_handled(1, "k", 1, "one")
    ledger.note_handled(1, "k", 5, "one")
    assert (ledger.out_of_order, ledger.over_delivered) == (1, 1)
    assert ledger.by_instance == {"one": 5, "two": 1, "three": 1}


def test_silences_of_more_than_a_second_are_gaps() -> None:
    """From the last sign of life to the next."""
    ledger, clock = ledger_of(3)
    for number, at in enumerate((1.0, 1.9, 4.5)):
        clock.now = at
        ledger.note_acked(number, duplicate=number == 2)
    assert ledger.acked.gaps == [Gap(1.9, 4.5)]
    assert ledger.duplicates == 1


def test_latencies_are_taken_once() -> None:
    """From the beginning to the first end."""
    ledger, clock = ledger_of(1)
    clock.now = 2.5
    ledger.note_done(0, 1)
    assert (ledger.take_latencies(), ledger.take_latencies()) == ([2.5], [])
