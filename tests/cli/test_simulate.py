"""`beamline simulate`: what a sweep finds, what it tells, and with which code it ends."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from beamline_trio.cli import main
from beamline_trio.simulation import Plan

Run: TypeAlias = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "partition.py"
ACCOUNTS = ROOT / "examples" / "accounting.py"
PLANTED = ROOT / "tests" / "simulation" / "scenarios" / "planted.py"

SCENARIOS = """
import trio
from beamline_trio import open_client
from beamline_trio.testing import laws

def odd_seeds_only(evidence):
    if evidence.ended_at > 0:
        yield 0.25, "the seed is even"

@laws(odd_seeds_only, faults=None)
async def scenario(world):
    await trio.sleep(1800 * (1 - world.seed % 2))

async def raises(world):
    raise LookupError("no such price")

async def interrupted(world):
    await trio.sleep(3600)
    if world.seed == 3:
        raise KeyboardInterrupt

async def interrupted_in_a_nursery(world):
    async with trio.open_nursery():
        await interrupted(world)

def planted(evidence):
    if evidence.plan.faults:
        yield 1.0, "there are faults"

runs = 0

@laws(planted)
async def interrupted_while_shrinking(world):
    global runs
    runs += 1
    if runs == 2:
        raise KeyboardInterrupt
    server = await world.start_server("a")
    async with open_client(server.url, dialer=world.dialer("app")):
        await world.quiet()

@laws(faults=None, figures=lambda evidence: {"orders": 1_000, "lost": 0})
async def counted(world): ...

def synchronous(world): ...

async def takes_two(world, other): ...
"""


@pytest.fixture
def beamline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Calls `beamline simulate` in an empty directory: exit code, stdout, stderr."""
    before = dict(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("scenarios.py").write_text(SCENARIOS)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["beamline", "simulate", *map(str, arguments)])
        code = main()
        out, err = capsys.readouterr()
        return code, out, err

    yield run
    for name in set(sys.modules) - set(before):
        if name.startswith("_scenario_"):
            del sys.modules[name]


@pytest.mark.slow
def test_the_example_holds(beamline: Run) -> None:
    """An application with the whole client keeps its laws under 20 seeds, each with its own faults."""
    code, out, err = beamline(EXAMPLE, "--seeds", "1:20")
    assert code == 0, out
    # On a slow machine it says between whiles how far it is.
    assert all(re.fullmatch(r"beamline: \d+ of 20 seeds, 0 failed", line) for line in err.splitlines())
    first, second = out.splitlines()
    assert first == "20 of 20 seeds run, all laws hold"
    figures = r"[\d,]+ events, [\d,]+ a second; \d\.\d simulated hours, [\d.]+ a wall second; [\d.]+ wall seconds"
    assert re.fullmatch(figures, second)


@pytest.mark.slow
def test_the_accounts_of_the_example_add_up(beamline: Run) -> None:
    """Publishers of all policies, a stream, server deaths: what was accepted is the sum of its ends, and 0 are lost."""
    code, out, _ = beamline(ACCOUNTS, "--seeds", "1:8")
    assert code == 0, out
    counted = {name: int(count.replace(",", "")) for name, count in re.findall(r"(\w+) ([\d,]+)", out.splitlines()[1])}
    assert counted.pop("lost") == 0
    assert counted.pop("accepted") == sum(counted.values()) > 1_000
    assert counted["unknown"] > 0 < counted["expired"]


def test_what_a_scenario_counts_is_added_up(beamline: Run) -> None:
    """The figures that @laws asks for stand behind the seeds, by their names, and in the JSON."""
    code, out, _ = beamline("scenarios.py:counted", "--seeds", "1:3")
    assert (code, out.splitlines()[1]) == (0, "orders 3,000, lost 0")
    _, out, _ = beamline("scenarios.py:counted", "--seeds", "1:3", "--json")
    assert json.loads(out)["counted"] == {"orders": 3_000, "lost": 0}


