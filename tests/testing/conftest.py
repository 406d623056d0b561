"""What the tests in this directory share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ._inner_pytest import Result, run_pytest


@pytest.fixture
def inner(tmp_path: Path) -> Callable[..., Result]:
    """Write a test module and run pytest on it."""

    def run(code: str, *arguments: str, trio_mode: bool = True, executable: str | None = None) -> Result:
        (tmp_path / "test_inner.py").write_text(code)
        return run_pytest(tmp_path, *arguments, trio_mode=trio_mode, executable=executable)

    return run
