"""All scenarios as the environment asks for them: `EXTENDED_TEST_MESSAGE_RATE=10 pytest -m production_scale`."""

from __future__ import annotations

import os

import pytest

from beamline_trio.scenarios import SCENARIOS, find_scenario, run_scenario, settings_from


@pytest.mark.production_scale
@pytest.mark.timeout(0)
@pytest.mark.parametrize("number", SCENARIOS)
def test_scenario(number: str) -> None:
    """At full simulated length, unless EXTENDED_TEST_DURATION_MIN or EXTENDED_TEST_SPEEDUP say otherwise."""
    report = run_scenario(find_scenario(number), settings_from(os.environ))
    assert [finding for finding in report["findings"] if finding["mark"] == "fail"] == []