def test_a_planted_mistake_is_found_shrunk_and_replayed(beamline: Run) -> None:
    """20 seeds find it, one or two faults are enough for it, and the command that is printed shows it again."""
    code, out, _ = beamline(PLANTED, "--seeds", "1:20", "--shrink", "--stop-after", 1)
    assert code == 1
    assert "the law no_loss is broken at " in out
    assert "and its application was never given it" in out
    found = re.search(r"^shrunk from (\d+) faults to [12] faults? in \d+ runs: (\S+)$", out, re.MULTILINE)
    assert found, out
    plan = Plan.from_json(Path(found[2]).read_text())
    assert 1 <= len(plan.faults) <= 2 < int(found[1])
    shown, replay = out.split("\nreplay: ", 1)
    command = shlex.split(replay.splitlines()[0])
    assert command[:2] == ["beamline", "simulate"]
    code, again, _ = beamline(*command[2:])
    assert code == 1
    assert again.startswith(f"{shown}\nreplay: ")


def test_a_sweep_counts_and_goes_on(beamline: Run) -> None:
    """A failure is told with its law, its trace and its command, and the sweep ends after as many as were asked for."""
    code, out, err = beamline("scenarios.py", "--seeds", "1:9")
    assert (code, err) == (1, "")
    told = r"^seed (\d+): the law odd_seeds_only is broken at 0\.250000 s: the seed is even$"
    assert re.findall(told, out, re.MULTILINE) == ["2", "4", "6"]
    assert out.count("no fault plan\ntrace, ") == 3
    assert "replay: beamline simulate scenarios.py --seeds 4:4\n" in out
    assert "6 of 9 seeds run, 3 failed\n" in out
    assert "1.5 simulated hours" in out
    code, out, _ = beamline("scenarios.py", "--seeds", "1:9", "--stop-after", "100", "--shrink")
    assert "9 of 9 seeds run, 4 failed\n" in out
    assert out.count("shrinking found no smaller plan\n") == 4
    assert beamline("scenarios.py", "--seeds", "7")[0] == 0


def test_the_result_as_json(beamline: Run) -> None:
    """--json prints one object and nothing else."""
    code, out, _ = beamline("scenarios.py:scenario", "--seeds", "2:3", "--json")
    record: dict[str, Any] = json.loads(out)
    assert code == 1
    assert record["seeds"] == [2, 3]
    assert record["seeds_run"] == 2
    assert record["simulated_hours"] == 0.5
    (failure,) = record["failures"]
    assert failure["seed"] == 2
    assert failure["broken"] == [{"law": "odd_seeds_only", "at_seconds": 0.25, "text": "the seed is even"}]
    assert failure["replay"] == "beamline simulate scenarios.py:scenario --seeds 2:2"


