"""What a report must have: whatever is accepted can be shown, and whatever is not is named with its place."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from beamline_trio import MissingExtraError
from beamline_trio.scenarios import (
    Mark,
    ScenarioError,
    Settings,
    as_report,
    find_scenario,
    page_of,
    report_schema,
    run_scenario,
)
from beamline_trio.scenarios._alerting import _COMPARISONS
from beamline_trio.scenarios._limits import RESULTS
from beamline_trio.scenarios._metering import CHANGES_MAX
from beamline_trio.scenarios._report import FORMAT, POINTS_MAX
from beamline_trio.scenarios._scenario import Kind
from beamline_trio.scenarios._settings import LOADS, PLACES
from beamline_trio.scenarios._shape import _validator
from beamline_trio.scenarios._uses import MEASURES

WRONG: tuple[Any, ...] = (None, "text", -1, 1e400, float("nan"), True, [], {}, [None])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
# What of a run may not be there, or not be seen.
OPTIONAL = set(MEASURES)
TOLD_MAX = 300


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A report as it is read from its file, with something in every part that can be empty."""
    made = run_scenario(find_scenario("2.1"), Settings(rate=5, duration_minutes=2))
    made["wall_seconds"], made["cpu_seconds"] = 2.0, 1.5
    made["timeline"] = {name: column[:3] for name, column in made["timeline"].items()}
    made["client_options"] = {"ping_interval_seconds": 5.0}
    made["counts"]["publish_errors"] = {"PublishUnknownError": 1}
    made["counts"]["examples"] = ["1.000 s: message 7 is lost"]
    made["alerts"][0]["raised"] = [
        {"alert": "a", "target": "a", "labels": ["a"], "since": 1.0, "begins": 2.0, "ends": None}
    ]
    made["availability"]["restart_seconds_by_instance"] = {"router-1": [1.5]}
    made["availability"]["requests"] = {"asked": 2, "again": 1, "failed": 0}
    made["availability"]["repeats"] = {"repeated": 2, "recognised": 2}
    made["gaps"] = {name: [{"begins": 1.0, "seconds": 2.0}] for name in made["gaps"]}
    use = {"base": 1, "most": 2, "end": None}
    made["resources"]["instances"] = {"router-1": dict.fromkeys(MEASURES, use)}
    read: dict[str, Any] = json.loads(json.dumps(made))
    return read


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of it, by what it is in and its name there; of a list the first."""
    names = list(data) if isinstance(data, dict) else range(min(len(data), 1)) if isinstance(data, list) else ()
    for name in names:
        yield data, name
        yield from places(data[name])


def is_shown_or_refused(report: dict[str, Any]) -> bool:
    """Whether it is refused, in a few words."""
    told = refusal(report)
    assert len(told) <= TOLD_MAX
    if not told:
        page_of(report)
    return bool(told)


def refusal(report: dict[str, Any]) -> str:
    try:
        as_report(report)
    except ScenarioError as error:
        return str(error)
    return ""


# What is accepted


def test_a_whole_report_is_accepted(report: dict[str, Any]) -> None:
    """And is the same."""
    assert as_report(report) is report


def test_what_a_later_version_adds_is_borne(report: dict[str, Any]) -> None:
    """In a part that is known, and beside them."""
    added = {**report, "weather": {"rain": None}, "timeline": {**report["timeline"], "rain": [None] * 3}}
    assert as_report(added) is added


# What is refused


def test_what_lacks_a_part_is_refused_or_can_do_without(report: dict[str, Any]) -> None:
    """Each part is taken away, one at a time."""
    refused = 0
    for whole, name in list(places(report)):
        if isinstance(whole, dict):
            part = dict(whole)
            del whole[name]
            refused += is_shown_or_refused(report)
            whole.clear()
            whole.update(part)
    assert refused > 150


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_has_something_else_for_a_part_is_refused_or_shown(report: dict[str, Any], wrong: Any) -> None:
    """Each part is put into another's place, one at a time."""
    refused = 0
    for whole, name in list(places(report)):
        before, whole[name] = whole[name], wrong
        refused += is_shown_or_refused(report)
        whole[name] = before
    assert refused > 100


@given(data=st.data(), wrong=ANYTHING)
def test_a_damaged_report_is_refused_or_shown(report: dict[str, Any], data: st.DataObject, wrong: Any) -> None:
    """Whatever stands in whatever place, and under whatever name: a ScenarioError, or a page, and nothing else."""
    damaged = copy.deepcopy(report)
    whole, name = data.draw(st.sampled_from(list(places(damaged))))
    if isinstance(whole, dict) and data.draw(st.booleans()):
        whole[data.draw(st.text())] = whole.pop(name)
    else:
        whole[name] = wrong
    is_shown_or_refused(json.loads(json.dumps(damaged)))


def test_no_number_is_nan_or_infinite_or_true(report: dict[str, Any]) -> None:
    """In no place where a number is, but for metrics, where true is 1 in files of earlier versions."""
    numbers = [
        (whole, name)
        for whole, name in places(report)
        if isinstance(whole[name], (int, float)) and not isinstance(whole[name], bool)
    ]
    assert len(numbers) > 80
    for whole, name in numbers:
        before = whole[name]
        for wrong in (float("nan"), float("inf"), float("-inf"), True):
            whole[name] = wrong
            free = whole is report["client_options"] or (wrong is True and isinstance(whole, list) and name == 1)
            assert is_shown_or_refused(report) is not free, (name, wrong)
        whole[name] = before


