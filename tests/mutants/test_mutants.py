"""The mutants keep in step with the client, and the laws see the plainest; `python -m tests.mutants` tries all."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

import beamline_trio.simulation
from tests.mutants._apply import DiffError, Mutant, apply_mutant, fixed_mutants, parse_diff
from tests.mutants._draw import candidates_of
from tests.mutants._trial import PACKAGE, try_mutant

MUTANTS = fixed_mutants()
# Each shows in nearly every run.
QUICK = ("message_lost_by_cancelled_receive", "dropped_not_counted", "unsub_not_sent")

DIFF = """# breaks: no_loss: something is lost
--- a/package/module.py
+++ b/package/module.py
@@ -2,3 +2,3 @@
 two
-three
+THREE
 four
"""


def test_there_are_enough_mutants() -> None:
    """As many as the project promises, and the ones that are tried here are among them."""
    assert len(MUTANTS) >= 14
    assert {mutant.name for mutant in MUTANTS} >= set(QUICK)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_applies_to_the_client_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    """Its lines are there, what comes out is Python and not what was there, and it names a law that exists."""
    for path in mutant.files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE.parent / path, tmp_path / path)
    apply_mutant(mutant, tmp_path)
    for path in mutant.files:
        changed = (tmp_path / path).read_text(encoding="utf-8")
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse((PACKAGE.parent / path).read_bytes()))
    law, _, what = mutant.breaks.partition(": ")
    assert hasattr(beamline_trio.simulation, law)
    assert what


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_plain_bug_is_seen_within_a_few_seeds(name: str) -> None:
    """The law that the mutant names is broken in a run of the application with the mutated client."""
    (mutant,) = [mutant for mutant in MUTANTS if mutant.name == name]
    result = try_mutant(mutant, seeds=5)
    assert mutant.breaks.split(":")[0] in result.laws, str(result)


def test_a_hunk_is_found_where_its_lines_have_moved_to(tmp_path: Path) -> None:
    """Lines above it may come and go."""
    file = _file(tmp_path, "new\nzero\none\ntwo\nthree\nfour\n")
    apply_mutant(parse_diff("moved", DIFF), tmp_path)
    assert file.read_text() == "new\nzero\none\ntwo\nTHREE\nfour\n"


@pytest.mark.parametrize("text", ["one\ntwo\nthree and more\nfour\n", "two\nthree\nfour\nx\ntwo\nthree\nfour\n"])
def test_a_hunk_whose_lines_are_gone_or_doubtful_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing is changed then."""
    file = _file(tmp_path, text)
    with pytest.raises(DiffError, match="write the mutant anew"):
        apply_mutant(parse_diff("stale", DIFF), tmp_path)
    assert file.read_text() == text


def test_a_text_without_hunks_is_no_diff() -> None:
    """It is refused by name."""
    with pytest.raises(DiffError, match="empty is no unified diff"):
        parse_diff("empty", "# breaks: nothing\n")


def test_what_can_be_drawn_from_a_function() -> None:
    """Statements, conditions, bounds, numbers and branches of the lines that were executed; no logs, no docstrings."""
    source = b'''
LIMIT = 3
async def f(self, x):
    """Document."""
    log.warning("%d", 1)
    if x < 2:
        await g()
    elif x:
        self.count += 1
    else:
        self.name = x
'''
    kinds = {(change.line, change.kind) for change in candidates_of("f.py", source, set(range(20)))}
    assert kinds == {
        (6, "condition negated"),
        (6, "bound moved"),
        (6, "number raised"),
        (6, "branch dropped"),
        (7, "await dropped"),
        (8, "condition negated"),
        (8, "branch dropped"),
        (9, "statement dropped"),
        (9, "number raised"),
        (11, "assignment dropped"),
    }
    assert not candidates_of("f.py", source, {2, 3, 5})


def _file(directory: Path, text: str) -> Path:
    file = directory / "package" / "module.py"
    file.parent.mkdir()
    file.write_text(text)
    return file
