"""What every test on real clusters holds besides its own law: no process and no file of a server is left."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def child_pids() -> set[int]:
    """Our children, those that ended and were not reaped included."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for children in lists for pid in children.read_text().split()}


@pytest.fixture(autouse=True)
def temporary_directory(tmp_path_factory: pytest.TempPathFactory, nats_server_executable: Path) -> Iterator[Path]:
    """Where servers put their temporary directories: empty when the test begins, and when it ends."""
    directory = tmp_path_factory.mktemp("servers")
    before = child_pids()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(directory))
        yield directory
    assert child_pids() == before
    assert list(directory.iterdir()) == []