def test_columns_of_a_timeline_are_of_one_length(report: dict[str, Any]) -> None:
    """One that ends sooner has no picture."""
    timeline = report["timeline"]
    text = r"^timeline\.depth is a list of 2; it must be a list of 3, as timeline\.at is$"
    with pytest.raises(ScenarioError, match=text):
        as_report({**report, "timeline": {**timeline, "depth": timeline["depth"][:-1]}})


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"findings": [{"name": "a", "value": "b", "limit": "c"}]}, r"^findings\[0\]\.mark is missing$"),
        ({"rate": float("nan")}, r"^rate is nan; it must be a number from -1e\+15 to 1e\+15$"),
        ({"seconds": 1e12}, r"^seconds is 1000000000000\.0; it must be a number from 0 to 1e\+08$"),
        ({"seed": -1}, "^seed is -1; it must be a whole number from 0 to inf$"),
        ({"result": "good"}, "^result is 'good'; it must be one of passed, passed with warnings, failed$"),
        ({"title": 7, "about": 7, "phases": 7}, "^title is 7; it must be a text$"),
        ({"phases": "x" * 10**6}, r"^phases is 'x{12}\.\.\.x{13}'; it must be a list$"),
        ({"resources": {"nodes": {"n" * 99: []}, "instances": {}}}, r"^resources\.nodes\.n{40} is \[\]; it must be an"),
        ({"format": 1}, "^it is no report of this version$"),
        ({"format": None}, "^it is no report of this version$"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(report: dict[str, Any], changed: dict[str, Any], text: str) -> None:
    """And with what it must be; of several the first."""
    with pytest.raises(ScenarioError, match=text):
        as_report({**report, **changed})


def test_what_is_nested_deeper_than_python_can_go_is_refused(report: dict[str, Any]) -> None:
    """Not with an error of Python's own."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ScenarioError, match="nested deeper"):
        as_report({**report, "rate": deep})


def test_without_jsonschema_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, report: dict[str, Any]) -> None:
    """What needs it is reading a report; running a scenario and drawing its page do not."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    _validator.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'beamline-trio\[cli\]'"):
        as_report(report)
    page_of(run_scenario(find_scenario("4.1"), Settings(rate=1, duration_minutes=2)))


# The schema


def test_values_of_series_are_numbers(report: dict[str, Any]) -> None:
    """Also of metrics that are 0 or 1: whoever sums them up or draws them meets no truth."""
    values = [value for one in report["metrics"]["series"] for _, value in one["changes"]]
    assert values
    assert {type(value) for value in values} <= {float, type(None)}


def described(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a schema refers to, with its own words beside it."""
    return {**whole["$defs"][schema["$ref"].rpartition("/")[2]], **schema} if "$ref" in schema else schema


def undescribed(data: Any, schema: Mapping[str, Any], whole: Mapping[str, Any], place: str) -> Iterator[str]:
    """The places of what has no description."""
    schema = described(schema, whole)
    if isinstance(data, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        assert not known or not data.keys() - known.keys(), place
        for name, one in data.items():
            part = known.get(name, others)
            if "description" not in part:
                yield f"{place}.{name}"
            yield from undescribed(one, part, whole, f"{place}.{name}")
    elif isinstance(data, list):
        parts = schema.get("prefixItems")
        for index, one in enumerate(data):
            yield from undescribed(one, parts[index] if parts else schema["items"], whole, f"{place}[{index}]")


def objects(schema: Any, name: str = "report") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schemas in it that name properties."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield name, schema
        for inner, part in schema.items():
            yield from objects(part, inner)


def test_the_schema_is_one() -> None:
    """It satisfies that of draft 2020-12."""
    Draft202012Validator.check_schema(report_schema())


def test_each_part_of_a_report_is_described(report: dict[str, Any]) -> None:
    """There is none that the schema does not name."""
    schema = report_schema()
    assert list(undescribed(report, schema, schema, "")) == []


def test_each_property_of_the_schema_is_in_a_report(report: dict[str, Any]) -> None:
    """The schema names none that nobody writes; and each is described."""
    written = {name for whole, name in places(report) if isinstance(whole, dict)}
    for place, schema in objects(report_schema()):
        assert schema["properties"].keys() <= written, place
        assert all("description" in part for part in schema["properties"].values()), place


def test_each_property_is_always_there() -> None:
    """But for what cannot be seen of every server and instance."""
    for place, schema in objects(report_schema()):
        assert set(schema.get("required", ())) | OPTIONAL >= schema["properties"].keys(), place


def test_the_schema_has_what_the_code_has() -> None:
    """The version, the words of each list, and the limits that it tells."""
    schema = report_schema()
    whole, parts = schema["properties"], schema["$defs"]
    assert whole["format"]["const"] == FORMAT
    assert schema["$id"].endswith(f":{FORMAT}")
    assert whole["result"]["enum"] == list(RESULTS.values())
    assert whole["on"]["enum"] == parts["settings"]["properties"]["on"]["enum"] == list(PLACES)
    assert parts["settings"]["properties"]["load"]["enum"] == list(LOADS)
    assert parts["finding"]["properties"]["mark"]["enum"] == list(Mark)
    assert parts["fault"]["properties"]["kind"]["enum"] == list(Kind)
    assert parts["alert"]["properties"]["comparison"]["enum"] == list(_COMPARISONS)
    assert f"at most {POINTS_MAX:,} rows" in parts["timeline"]["description"]
    assert f"the first {CHANGES_MAX:,} changes" in parts["series"]["properties"]["changes"]["description"]
