"""Everything that a program, a log or a debugger could show of a client: texts to look for secrets in.

Objects are followed through attributes and containers as far as they are the library's own; of frames of a traceback
the locals are rendered as pytest and rich do. Frames of the tests themselves are passed over: there the secrets are at
home.

Must not open a `Secret`.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from rich.console import Console
from rich.pretty import pretty_repr

from beamline_trio import Secret
from beamline_trio.metrics import JSONLogFormatter, TextLogFormatter

_TESTS: Final = Path(__file__).parent
_OBJECTS_MAX: Final = 100_000


def texts_of_objects(*roots: object) -> Iterator[str]:
    """The repr and str of every object of the library that can be reached from some."""
    seen: dict[int, object] = {}
    pending = list(roots)
    while pending:
        value = pending.pop()
        if id(value) in seen or len(seen) > _OBJECTS_MAX:
            continue
        seen[id(value)] = value
        yield repr(value)
        yield str(value)
        if not isinstance(value, Secret):
            pending.extend(_inside(value))


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if isinstance(value, BaseException) or type(value).__module__.partition(".")[0] == "beamline_trio":
        names = {name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())}
        names |= set(getattr(value, "__dict__", ()))
        return [getattr(value, name) for name in names if hasattr(value, name)]
    return []


def texts_of_error(error: BaseException) -> Iterator[str]:
    """Its text, those of all that it came from, and the locals of all their frames, with what can be reached there."""
    family = list(_family(error))
    values = [value for one in family for names in _locals(one.__traceback__) for value in names.values()]
    unique = list({id(value): value for value in values}.values())
    yield from texts_of_objects(*family, *unique)
    for value in unique:
        yield pretty_repr(value, max_length=1_000, max_string=10_000)


def _family(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions


def _locals(traceback: TracebackType | None) -> Iterator[dict[str, Any]]:
    while traceback is not None:
        if not Path(traceback.tb_frame.f_code.co_filename).is_relative_to(_TESTS):
            yield dict(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next


def rich_text(error: BaseException) -> str:
    """The traceback of an error as rich prints it, with locals, the frames of the tests left out."""
    from rich.traceback import Traceback

    own = error.__traceback__
    while own is not None and Path(own.tb_frame.f_code.co_filename).is_relative_to(_TESTS):
        own = own.tb_next
    console = Console(file=io.StringIO(), width=200)
    console.print(
        Traceback.from_exception(
            type(error), error, own, show_locals=True, locals_max_length=1_000, suppress=[str(_TESTS)]
        )
    )
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class LogTexts(logging.Handler):
    """Every record of every logger, in all forms in which it can be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def take(self) -> list[str]:
        """What has come since the last time."""
        texts, self.texts = self.texts, []
        return texts

    def emit(self, record: logging.LogRecord) -> None:
        """Write it down."""
        forms = [JSONLogFormatter(), TextLogFormatter(), logging.Formatter()]
        self.texts += [form.format(record) for form in forms] + [repr(vars(record)), record.getMessage()]
