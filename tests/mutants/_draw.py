"""Mutants drawn at random: small changes of the client's source at lines that the workload comes by.

    executed lines (by a trace of some seeds) -> candidates (by the syntax tree) -> a draw -> diffs

What can be changed: a statement is dropped (an await, a call, an assignment, a counter), a condition negated, a bound
of a comparison moved, a whole number raised by one, an `elif` or `else` branch dropped. Left alone are logs,
docstrings, and what is in no function: a changed default is a decision and no bug.

Must not run mutants.
"""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import attrs

from ._apply import Mutant, parse_diff
from ._trial import PACKAGE, copied_package, run_module

STAGES: Final = ("connection", "client")
# Enough to come by whatever an ordinary run comes by.
TRACED_SEEDS: Final = 8
_SWAPPED: Final[dict[type[ast.cmpop], str]] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_LOGS: Final = ("_log", "log", "log_attempt", "_log_attempt")


@attrs.frozen
class Change:
    """One small change: the text from `start` to `end` (offsets in the file's bytes) becomes `text`."""

    path: str
    line: int
    kind: str
    start: int
    end: int
    text: bytes


def draw_mutants(count: int, seed: int) -> list[Mutant]:
    """So many different mutants, the same for the same seed, source and interpreter."""
    candidates = [
        change
        for path, lines in sorted(executed_lines().items())
        for change in candidates_of(path, (PACKAGE / path).read_bytes(), lines)
    ]
    drawn = Random(seed).sample(candidates, min(count, len(candidates)))
    return [_mutant(change) for change in drawn]


def executed_lines() -> dict[str, set[int]]:
    """Path below the package -> lines of functions that the workload came by."""
    with copied_package() as copy:
        output, complaint = run_module(copy, "tests.mutants._lines", str(TRACED_SEEDS), *STAGES)
    if complaint:
        raise RuntimeError(f"the trace of the workload failed: {complaint}")
    return {path: set(lines) for path, lines in json.loads(output).items()}


def candidates_of(path: str, source: bytes, lines: set[int]) -> list[Change]:
    """Every change of a file that can be drawn, in the order of its lines."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found: list[Change] = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in _inside(function):
                for kind, first, text in _changes(node, source, offsets):
                    if first.lineno in lines:
                        start, end = _span(first, offsets)
                        found.append(Change(path, first.lineno, kind, start, end, text))
    return sorted(dict.fromkeys(found), key=lambda change: (change.line, change.start, change.kind, change.text))


def _inside(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The statements and expressions of a function's body, without those of functions in it, nor of logs."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or _is_log(node):
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def _changes(node: ast.AST, source: bytes, offsets: list[int]) -> Iterator[tuple[str, ast.expr | ast.stmt, bytes]]:
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr(value=ast.Await()):
            yield "await dropped", node, b"pass"
        case ast.Expr() | ast.AugAssign():
            yield "statement dropped", node, b"pass"
        case ast.Assign(targets=[ast.Attribute()]):
            yield "assignment dropped", node, b"pass"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield "condition negated", test, b"not (" + _text(test, source, offsets) + b")"
            if isinstance(node, ast.If) and node.orelse:
                yield "branch dropped", node, _without_else(node, source, offsets)
        case ast.Compare(ops=[op], left=left, comparators=[right]) if type(op) in _SWAPPED:
            sides = _text(left, source, offsets), _text(right, source, offsets)
            yield "bound moved", node, f" {_SWAPPED[type(op)]} ".encode().join(sides)
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            yield "number raised", node, str(value + 1).encode()
        case _:
            return


def _without_else(node: ast.If, source: bytes, offsets: list[int]) -> bytes:
    start, _ = _span(node, offsets)
    _, end = _span(node.body[-1], offsets)
    return source[start:end]


def _is_log(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    called = node.value.func
    while isinstance(called, ast.Attribute):
        if called.attr in _LOGS:
            return True
        called = called.value
    return isinstance(called, ast.Name) and called.id in _LOGS


def _span(node: ast.expr | ast.stmt, offsets: list[int]) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return offsets[node.lineno - 1] + node.col_offset, offsets[node.end_lineno - 1] + node.end_col_offset


def _text(node: ast.expr, source: bytes, offsets: list[int]) -> bytes:
    start, end = _span(node, offsets)
    return source[start:end]


def _mutant(change: Change) -> Mutant:
    before = (PACKAGE / change.path).read_bytes()
    after = before[: change.start] + change.text + before[change.end :]
    path = f"{PACKAGE.name}/{change.path}"
    diff = difflib.unified_diff(
        before.decode().splitlines(keepends=True), after.decode().splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return parse_diff(f"{change.path}:{change.line} {change.kind}", "".join(diff))


def package_files(package: Path, stages: tuple[str, ...] = STAGES) -> list[Path]:
    """The files that may be changed."""
    return [file for stage in stages for file in sorted((package / stage).glob("*.py"))]
