"""The picture of the dashboard: a recording drawn where Grafana would put its panels, and nothing made up."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from beamline_trio.metrics import dashboard
from tests._documents import DOCS

TITLES = [panel["title"] for panel in json.loads(dashboard())["panels"]]


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    """docs/dashboard_picture.py, which is a program and in no package."""
    spec = spec_from_file_location("dashboard_picture", DOCS / "dashboard_picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recording(**series: list[list[float]]) -> dict[str, Any]:
    """Of 10 s: title of a panel -> the points of its one series."""
    panels = [{"title": title, "series": [{"legend": "a", "points": points}]} for title, points in series.items()]
    return {"seconds": 10.0, "panels": panels}


def texts(svg: str) -> list[str]:
    """The words in a picture, which has to be XML."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def lines(svg: str) -> list[list[tuple[float, float]]]:
    """The points of each line."""
    found = re.findall(r'points="([^"]*)"', svg)
    return [[tuple(map(float, point.split(","))) for point in line.split()] for line in found]  # type: ignore[misc]


def test_the_picture_in_the_pages_has_every_panel() -> None:
    """docs/operation/dashboard.svg is of this dashboard; a panel that is renamed or added needs another recording."""
    shown = texts((DOCS / "operation" / "dashboard.svg").read_text(encoding="utf-8"))
    assert [title for title in TITLES if title not in shown] == []
    assert "no data" not in shown


def test_a_line_goes_through_the_points(drawing: ModuleType) -> None:
    """Higher is higher, later is further right, and a second that was not scraped is a gap."""
    points = [[0.0, 0.0], [1.0, 5.0], [2.0, 10.0], [7.0, 10.0], [8.0, 0.0]]
    first, second = lines(drawing.picture(recording(**{"Pending operations": points})))
    assert (len(first), len(second)) == (3, 2)
    assert first[0][1] > first[1][1] > first[2][1]
    assert first[2][1] == second[0][1]
    assert first[1][1] - first[2][1] == pytest.approx(first[0][1] - first[1][1], abs=0.2)
    assert [x for x, _ in first + second] == sorted(x for x, _ in first + second)


def test_a_value_that_is_no_number_is_a_gap(drawing: ModuleType) -> None:
    """NaN, as of a quantile of nothing, is not drawn."""
    points = [[0.0, 1.0], [1.0, float("nan")], [2.0, 1.0]]
    assert [len(line) for line in lines(drawing.picture(recording(**{"Handler time": points})))] == [1, 1]


@pytest.mark.parametrize("value, colour", [(0.0, "red"), (0.5, "yellow"), (1.0, "green")])
def test_a_status_has_the_colour_of_its_threshold(drawing: ModuleType, value: float, colour: str) -> None:
    """The last value counts."""
    svg = drawing.picture(recording(**{"Connection status": [[0.0, 1.0], [9.0, value]]}))
    assert f'fill="{drawing.NAMED[colour]}"' in svg


def test_a_panel_without_points_says_so(drawing: ModuleType) -> None:
    """A recording without a panel, and one without points."""
    assert texts(drawing.picture(recording())).count("no data") == sum(
        panel["type"] == "timeseries" for panel in json.loads(dashboard())["panels"]
    )


def test_words_of_a_label_cannot_break_the_picture(drawing: ModuleType) -> None:
    """A legend is data."""
    odd = {"seconds": 1.0, "panels": [{"title": "Pending operations",
                                       "series": [{"legend": "<a> & b", "points": [[0.0, 1.0]]}]}]}  # fmt: skip
    assert "<a> & b" in texts(drawing.picture(odd))


def test_it_is_told_which_recording(
    drawing: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without a file it says how it is used; with one it writes the picture."""
    monkeypatch.setattr(sys, "argv", ["dashboard_picture.py"])
    assert drawing.main() == 2
    assert "usage" in capsys.readouterr().err
    (tmp_path / "panels.json").write_text(json.dumps(recording()), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["dashboard_picture.py", str(tmp_path / "panels.json")])
    monkeypatch.setattr(drawing, "FILE", tmp_path / "out.svg")
    assert drawing.main() == 0
    assert (tmp_path / "out.svg").read_text(encoding="utf-8").startswith("<svg")
