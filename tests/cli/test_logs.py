"""The log of a command: JSON for machines, text on a terminal, and the user's own where there is one."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Generator

import pytest

from beamline_trio.cli._logs import LogFormat, set_up_logs


@contextlib.contextmanager
def fresh_root() -> Generator[logging.Logger]:
    """The root logger as a new process has it: within a test, since pytest adds handlers to each phase."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    logger.handlers.clear()
    logger.setLevel(logging.WARNING)
    try:
        yield logger
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.mark.parametrize(
    "form, terminal, is_json",
    [
        (LogFormat.AUTO, False, True),
        (LogFormat.AUTO, True, False),
        (LogFormat.TEXT, False, False),
        (LogFormat.JSON, True, True),
    ],
)
def test_the_format_follows_the_option_and_the_terminal(
    form: LogFormat,
    terminal: bool,
    is_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`auto` is text where people look, JSON elsewhere; secrets are in neither."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with fresh_root():
        set_up_logs(form)
        logging.getLogger("beamline_trio").info("at nats://u:pa55@h", extra={"event": "X"})
    line = capsys.readouterr().err
    assert "nats://***@h" in line
    assert line.count("\n") == 1
    if is_json:
        assert json.loads(line)["event"] == "X"
    else:
        assert "INFO beamline_trio: at" in line


def test_what_the_users_module_has_set_up_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """A module that configures logging when it is imported has the last word."""
    handler = logging.NullHandler()
    with fresh_root() as root:
        root.addHandler(handler)
        set_up_logs(LogFormat.JSON)
        assert root.handlers == [handler]
        logging.getLogger("beamline_trio").error("unheard")
    assert capsys.readouterr().err == ""
