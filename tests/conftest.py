"""The suite's own rules: which tests need the real nats-server, that they ran, shards, property profiles.

The tests of tests/contract and tests/integration get the marker `real_server` by their path; in tests/contract only
those that do meet the real server, since the others there run on the simulated one or on none. The run ends
with a line that counts them, and where CI is set a run that skipped all of them fails: a suite that silently
lost its server must not look green.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import signal
import sysconfig
import zlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

import hypothesis
import pytest

# The package's own plugin has the fixtures of servers and worlds. Installed, its entry point brings it; in a source
# tree it is named here. Both at once is what pytest refuses.
_installed = bool(importlib.metadata.entry_points(group="pytest11", name="beamline"))
pytest_plugins = [] if _installed else ["beamline_trio.testing._plugin"]

_TESTS: Final = Path(__file__).parent
_REAL_SERVER_DIRECTORIES: Final = (_TESTS / "contract", _TESTS / "integration")

# No deadline and no complaint about slow draws: a busy machine is not a failing law.
_PATIENT: Final = hypothesis.settings(
    deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("standard", _PATIENT)
hypothesis.settings.register_profile("nightly", _PATIENT, max_examples=5_000)
hypothesis.settings.load_profile("standard")


class RealServerCount:
    """Counts the tests for the real nats-server: selected, deselected, ran, skipped."""

    def __init__(self) -> None:
        self._selected = 0
        self._deselected = 0
        self._ran: set[str] = set()
        self._skipped: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what is left after deselection."""
        self._selected = _count_real_server(session.items)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Count what `-m`, `-k` or `--shard` left out."""
        self._deselected += _count_real_server(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Sort one report; an expected failure ran, and so did a test whose set-up failed."""
        if "real_server" not in report.keywords:
            return
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped.add(report.nodeid)
        elif report.when == "call" or report.failed:
            self._ran.add(report.nodeid)

    @property
    def lost(self) -> bool:
        """Whether tests for the real server were selected and every one of them was skipped."""
        return 0 < self._selected == len(self._skipped) and not self._ran

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a CI run that never met the server."""
        if self.lost and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None]:
        """Print the closing line, behind everybody else's summary."""
        yield
        if self.lost and os.environ.get("CI"):
            terminalreporter.write_line(
                f"CI is set and all {self._selected} tests for the real nats-server were skipped, so this "
                "run fails; install beamline-trio[server], which brings the server",
                red=True,
            )
        if self._deselected and not self._selected:
            terminalreporter.write_line("real nats-server: not part of this selection")
        else:
            terminalreporter.write_line(f"real nats-server: {len(self._ran)} tests ran, {len(self._skipped)} skipped")


def _count_real_server(items: Sequence[pytest.Item]) -> int:
    return sum(item.get_closest_marker("real_server") is not None for item in items)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--shard`, for runs that are spread over machines."""
    parser.addoption(
        "--shard",
        metavar="I/N",
        default="1/1",
        help="run the I-th of N parts of the suite (1/3, 2/3, 3/3); a test's part depends on its name alone",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start the count, and make sure that the package under test is the one that was meant."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what it puts into the background; the tests about Ctrl-C need Python's own handler.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(RealServerCount(), "real-server-count")
    if os.environ.get("BEAMLINE_TEST_INSTALLED"):
        _require_installed_package()


def _require_installed_package() -> None:
    """Refuse to test a source tree where the installed wheel was meant."""
    spec = importlib.util.find_spec("beamline_trio")
    origin = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
    expected = Path(sysconfig.get_path("purelib")).resolve()
    if origin is None or not origin.is_relative_to(expected):
        raise pytest.UsageError(
            f"BEAMLINE_TEST_INSTALLED is set, but beamline_trio would be imported from {origin}, not from "
            f"{expected}; run the tests outside the source tree, as `nox -s tests` does"
        )


def _parse_shard(text: str) -> tuple[int, int]:
    """`2/3` -> (2, 3)."""
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        index, count = 0, 0
    if not 1 <= index <= count:
        raise pytest.UsageError(f"--shard is {text!r}, it takes I/N with 1 <= I <= N, as in 2/3")
    return index, count


def _meets_server(item: pytest.Item) -> bool:
    """False for what runs on the simulated server: by the fixture `nats`, or in tests/contract (its conftest.py)."""
    call = getattr(item, "callspec", None)
    # The parameter behind `nats`: a seed, or None for the real server.
    if call is not None and "_nats_side" in call.params:
        return call.params["_nats_side"] is None
    if not item.path.is_relative_to(_TESTS / "contract"):
        return True
    asked: Sequence[str] = getattr(item, "fixturenames", ())
    if "server_side" in asked:
        return call is not None and call.params["server_side"] == "real"
    return "nats_server_executable" in asked


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by path, before `-m` selects; then keep this shard's part."""
    for item in items:
        if any(item.path.is_relative_to(directory) for directory in _REAL_SERVER_DIRECTORIES) and _meets_server(item):
            item.add_marker(pytest.mark.real_server)
    index, count = _parse_shard(str(config.getoption("--shard")))
    others = [item for item in items if zlib.crc32(item.nodeid.encode()) % count != index - 1]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if zlib.crc32(item.nodeid.encode()) % count == index - 1]
