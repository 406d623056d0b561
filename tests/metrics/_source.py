"""What the source of the package logs: codes with levels, fields and stages, read from its syntax trees.

A log call is `log.<level>(..., extra={"event": CODE, ...})`, with the dictionary there or in the same function, or
a call of a ClientLog, `log(<level>, CODE, field=...)`, which adds the client; so named, or an attribute of that name.

Must not import what it reads.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import attrs

import beamline_trio

PACKAGE: Final = Path(beamline_trio.__file__).parent
# Its receiver is a process that talks to its parent in lines of JSON that have events too, and no log records.
_OTHER_LINES: Final = ("cli", "demo")
_LEVELS: Final = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
# What a ClientLog takes beside the facts.
_NO_FIELDS: Final = {"words", "exc_info"}
_CODE: Final = re.compile(r"[A-Z]+(_[A-Z]+)+")

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.define
class LoggedCode:
    """All that the source says about one code."""

    levels: set[str] = attrs.field(factory=set)
    fields: set[str] = attrs.field(factory=set)
    stages: set[str] = attrs.field(factory=set)


def logged_codes() -> dict[str, LoggedCode]:
    """Code -> what the whole package says about it."""
    found: dict[str, LoggedCode] = {}
    for stage, function in _functions():
        for code, level, fields in (*_of_extras(function), *_of_log_calls(function)):
            logged = found.setdefault(code, LoggedCode())
            logged.levels |= level
            logged.fields |= fields
            logged.stages.add(stage)
    return found


def calls_without_a_code() -> list[str]:
    """Places that log something that has no code."""
    bare: list[str] = []
    for stage, function in _functions():
        for call in _calls(function):
            named = {keyword.arg for keyword in call.keywords}
            if _level_of(call) is not None and "extra" not in named:
                bare.append(f"{stage}: {ast.unparse(call)}")
    return bare


def logging_stages() -> list[str]:
    """Stages in which a logger is called, and not a ClientLog."""
    return [stage for stage, function in _functions() for call in _calls(function) if _level_of(call) is not None]


@cache
def _functions() -> list[tuple[str, Function]]:
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), node)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[:2] != _OTHER_LINES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Function)
    ]


def _calls(function: Function) -> list[ast.Call]:
    return [node for node in ast.walk(function) if isinstance(node, ast.Call)]


def _level_of(call: ast.Call) -> str | None:
    """The level of a call of the module's logger."""
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "log":
        return _LEVELS.get(call.func.attr)
    return None


def _of_extras(function: Function) -> list[tuple[str, set[str], set[str]]]:
    levels = {level for call in _calls(function) if (level := _level_of(call)) is not None}
    found: list[tuple[str, set[str], set[str]]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            extra = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
            code = _code_of(extra.pop("event", None))
            if code is not None:
                found.append((code, levels, set(map(str, extra))))
    return found


def _of_log_calls(function: Function) -> list[tuple[str, set[str], set[str]]]:
    found: list[tuple[str, set[str], set[str]]] = []
    for call in _calls(function):
        code = _code_of(call.args[1]) if len(call.args) == 2 else None
        if ast.unparse(call.func).rpartition(".")[2] in ("log", "_log") and code is not None:
            fields = {str(keyword.arg) for keyword in call.keywords} - _NO_FIELDS
            level = ast.unparse(call.args[0]).removeprefix("logging.").lower()
            found.append((code, {level}, fields | {"client"}))
    return found


def _code_of(node: ast.expr | None) -> str | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


@cache
def names_called() -> set[str]:
    """The plain names that are called somewhere in the package, classes among them."""
    return {
        call.func.id for _, function in _functions() for call in _calls(function) if isinstance(call.func, ast.Name)
    }
