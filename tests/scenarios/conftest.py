"""Scenarios of production scale run when they are asked for (`pytest -m production_scale`); clients log nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

MARKER = "production_scale"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out of every other run: each takes minutes."""
    if MARKER in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker(MARKER) is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Clients log every outage, and pytest keeps every line. The tests of others see theirs again."""
    logger = logging.getLogger("beamline_trio")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)
