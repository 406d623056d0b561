"""The message ids of a simulated stream: what is known is what came within the window, before and after a cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.simulation._server._jetstream._duplicates import Duplicates

WINDOW = 10
IDS = (b"a", b"b", b"c", b"d")


class Books:
    """What a stream with a window knows, written down plainly."""

    def __init__(self) -> None:
        self.all: list[tuple[int, bytes, int]] = []
        self.last_id = b""

    def known(self, now: int) -> dict[bytes, int]:
        return {identity: sequence for time, identity, sequence in self.all if time > now - WINDOW}


def publish(duplicates: Duplicates, books: Books, identity: bytes, sequence: int, now: int) -> None:
    """As a stream does: an id that is known is not stored."""
    assert duplicates.sequence_of(identity, now - WINDOW) == books.known(now).get(identity, 0)
    if identity not in books.known(now):
        duplicates.remember(identity, sequence, now, now - WINDOW)
        books.last_id = identity
        if identity:
            books.all.append((now, identity, sequence))


def looked_up(duplicates: Duplicates, now: int) -> Iterator[tuple[bytes, int]]:
    for identity in IDS:
        if sequence := duplicates.sequence_of(identity, now - WINDOW):
            yield identity, sequence


STEPS = st.lists(st.one_of(st.sampled_from((*IDS, b"")), st.integers(1, 7), st.sampled_from(("place", "cut"))))


@given(STEPS, st.integers(1, 4))
def test_knows_what_came_within_the_window(steps: list[bytes | int | str], batch: int) -> None:
    """However few ids make a batch, and whatever is cut off."""
    duplicates, books, now, place, kept = Duplicates(batch), Books(), 100, (0, b""), Books()
    for sequence, step in enumerate(steps, 1):
        if isinstance(step, bytes):
            publish(duplicates, books, step, sequence, now)
        elif isinstance(step, int):
            now += step
        elif step == "place":
            place, kept.all, kept.last_id = duplicates.place(), list(books.all), books.last_id
        else:
            duplicates.cut(place)
            books.all, books.last_id = list(kept.all), kept.last_id
        assert dict(looked_up(duplicates, now)) == books.known(now)
        assert duplicates.last_id == books.last_id
        told = {identity: sequence for time, identity, sequence in duplicates if time > now - WINDOW}
        assert told == books.known(now)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_cut_takes_what_came_behind_the_place_and_nothing_else(forgotten: bool) -> None:
    duplicates = Duplicates()
    duplicates.remember(b"before", 1, 100, 90)
    place = duplicates.place()
    duplicates.remember(b"behind", 2, 101, 91)
    if forgotten:
        assert not duplicates.sequence_of(b"behind", 101)
    duplicates.cut(place)
    assert duplicates.sequence_of(b"behind", 0) == 0
    assert duplicates.sequence_of(b"before", 0) == (0 if forgotten else 1)
    assert duplicates.last_id == b"before"
    duplicates.remember(b"behind", 2, 102, 0)
    assert duplicates.sequence_of(b"behind", 0) == 2


@pytest.mark.parametrize("batch", [1, 2])
def test_an_id_that_came_again_outlives_its_first_coming(batch: int) -> None:
    """As after a restart with a longer window: two messages of a stream have one id, and both are recalled."""
    duplicates = Duplicates(batch)
    duplicates.recall(b"twice", 1, 100)
    duplicates.recall(b"twice", 2, 105)
    assert list(duplicates) == [(105, b"twice", 2)]
    assert duplicates.sequence_of(b"twice", 100) == 2
    assert duplicates.sequence_of(b"twice", 105) == 0


def test_what_is_forgotten_is_let_go() -> None:
    """Hours of a busy stream need what its window needs, and a third more: the oldest batch goes as a whole."""
    duplicates = Duplicates(batch_ids_min=16)
    for time in range(1, 20_001):
        duplicates.remember(b"%d" % time, time, time, time - 1000)
        kept = sum(len(batch.times) for batch in duplicates._batches)
        assert kept <= 1000 + 1000 // 3 + 16
    assert [sequence for _, _, sequence in duplicates] == list(range(19_001, 20_001))
    assert duplicates.sequence_of(b"19001", 19_000) == 19_001
    assert duplicates.sequence_of(b"19000", 0) == 0