def test_a_trace_is_written(beamline: Run) -> None:
    """--trace writes all that happens under one seed, a JSON object a line; the same seed writes the same."""
    texts = []
    for _ in range(2):
        assert beamline(EXAMPLE, "--seeds", 5, "--trace", "trace.jsonl")[0] == 0
        texts.append(Path("trace.jsonl").read_text())
    lines = [json.loads(line) for line in texts[0].splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert texts[0] == texts[1]


def test_a_plan_that_is_given_happens(beamline: Run) -> None:
    """--plan takes the place of the drawn plan: without faults, the planted mistake does not show."""
    Path("none.json").write_text(Plan().to_json())
    code, out, _ = beamline(PLANTED, "--seeds", "1:3", "--plan", "none.json")
    assert (code, out.splitlines()[0]) == (0, "3 of 3 seeds run, all laws hold")


def test_an_error_of_the_scenario_is_a_failure(beamline: Run) -> None:
    """What a scenario raises is told with its traceback."""
    code, out, _ = beamline("scenarios.py:raises", "--seeds", "1")
    assert code == 1
    assert out.startswith("seed 1: LookupError: no such price\n")
    assert 'raise LookupError("no such price")' in out
    assert "replay: beamline simulate scenarios.py:raises --seeds 1:1\n" in out


def test_ctrl_c_leaves_the_figures(beamline: Run) -> None:
    """A sweep that is interrupted says how far it came."""
    code, out, _ = beamline("scenarios.py:interrupted", "--seeds", "1:1000")
    assert code == 130
    assert out.startswith("2 of 1,000 seeds run, all laws hold (interrupted)\n")


def test_ctrl_c_in_a_nursery_leaves_the_figures(beamline: Run) -> None:
    """It comes in a group then."""
    code, out, _ = beamline("scenarios.py:interrupted_in_a_nursery", "--seeds", "1:10")
    assert code == 130
    assert out.splitlines()[0] == "2 of 10 seeds run, all laws hold (interrupted)"
    code, out, _ = beamline("scenarios.py:interrupted_in_a_nursery", "--seeds", "3:10")
    assert out.splitlines()[0] == "0 of 8 seeds run, so nothing is known (interrupted)"


def test_ctrl_c_while_shrinking_leaves_the_failure(beamline: Run) -> None:
    """The seed and the law are told, although no smaller plan was found."""
    code, out, _ = beamline("scenarios.py:interrupted_while_shrinking", "--seeds", "4:10", "--shrink")
    assert code == 130
    assert "seed 4: the law planted is broken at 1.000000 s: there are faults" in out
    assert "shrinking was interrupted" in out
    assert "1 of 7 seeds run, 1 failed (interrupted)" in out


def test_on_a_terminal_there_is_a_bar(beamline: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to stderr, and what was found to stdout."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, out, err = beamline("scenarios.py", "--seeds", "1:3", "--shrink")
    assert code == 1
    assert out.startswith("seed 2: the law odd_seeds_only")
    assert "2/3" in err
    assert "seed 2" not in err


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("nowhere.py",), "there is no file 'nowhere.py'; write FILE.py or FILE.py:FUNCTION"),
        (("scenarios.py:nothing",), "scenarios.py has no function 'nothing'; its async functions are scenario, raises"),
        (("empty.py",), "empty.py has no function 'scenario'; write `async def scenario(world)`"),
        (("scenarios.py:synchronous",), "'synchronous' in scenarios.py is no async function"),
        (("scenarios.py:takes_two",), "`async def takes_two(world, other)` in scenarios.py must take one argument"),
        (("broken.py",), "broken.py raised LookupError: no such price (<string>, line 1)"),
        (("syntax.py",), "line 1: "),
        (("text.txt",), "text.txt is no Python file; its name must end in .py"),
        (("scenarios.py", "--seeds", "9:1"), "--seeds is '9:1'; write FIRST:LAST, as in 1:1000, or one seed, as in 17"),
        (("scenarios.py", "--seeds", "a"), "--seeds is 'a'"),
        (("scenarios.py", "--seeds", "1:2", "--trace", "x"), "--trace is for one seed, as in --seeds 1"),
        (("scenarios.py", "--seeds", "1", "--trace", "nowhere/x"), "--trace nowhere/x: [Errno 2]"),
        (("scenarios.py", "--plan", "nowhere.json"), "--plan nowhere.json: [Errno 2]"),
        (("scenarios.py", "--plan", "scenarios.py"), "--plan scenarios.py: fault plan: the text is not JSON"),
    ],
)
def test_what_cannot_be_simulated_is_a_usage_error(beamline: Run, arguments: tuple[str, ...], told: str) -> None:
    """One line says what is wrong, and what to write instead."""
    Path("empty.py").write_text("")
    Path("text.txt").write_text("")
    Path("syntax.py").write_text("async def scenario(world")
    Path("broken.py").write_text("exec('raise LookupError(\"no such price\")')")
    code, out, err = beamline(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("beamline: ")
    assert told in err
    assert err.count("\n") == 1
