"""Everything that the contract lists happens: provoked by simulated faults and outages, and seen as it is listed."""

from __future__ import annotations

import pytest

from beamline_trio.metrics import load_log_contract
from tests.metrics.__main__ import provoke, unseen
from tests.metrics._watch import Watch

# Logged by a process of its own, which `python -m tests.metrics` starts too.
OF_A_PROCESS = {log.code for log in load_log_contract() if log.stages == ("cli",)}


@pytest.mark.slow
def test_everything_that_is_listed_is_seen_and_nothing_else() -> None:
    """No series, log code and event is a dead letter; none has another level or field than it should."""
    watch = Watch()
    provoke(watch, processes=False)
    assert set(unseen(watch)) == OF_A_PROCESS
    assert watch.complaints == []
