"""The trace: bounded memory, one text, and the place where two of them part."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from beamline_trio.simulation import Trace, first_difference
from beamline_trio.simulation import _trace as trace_module


def test_folding_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However often entries are folded away, digest, count, tail and file are the same."""
    seen = []
    for fold_at in (1, 7, 10_000):
        monkeypatch.setattr(trace_module, "_FOLD_AT", fold_at)
        file = tmp_path / f"{fold_at}.jsonl"
        trace = Trace(lambda: 1.25, file)
        for number in range(100):
            trace.add("a", "tick", number=number)
            assert len(trace._entries) < max(fold_at, 2)
        trace.close()
        seen.append((trace.digest(), trace.count, tuple(trace.tail(500)), file.read_text()))
    assert seen[0] == seen[1] == seen[2]


def test_the_tail_is_bounded() -> None:
    """A run of any length keeps the last lines only."""
    trace = Trace(lambda: 0.0)
    for number in range(3 * trace_module.TAIL_LINES):
        trace.add("a", "tick", number=number)
    assert len(trace.tail(10**6)) == trace_module.TAIL_LINES
    assert f'"number":{3 * trace_module.TAIL_LINES - 1}' in trace.tail(1)[0]


def test_a_trace_that_was_stopped_keeps_what_it_had() -> None:
    """What happens afterwards is not noted; digest, count and tail stay readable."""
    trace, other = Trace(lambda: 0.0), Trace(lambda: 0.0)
    for one in (trace, other):
        one.add("a", "tick", number=1)
    trace.stop()
    trace.add("a", "tick", number=2)
    assert (trace.count, trace.digest(), trace.tail()) == (1, other.digest(), other.tail())


def test_times_are_whole_microseconds() -> None:
    """A time is rounded once, where it is written."""
    trace = Trace(lambda: 0.1 + 0.2)
    trace.add("a", "tick")
    assert trace.tail() == ['{"at":300000,"fields":{},"host":"a","kind":"tick","seq":0}']


LINES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=8)


@hypothesis.given(one=LINES, other=LINES)
def test_the_first_difference(one: list[str], other: list[str]) -> None:
    """None for equal traces; else the number of the first line that differs, and both lines."""
    found = first_difference(one, other)
    if one == other:
        assert found is None
        return
    assert found is not None
    number, left, right = found
    assert one[: number - 1] == other[: number - 1]
    assert left != right
    assert (one[number - 1] if number <= len(one) else None) == left
    assert (other[number - 1] if number <= len(other) else None) == right
