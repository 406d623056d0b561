"""The page of a report: complete, of one piece, and drawn by a real browser."""

from __future__ import annotations

import re
import zlib
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest

from beamline_trio.scenarios import Settings, find_scenario, page_of, run_scenario
from tests.scenarios._browser import BROWSERS, DARK, find_browser, take_picture

NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A run of two simulated minutes in which the server is killed and stopped."""
    made = run_scenario(find_scenario("2.1"), Settings(rate=10, duration_minutes=2))
    made["wall_seconds"] = 2.0
    return made


def picture_of(page: str) -> ElementTree.Element:
    found = re.search(r"<svg.*?</svg>", page, re.DOTALL)
    assert found is not None
    return ElementTree.fromstring(found[0])


def test_a_page_has_every_finding_fault_and_count(report: dict[str, Any]) -> None:
    """What the report has in numbers, the page has in words."""
    page = page_of(report)
    for finding in report["findings"]:
        assert finding["name"].replace("<", "&lt;").replace("'", "&#x27;") in page
    assert page.count("<td>server kill</td>") + page.count("<td>server stop</td>") == len(report["faults"]) > 1
    assert f"{report['counts']['acked']:,}" in page
    assert '<span class="result ok">passed</span>' in page
    for section in ("Metrics and alerts", "Availability", "Resources"):
        assert f"<h2>{section}</h2>" in page


def test_an_alert_that_was_raised_has_a_bar_in_the_picture_and_a_row(report: dict[str, Any]) -> None:
    """What two tell at the same time is one bar; what is not over lasts until the end."""
    raised = [
        {
            "alert": "RouterQuorumLost",
            "target": target,
            "labels": [target],
            "since": 20.0,
            "begins": begins,
            "ends": ends,
        }
        for target, begins, ends in (("watch", 30.0, 50.0), ("other", 35.0, 45.0), ("late", 100.0, None))
    ]
    alerts = [{**one, "raised": raised if one["name"] == "RouterQuorumLost" else []} for one in report["alerts"]]
    page = page_of({**report, "alerts": alerts})
    bars = [one for one in picture_of(page).findall("rect") if one.attrib["class"] == "alert"]
    assert [bar.findtext("title") for bar in bars] == [
        "RouterQuorumLost, 30 to 50 s",
        f"RouterQuorumLost, 100 to {report['seconds']:.0f} s",
    ]
    assert page.count("<td>RouterQuorumLost</td>") == 3
    assert "router_cluster_quorum == 0 for 30 s" not in page_of(report)  # its run is compressed, and so is the rule


def test_changes_of_series_that_were_not_kept_are_told(report: dict[str, Any]) -> None:
    """Those of all series together; where there are none there is nothing to tell."""
    series = [{**one, "dropped": 700} for one in report["metrics"]["series"][:2]]
    told = "; 1,400 changes of series are not in the report"
    assert told in page_of({**report, "metrics": {**report["metrics"], "series": series}})
    assert "not in the report" not in page_of(report)


def test_what_was_asked_and_remembered_is_told(report: dict[str, Any]) -> None:
    """Requests, restarts and messages that came again; what is not known of them is left out."""
    seen = {
        "readiness_looks": 1_200,
        "ready_least": 2,
        "restart_seconds_by_instance": {"router-1": [1.5, 2.25], "router-2": []},
        "requests": {"asked": 240, "again": 3, "failed": 0},
        "repeats": {"repeated": 90, "recognised": None},
    }
    used = {
        "tasks": {"base": 20, "most": 30, "end": None},
        "memory_bytes": {"base": 50_000_000, "most": 60_000_000, "end": 1},
    }
    page = page_of({**report, "availability": seen, "resources": {"nodes": {"east-1": used}, "instances": {}}})
    assert "looked at 1,200 times, 2 ready at the least" in page
    assert "2, 1.5 to 2.2 s until it took messages again" in page
    assert "restarts of router-2" not in page
    assert "240 asked, 3 answered at a later attempt, 0 not" in page
    assert "<td>90</td>" in page
    assert "50.0 MB" in page


def test_a_page_is_of_one_piece(report: dict[str, Any]) -> None:
    """No script, nothing that is loaded from elsewhere, and a picture that is well-formed."""
    page = page_of(report)
    assert "<script" not in page
    assert not re.search(r"""(src|href)=|url\(|@import|https?://""", page)
    picture_of(page)


def test_the_picture_has_a_line_of_each_series_and_a_band_of_each_fault(report: dict[str, Any]) -> None:
    """Lines have a point for each moment, and lie within the picture."""
    picture = picture_of(page_of(report))
    lines = picture.findall("path")
    assert len(lines) == 8
    width, height = (float(part) for part in picture.attrib["viewBox"].split()[2:])
    for line in lines:
        points = re.findall(r"[ML]([\d.]+) ([\d.]+)", line.attrib["d"])
        assert points
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in points)
    bands = [one for one in picture.findall("rect") if one.attrib["class"].startswith("band")]
    told = [band.findtext("title", "").split(",")[0] for band in bands]
    assert told == [fault["kind"].replace("_", " ") for fault in report["faults"]]


