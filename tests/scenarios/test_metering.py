"""Series of a run: what is kept of them, and that nothing of them goes without being counted."""

from __future__ import annotations

from beamline_trio.scenarios._metering import CHANGES_MAX, Series


def test_changes_beyond_those_that_are_kept_are_counted() -> None:
    """Each once: what stays as it is is no change, neither before the limit nor behind it."""
    series = Series()
    for at in range(CHANGES_MAX + 3):
        series.take(at, float(at))
        series.take(at + 0.5, float(at))
    assert series.changes == [(at, float(at)) for at in range(CHANGES_MAX)]
    assert series.dropped == 3


def test_a_series_that_has_ended_has_changed() -> None:
    """Also one that was not there when it was first looked for."""
    series = Series()
    for at, value in enumerate((None, None, 1.0, None)):
        series.take(at, value)
    assert series.changes == [(0, None), (2, 1.0), (3, None)]
