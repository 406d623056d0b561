"""What was read from a file -> a report that can be shown, or what is wrong with it.

`report.schema.json` says what a report is, to other programs too. Here is what a schema cannot say, and how what is
wrong is told: by its place, the value, and what it must be.

Must not judge a run, or read reports.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import reprlib
from collections.abc import Iterable, Mapping, Sized
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

from ..protocol import MissingExtraError
from ._errors import ScenarioError
from ._report import FORMAT

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

_SCHEMA: Final = "report.schema.json"
_SHOWN_MAX: Final = 40
_WORDS: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}


def report_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report: of each property what it is, with its unit."""
    text = resources.files(__name__.rpartition(".")[0]).joinpath(_SCHEMA).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def as_report(data: object) -> dict[str, Any]:
    """The report that some data is.

    Args:
        data: as `json.loads` gives it.

    Raises:
        ScenarioError: it is none of this version, or a part is missing, or is something else; of several the first, in
            the order of the schema.
        MissingExtraError: jsonschema is not installed.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ScenarioError("it is no report of this version")
    try:
        error = next(_validator().iter_errors(data), None)
    except RecursionError as deep:
        raise ScenarioError("a part of it is nested deeper than anything in a report") from deep
    if error is not None:
        raise _told(error)
    _check_rows(data["timeline"])
    return data


def _check_rows(timeline: Mapping[str, Sized]) -> None:
    rows = len(timeline["at"])
    for name, column in timeline.items():
        if len(column) != rows:
            place = _place(["timeline", name])
            raise ScenarioError(f"{place} is a list of {len(column)}; it must be a list of {rows}, as timeline.at is")


@functools.cache
def _validator() -> Validator:
    try:
        jsonschema = importlib.import_module("jsonschema")
    except ImportError as error:
        raise MissingExtraError(
            "reading a report needs jsonschema, which is not installed; pip install 'beamline-trio[cli]'"
        ) from error
    draft = jsonschema.Draft202012Validator
    checker = draft.TYPE_CHECKER.redefine("number", _is_number)
    validator: Validator = jsonschema.validators.extend(draft, type_checker=checker)(report_schema())
    return validator


def _is_number(_: object, value: object) -> bool:
    """As JSON has them: Python reads NaN and Infinity too, and no limit would hold a NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


def _told(error: ValidationError) -> ScenarioError:
    place, value, schema = list(error.absolute_path), cast(Any, error.instance), cast(Any, error.schema)
    if error.validator == "required":
        missing = next(name for name in schema["required"] if name not in value)
        return ScenarioError(f"{_place([*place, missing])} is missing")
    return _wrong(_place(place), value, _wanted(schema))


def _wrong(place: str, value: object, wanted: str) -> ScenarioError:
    return ScenarioError(f"{place} is {reprlib.repr(value)[:_SHOWN_MAX]}; it must be {wanted}")


def _place(path: Iterable[str | int]) -> str:
    """Such as `faults[0].kind`. Names may be data, and so of any length."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{str(part)[:_SHOWN_MAX]}" for part in path)
    return "".join(parts).removeprefix(".")


def _wanted(schema: Mapping[str, Any]) -> str:
    """What a schema asks for, in words."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return " or ".join(f"{_WORDS[kind]}{_limits(kind, schema)}" for kind in kinds)


def _limits(kind: str, schema: Mapping[str, Any]) -> str:
    if kind in ("integer", "number"):
        return f" from {schema['minimum']:g} to {schema.get('maximum', math.inf):g}"
    return f" of {schema['minItems']}" if kind == "array" and "minItems" in schema else ""
