"""How a command ends: what is expected is a line and a code, what is not keeps its traceback."""

from __future__ import annotations

import pytest

from beamline_trio import AddressError, InternalError, NatsError, OptionsError, ServerUnreachableError
from beamline_trio.cli._failures import CommandError, guarded
from beamline_trio.operation import PortInUseError
from beamline_trio.server_process import ServerNotFoundError

UNREACHABLE = ServerUnreachableError("cannot connect", address="nats://h:1")


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def command() -> int:
        raise error

    code = guarded(command)
    out, err = capsys.readouterr()
    assert out == ""
    return code, err


@pytest.mark.parametrize(
    "error, code",
    [
        (CommandError("text"), 2),
        (CommandError("text", code=7), 7),
        (OptionsError("text"), 2),
        (AddressError("text"), 2),
        (NatsError("text"), 1),
        (PortInUseError("text", host="h", port=1), 1),
        (ServerNotFoundError("text"), 1),
        (ExceptionGroup("g", [ExceptionGroup("g", [NatsError("text")])]), 1),
        (ExceptionGroup("g", [NatsError("text"), UNREACHABLE]), 1),
    ],
)
def test_an_expected_failure_is_a_line(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Also in groups, of which the first error is shown."""
    assert ended(error, capsys) == (code, "beamline: text\n")


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        BaseExceptionGroup("g", [KeyboardInterrupt(), NatsError("text")]),
        BaseExceptionGroup("g", [ZeroDivisionError(), BaseExceptionGroup("g", [KeyboardInterrupt()])]),
    ],
)
def test_ctrl_c_is_quiet(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    """130 and not a word, wherever it comes out."""
    assert ended(error, capsys) == (130, "")


@pytest.mark.parametrize("error", [ZeroDivisionError(), InternalError("bug"), ExceptionGroup("g", [KeyError()])])
def test_a_bug_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """It leaves as it is, for Python to print."""
    with pytest.raises(type(error)) as caught:
        ended(error, capsys)
    assert caught.value is error


def test_a_command_that_succeeds_has_its_own_code() -> None:
    """What the command returns is the exit code."""
    assert guarded(lambda: 143) == 143