def test_what_a_report_says_is_text_in_its_page(report: dict[str, Any]) -> None:
    """Markup in any text and any name of it is shown, not obeyed: the page has the same elements and attributes."""
    raised = {"target": "watch", "labels": ["watch", "east"], "since": 20.0, "begins": 30.0, "ends": 50.0}
    full = {
        **report,
        "client_options": {"pending_max": 50_000},
        "alerts": [{**one, "raised": [raised]} for one in report["alerts"]],
        "counts": {**report["counts"], "publish_errors": {"TimeoutError": 1}, "examples": ["lost 7"]},
        "availability": {**report["availability"], "restart_seconds_by_instance": {"router-1": [1.5]}},
    }
    page = page_of({**marked_up(full), "result": report["result"]})
    assert elements_of(page) == elements_of(page_of(full))
    assert page.count(escape(MARKUP)) > 50
    picture_of(page)


MARKUP = "<b>\"'&"


def marked_up(data: Any) -> Any:
    """Data with markup in all that is text, and one more name with markup in each mapping."""
    if isinstance(data, str):
        return data + MARKUP
    if isinstance(data, list):
        return [marked_up(one) for one in data]
    if isinstance(data, dict):
        marked = {name: marked_up(value) for name, value in data.items()}
        return marked | dict([(MARKUP, value) for value in marked.values()][:1])
    return data


def elements_of(page: str) -> set[tuple[str, frozenset[str]]]:
    """Each kind of element with the names of its attributes."""
    found: set[tuple[str, frozenset[str]]] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.add((tag, frozenset(name for name, _ in attrs)))

    Reader().feed(page)
    return found


def test_a_cluster_has_its_quorum_and_regions_in_the_picture(report: dict[str, Any]) -> None:
    """Series that say nothing on a single server are left out there, and only there."""
    topology = {**report["topology"], "nodes": 3, "regions": ["east", "west"]}
    assert len(picture_of(page_of({**report, "topology": topology})).findall("path")) == 10


def test_a_browser_draws_the_page(report: dict[str, Any], tmp_path: Path) -> None:
    """The picture is there: its lines and bands have their colours, light and dark."""
    browser = find_browser()
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH")
    file = tmp_path / "page.html"
    file.write_text(page_of(report), encoding="utf-8")
    light, dark = (screenshot(browser, file, tmp_path / f"{name}.png", *flags) for name, flags in SCHEMES.items())
    assert {(31, 111, 235), (217, 119, 6), (255, 255, 255)} <= light.colours
    assert {(110, 168, 254), (18, 22, 28)} <= dark.colours
    assert light.size == dark.size == (1280, 1000)


SCHEMES = {"light": (), "dark": DARK}


@attrs.frozen
class Image:
    size: tuple[int, int]
    colours: set[tuple[int, int, int]]


def screenshot(browser: str, page: Path, image: Path, *flags: str) -> Image:
    """What a browser shows of a page, at its top."""
    take_picture(browser, page, image, *flags)
    return read_png(image.read_bytes())


def read_png(data: bytes) -> Image:
    """Size and colours of a PNG of 8 bits a channel, which is what browsers make."""
    width, height, depth, kind = (
        int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), data[24], data[25]
    )  # fmt: skip
    assert depth == 8
    channels = {2: 3, 6: 4}[kind]
    packed, at = b"", 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    raw, stride = zlib.decompress(packed), width * channels
    colours: set[tuple[int, int, int]] = set()
    above = bytes(stride)
    for row in range(height):
        start = row * (stride + 1)
        above = unfiltered(raw[start], raw[start + 1 : start + 1 + stride], above, channels)
        colours |= set(zip(above[0::channels], above[1::channels], above[2::channels], strict=True))
    return Image((width, height), colours)


def unfiltered(kind: int, row: bytes, above: bytes, channels: int) -> bytes:
    """A row as it was before PNG's filter."""
    if kind == 0:
        return row
    if kind == 2:
        return bytes((one + up) & 255 for one, up in zip(row, above, strict=True))
    out = bytearray(row)
    for index in range(len(out)):
        left = out[index - channels] if index >= channels else 0
        corner = above[index - channels] if index >= channels else 0
        guess = left if kind == 1 else (left + above[index]) // 2 if kind == 3 else paeth(left, above[index], corner)
        out[index] = (out[index] + guess) & 255
    return bytes(out)


def paeth(left: int, up: int, corner: int) -> int:
    """The neighbour that is nearest to their plane."""
    estimate = left + up - corner
    distances = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
    return (left, up, corner)[distances.index(min(distances))]
