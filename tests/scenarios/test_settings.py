"""Settings from arguments and from the environment."""

from __future__ import annotations

from typing import Any

import pytest

from beamline_trio.scenarios import ScenarioError, Settings, settings_from

ALL = {
    "JETSTREAM_CLUSTER_NODES": "5",
    "JETSTREAM_QUORUM_SIZE": "3",
    "REGION_COUNT": "3",
    "REGION_A_ENABLED": "false",
    "REGION_B_ENABLED": "1",
    "ROUTER_INSTANCE_COUNT": "4",
    "ROUTER_LOAD_BALANCER_ENABLED": "yes",
    "EXTENDED_TEST_DURATION_MIN": "7.5",
    "EXTENDED_TEST_MESSAGE_RATE": "250",
    "EXTENDED_TEST_FAULT_INTERVAL_SEC": "30",
}


def test_every_variable_has_its_setting() -> None:
    """The environment's values are read as what they are."""
    assert settings_from(ALL) == Settings(
        nodes=5,
        quorum=3,
        regions=3,
        region_a=False,
        instances=4,
        load_balancer=True,
        duration_minutes=7.5,
        rate=250,
        fault_interval_seconds=30,
    )
    assert settings_from({"EXTENDED_TEST_SPEEDUP": "15"}).speedup == 15


def test_arguments_win_and_what_is_empty_is_not_given() -> None:
    """A variable that is empty is none; neither is an argument that is None."""
    environment = {"EXTENDED_TEST_MESSAGE_RATE": "250", "REGION_COUNT": ""}
    assert settings_from(environment, rate=10.0, seed=None) == Settings(rate=10.0)
    assert settings_from({"EXTENDED_TEST_DURATION_MIN": "5"}, full=True) == Settings(full=True)


@pytest.mark.parametrize(
    "environment, given, text",
    [
        ({"JETSTREAM_CLUSTER_NODES": "three"}, {}, "JETSTREAM_CLUSTER_NODES is 'three'; it must be a whole number"),
        ({"REGION_A_ENABLED": "maybe"}, {}, "REGION_A_ENABLED is 'maybe'; it must be true or false"),
        ({"EXTENDED_TEST_SPEEDUP": "inf"}, {}, "EXTENDED_TEST_SPEEDUP is 'inf'; it must be a number"),
        ({}, {"on": "paper"}, "on is 'paper'; it must be one of simulation, real"),
        ({}, {"rate": 0.0}, "rate is 0; it must be 0.1 to 10000"),
        ({}, {"seed": -1}, "seed is -1; it must be 0 or more"),
        ({}, {"nodes": 3, "quorum": 1}, "quorum is 1 of 3 nodes; it must be more than half"),
        ({}, {"duration_minutes": 5.0, "full": True}, "duration_minutes gives the length, and so does full"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(environment: dict[str, str], given: dict[str, Any], text: str) -> None:
    """What happened, the value and the limit, before anything starts."""
    with pytest.raises(ScenarioError) as caught:
        settings_from(environment, **given)
    assert str(caught.value).startswith(text)
