"""The README keeps its word: the commands, the examples, the guarantee's tests, what the demo prints."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from beamline_trio.cli.demo._account import Account
from beamline_trio.cli.demo._books import Hop
from beamline_trio.cli.demo._report import Result, as_text
from tests._documents import README, ROOT, code_blocks, named_tests, text_of

COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install -e '.[server]' && .venv/bin/beamline demo",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/nox -s tests",
)


def section(title: str) -> str:
    """The text of a section."""
    return text_of(README).partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_two_commands_come_first() -> None:
    """The first block of code is the two commands, word for word."""
    before, _, behind = text_of(README).partition(COMMANDS[0])
    assert "```" not in before
    first, second = behind.splitlines()[:2]
    assert re.fullmatch(r"( +#.*)?", first)
    assert re.fullmatch(rf" +{re.escape(COMMANDS[1])}( +#.*)?", second)


def test_its_programs_are_the_examples() -> None:
    """Its Python is that of `examples`, whose programs are run by tests/integration/test_examples.py."""
    names = ("first.py", "jetstream.py", "router.py")
    assert code_blocks(README, "python") == [(ROOT / "examples" / name).read_text(encoding="utf-8") for name in names]


def test_the_first_example_is_short() -> None:
    """Twenty lines of code, and no more."""
    code = (ROOT / "examples" / "first.py").read_text(encoding="utf-8").partition('"""\n')[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


def test_every_sentence_of_the_guarantee_names_its_test() -> None:
    """Each point of the guarantee has at least one test; that they exist is tested with the other pages."""
    points = re.split(r"\n- ", section("The guarantee, with its limits"))[1:]
    assert len(points) >= 15
    for point in points:
        named = named_tests(point)
        assert named, point
        linked = {Path(file) for file in re.findall(r"\]\((tests/[^)]+)\)", point)}
        assert {Path(file) for file, _ in named} == linked


def test_its_sample_of_the_demo_is_what_the_demo_prints() -> None:
    """Without their figures, the last lines of the sample are those of an account."""
    account = Account(
        published=4,
        delivered=4,
        replied=2,
        failed=0,
        unknown=0,
        lost=0,
        unaccounted=0,
        unknown_bounds=dict.fromkeys(Hop, 1),
        reasons={},
        fates={hop: {} for hop in Hop},
        problems=(),
    )
    result = Result(
        account=account,
        reconnects={"publisher": 1, "router": 1, "receiver": 1},
        seconds=20.1,
        publishing_seconds=20.0,
        kills=1,
    )
    (sample,) = (block for block in code_blocks(README, "text") if "published" in block)
    printed = as_text(result).strip().splitlines()
    assert [re.sub(r"[\d.]+", "0", line) for line in sample.splitlines()[-len(printed) :]] == [
        re.sub(r"[\d.]+", "0", line) for line in printed
    ]
    numbers = [int(text) for text in re.findall(r"\d+", sample[sample.index("\npublished") :].splitlines()[1])]
    assert numbers[0] == sum(numbers[1:])
    assert attrs.fields(Account).published is not None
