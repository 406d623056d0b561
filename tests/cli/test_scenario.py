"""`beamline scenario`: what it lists, runs and shows, and with which code it ends."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from beamline_trio.cli import main
from beamline_trio.cli._scenario import _name
from beamline_trio.scenarios import SCENARIOS
from beamline_trio.scenarios._report import FORMAT
from beamline_trio.scenarios._shape import _validator

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def beamline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Run `beamline scenario` in this process, in a directory of its own: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("beamline_trio")
    before = logger.level

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["beamline", "scenario", *words])
        code = main()
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run
    logger.setLevel(before)


def test_all_scenarios_are_listed(beamline: Run) -> None:
    """By number, with their length; also for programs."""
    code, out, _ = beamline("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(SCENARIOS)
    assert "2.1    75 min  Server restarts" in out
    _, out, _ = beamline("list", "--json")
    assert json.loads(out.splitlines()[0])["number"] == "1.1"


def test_a_run_writes_a_report_and_tells_its_result(beamline: Run, tmp_path: Path) -> None:
    """Exit code 0, a row, and a file that `report` shows again."""
    code, out, _ = beamline("run", "2.1", "--minutes", "2", "--rate", "10", "--out", "reports")
    assert code == 0
    assert out.startswith("2.1  passed")
    assert "min" in out
    file = tmp_path / "reports" / "scenario-2.1-simulation-seed-1-rate-10.json"
    assert json.loads(file.read_text())["scenario"] == "2.1"
    code, again, _ = beamline("report", str(file))
    assert (code, again.split()[:2]) == (0, ["2.1", "passed"])


def test_a_run_for_programs_is_an_object_a_scenario(beamline: Run) -> None:
    """With counts, findings and the file's name."""
    code, out, _ = beamline("run", "4.1", "--minutes", "2", "--rate", "5", "--seed", "3", "--json")
    said = json.loads(out)
    assert (code, said["scenario"], said["seed"], said["counts"]["lost"]) == (0, "4.1", 3, 0)
    assert said["file"] == "scenario-reports/scenario-4.1-simulation-seed-3-rate-5.json"


def test_a_report_of_a_run_that_failed_ends_with_1(beamline: Run, tmp_path: Path) -> None:
    """Its failed criteria are named, with what was found and what had to be; of a damaged one what is missing."""
    beamline("run", "4.1", "--minutes", "2", "--rate", "5", "--out", ".")
    file = tmp_path / "scenario-4.1-simulation-seed-1-rate-5.json"
    report = json.loads(file.read_text())
    report["result"] = "failed"
    report["findings"][0] = {"name": "acked messages lost", "mark": "fail", "value": "1 (7)", "limit": "0"}
    file.write_text(json.dumps(report))
    code, out, _ = beamline("report", str(file))
    assert code == 1
    assert "FAIL  acked messages lost: 1 (7), must be 0" in out
    del report["faults"]
    file.write_text(json.dumps(report))
    for words in ((), ("--html",)):
        code, out, err = beamline("report", str(file), *words)
        assert (code, out, err) == (
            2,
            "",
            f"beamline: {file} cannot be shown: faults is missing; run the scenario again\n",
        )


@pytest.mark.parametrize(
    "words, text",
    [
        (("run",), "name scenarios, as in 2.1, or write --group production_scale"),
        (("run", "9.9"), "there is no scenario '9.9'"),
        (("run", "2.1", "--group", "production_scale"), "name scenarios, as in 2.1, or write"),
        (("run", "--group", "all"), "--group is 'all'; there is production_scale"),
        (("run", "2.1", "--rate", "0"), "rate is 0; it must be"),
        (("report", "no.json"), "no.json cannot be read as a report"),
    ],
)
def test_what_cannot_be_run_ends_with_2_and_a_line(beamline: Run, words: tuple[str, ...], text: str) -> None:
    """And runs nothing."""
    code, out, err = beamline(*words)
    assert (code, out) == (2, "")
    assert text in err


def test_a_file_that_is_no_report_is_refused(beamline: Run, tmp_path: Path) -> None:
    """Also one of another version."""
    for text in ("[]", '{"format": 0}'):
        (tmp_path / "other.json").write_text(text)
        code, _, err = beamline("report", "other.json")
        assert (code, "other.json cannot be shown: it is no report of this version" in err) == (2, True)


def test_a_file_that_is_damaged_is_refused(beamline: Run, tmp_path: Path) -> None:
    """In a line, whatever is in it: parts within parts without end, a number without end, half of a character."""
    beamline("run", "4.1", "--minutes", "2", "--rate", "5", "--out", ".")
    file = tmp_path / "scenario-4.1-simulation-seed-1-rate-5.json"
    half = file.read_text().replace('"title": "', '"title": "\\ud800')
    for text in ("[" * 200_000, '{"a":' * 200_000, "9" * 5_000, half, "\ufeff{}", ""):
        file.write_text(text)
        for words in ((), ("--html",)):
            code, out, err = beamline("report", str(file), *words)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert f"{file} cannot be read as a report" in err


def test_where_no_report_can_be_written_nothing_runs(beamline: Run, tmp_path: Path) -> None:
    """A run may take hours, and would be for nothing."""
    (tmp_path / "taken").write_text("")
    for directory in ("taken", "taken/below"):
        code, out, err = beamline("run", "4.1", "--minutes", "2", "--rate", "5", "--out", directory)
        assert (code, out) == (2, "")
        assert f"reports cannot be written to {directory!r}" in err
        assert "give another --out" in err


def test_without_jsonschema_no_report_is_shown(beamline: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That is 2, with a line that says what to install: 1 would say that a run has failed."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    _validator.cache_clear()
    (tmp_path / "any.json").write_text(json.dumps({"format": FORMAT}))
    code, out, err = beamline("report", "any.json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "any.json cannot be shown: " in err
    assert "pip install 'beamline-trio[cli]'" in err


@pytest.mark.parametrize("number", ["2.1", "5.1", "5.2"])
def test_without_a_nats_server_nothing_runs_on_real_ones(
    number: str, beamline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One server, a cluster, regions: it cannot be run as asked, which is 2, with a line that says what to install."""
    monkeypatch.setenv("NATS_SERVER", "/nowhere/nats-server")
    code, out, err = beamline("run", number, "--on", "real")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install 'beamline-trio[server]'" in err


def test_files_of_another_load_or_rate_have_another_name() -> None:
    """So none takes the place of the usual run; what follows the seed leaves the names of pictures as they are."""
    usual = {"scenario": "2.1", "on": "simulation", "seed": 1, "rate": 100.0, "settings": {"load": "pipeline"}}
    assert _name(usual) == "scenario-2.1-simulation-seed-1"
    assert _name({**usual, "settings": {"load": "decisions"}}) == "scenario-2.1-simulation-seed-1-decisions"
    assert _name({**usual, "rate": 0.5}) == "scenario-2.1-simulation-seed-1-rate-0.5"


def test_the_environment_stands_in_for_options(beamline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """EXTENDED_TEST_MESSAGE_RATE and EXTENDED_TEST_DURATION_MIN; a value that cannot work is refused by its name."""
    monkeypatch.setenv("EXTENDED_TEST_MESSAGE_RATE", "5")
    monkeypatch.setenv("EXTENDED_TEST_DURATION_MIN", "2")
    _, out, _ = beamline("run", "4.1", "--json")
    assert json.loads(out)["counts"]["begun"] == pytest.approx(600, abs=4)  # a burst more
    monkeypatch.setenv("REGION_COUNT", "many")
    assert "REGION_COUNT is 'many'" in beamline("run", "4.1")[2]
