"""What servers and instances use -> the numbers of a report."""

from __future__ import annotations

from beamline_trio.scenarios._memory import resident_bytes
from beamline_trio.scenarios._uses import Use, summary_of


def test_a_summary_has_the_base_the_most_and_the_end_of_what_is_known() -> None:
    """Medians of base and end, and what is not known is left out."""
    uses = [(0.0, Use(tasks=10)), (5.0, Use(tasks=12)), (50.0, Use(tasks=40)), (90.0, Use(tasks=11))]
    assert summary_of(uses, 10, 80) == {"tasks": {"base": 11, "most": 40, "end": 11}}


def test_who_was_away_at_an_end_has_no_number_there() -> None:
    """An instance that is not there at the end uses nothing that one could compare."""
    assert summary_of([(0.0, Use(connections=1))], 10, 80) == {"connections": {"base": 1, "most": 1, "end": None}}
    assert summary_of([], 10, 80) == {}


def test_the_memory_of_a_process_that_is_gone_is_not_told() -> None:
    """This one's is; that of a number that no process has is None."""
    mine = resident_bytes()
    assert mine is not None
    assert mine > 1_000_000
    assert resident_bytes(2**22 + 1) is None
