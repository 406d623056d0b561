"""The entry of `beamline`: without its libraries, interrupted, and as a module."""

from __future__ import annotations

import subprocess
import sys

import pytest

from beamline_trio.cli import _app, main

_WITHOUT = "import sys; sys.modules[{library!r}] = None; from beamline_trio.cli import main; sys.exit(main())"


@pytest.mark.parametrize("library", ["typer", "rich", "h11"])
def test_without_its_libraries_it_says_what_to_install(library: str) -> None:
    """One line with the command, exit code 2, no traceback; whatever the arguments."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(library=library), "run", "a:b"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"beamline: the command line needs {library}; pip install 'beamline-trio[cli]'\n"


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Interrupted anywhere outside a command: exit code 130 and not a word."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(_app, "run_app", interrupted)
    assert main() == 130
    assert capsys.readouterr() == ("", "")


def test_it_is_a_module_too() -> None:
    """`python -m beamline_trio.cli version` is `beamline version`."""
    done = subprocess.run(
        [sys.executable, "-m", "beamline_trio.cli", "version"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("beamline_trio ")
