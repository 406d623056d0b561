"""What was read from a file -> a report that can be shown, or what is wrong with it. Pure.

A shape is a check of one value: it raises, with the place of what is missing or is something else. What is not shown is
not looked at.

Must not judge a run, or read files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ._errors import ScenarioError
from ._limits import RESULTS, Mark
from ._report import FORMAT

# Checks a value at a place, such as `faults[0].kind`.
Shape: TypeAlias = Callable[[Any, str], None]

# More is no number of a run.
_NUMBER_MAX: Final = 1e15
_SECONDS_MAX: Final = 1e8


def as_report(data: object) -> dict[str, Any]:
    """The report that some data is.

    Raises:
        ScenarioError: it is none of this version, or a part that is shown is missing, or is something else.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ScenarioError("it is no report of this version")
    _REPORT(data, "")
    return data


def _wrong(place: str, value: object, wanted: str) -> ScenarioError:
    return ScenarioError(f"{place} is {repr(value)[:40]}; it must be {wanted}")


def _anything(value: Any, place: str) -> None:
    """It is only named, or shown as it is."""


def _text(value: Any, place: str) -> None:
    if not isinstance(value, str):
        raise _wrong(place, value, "a text")


def _number(value: Any, place: str, least: float = -_NUMBER_MAX, most: float = _NUMBER_MAX) -> None:
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise _wrong(place, value, f"a number from {least:g} to {most:g}")


def _seconds(value: Any, place: str) -> None:
    """How far a picture goes."""
    _number(value, place, 0, _SECONDS_MAX)


def _one_of(*words: str) -> Shape:
    def check(value: Any, place: str) -> None:
        if value not in words:
            raise _wrong(place, value, f"one of {', '.join(words)}")

    return check


def _maybe(shape: Shape) -> Shape:
    def check(value: Any, place: str) -> None:
        if value is not None:
            shape(value, place)

    return check


def _list(shape: Shape) -> Shape:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, list):
            raise _wrong(place, value, "a list")
        for index, one in enumerate(value):
            shape(one, f"{place}[{index}]")

    return check


def _each(shape: Shape) -> Shape:
    """A mapping whose names are data."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(place, value, "an object")
        for name, one in value.items():
            shape(one, f"{place}.{name}")

    return check


def _record(**shapes: Shape) -> Shape:
    """A mapping with these names, at least."""

    def check(value: Any, place: str) -> None:
        _each(_anything)(value, place)
        for name, shape in shapes.items():
            at = f"{place}.{name}".removeprefix(".")
            if name not in value:
                raise ScenarioError(f"{at} is missing")
            shape(value[name], at)

    return check


def _columns(**shapes: Shape) -> Shape:
    """Lists of one length."""
    record = _record(**{name: _list(shape) for name, shape in shapes.items()})

    def check(value: Any, place: str) -> None:
        record(value, place)
        lengths = {name: len(value[name]) for name in shapes}
        if len(set(lengths.values())) > 1:
            raise _wrong(place, lengths, "lists of one length")

    return check


def _counts(value: Any, place: str) -> None:
    _each(_anything)(value, place)
    for name, one in value.items():
        at = f"{place}.{name}"
        shape = _list(_anything) if name == "examples" else _each(_number) if isinstance(one, dict) else _number
        shape(one, at)


_USES: Final = _each(_each(_record(base=_maybe(_number), most=_maybe(_number), end=_maybe(_number))))
_RAISED: Final = _record(target=_text, labels=_list(_text), since=_number, begins=_number, ends=_maybe(_number))
_REPORT: Final = _record(
    scenario=_text,
    title=_text,
    about=_text,
    result=_one_of(*RESULTS.values()),
    on=_text,
    seed=_number,
    rate=_number,
    seconds=_seconds,
    settings=_each(_anything),
    topology=_record(nodes=_number, regions=_list(_text)),
    client_options=_each(_anything),
    phases=_list(_record(name=_text, begins=_number, ends=_number)),
    findings=_list(_record(name=_text, mark=_one_of(*Mark), value=_text, limit=_text)),
    counts=_counts,
    throughput=_each(_number),
    faults=_list(
        _record(
            kind=_text,
            target=_text,
            begins=_number,
            healed=_number,
            reconnect_seconds=_maybe(_number),
            recovery_seconds=_maybe(_number),
            depth_max=_number,
        )
    ),
    availability=_record(
        readiness_looks=_number,
        ready_least=_maybe(_number),
        restart_seconds_by_instance=_each(_list(_number)),
        requests=_maybe(_record(asked=_number, again=_number, failed=_number)),
        repeats=_maybe(_record(repeated=_number, recognised=_maybe(_number))),
    ),
    alerts=_list(
        _record(
            name=_text, metric=_text, comparison=_text, threshold=_number, for_seconds=_number, raised=_list(_RAISED)
        )
    ),
    metrics=_record(scrape_seconds=_number, series=_list(_record(dropped=_number))),
    resources=_record(nodes=_USES, instances=_USES),
    timeline=_columns(
        at=_seconds,
        acked_per_second=_number,
        ended_per_second=_number,
        depth=_number,
        latency_seconds=_number,
        up=_number,
        ready=_number,
        quorum=_number,
        regions=_number,
        memory_bytes=_number,
        tasks=_number,
    ),
    wall_seconds=_number,
)
