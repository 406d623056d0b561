"""How a command ends: an expected failure is one line and an exit code, Ctrl-C is quiet, a bug shows its traceback.

Must not turn an error it does not know into a line: that would hide where it came from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from ..connection import InternalError, OptionsError
from ..operation import OperationError
from ..operation.route_file import RouteFileError
from ..protocol import NatsError
from ..server_process import ServerProcessError
from ..transport import AddressError
from ._exit_codes import FAILED, INTERRUPTED, USAGE_ERROR


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and what to do.

    Attributes:
        code: the exit code.
    """

    def __init__(self, message: str, *, code: int = USAGE_ERROR) -> None:
        super().__init__(message)
        self.code = code


def guarded(command: Callable[[], int]) -> int:
    """Call a command; returns its exit code, or that of its failure, which was printed to stderr."""
    try:
        return command()
    except BaseException as error:
        leaves = list(_leaves(error))
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            return INTERRUPTED
        if not all(_is_expected(leaf) for leaf in leaves):
            raise
        print(f"beamline: {leaves[0]}", file=sys.stderr)
        return _code_of(leaves[0])


def _code_of(error: BaseException) -> int:
    if isinstance(error, CommandError):
        return error.code
    return USAGE_ERROR if isinstance(error, (OptionsError, AddressError, RouteFileError)) else FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, in order; an error that is no group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _is_expected(error: BaseException) -> bool:
    expected = (CommandError, NatsError, OperationError, ServerProcessError)
    return isinstance(error, expected) and not isinstance(error, InternalError)
