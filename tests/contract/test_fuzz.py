"""The simulated server is the real one also for bytes that nobody thought of: drawn scripts, the same records."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ._figures import Figures
from ._fuzz import compare
from ._fuzz_script import FuzzScript, Setting, draw_script

# More in the session that is about nothing else (noxfile.py); another first seed shows other scripts.
SCRIPTS = int(os.environ.get("BEAMLINE_FUZZ_SCRIPTS", "100"))
FIRST_SEED = int(os.environ.get("BEAMLINE_FUZZ_FIRST_SEED", "1"))


@pytest.mark.timeout(900)
def test_drawn_scripts_have_the_same_records(nats_server_executable: Path, figures: Figures) -> None:
    """Whatever raw clients send, legal or not, whole or in pieces, both servers answer it with the same bytes."""
    scripts = [draw_script(seed) for seed in range(FIRST_SEED, FIRST_SEED + SCRIPTS)]
    result = compare(scripts, nats_server_executable)
    figures.scripts += SCRIPTS
    figures.suspects += 0 if result.same else len(result.suspects)
    shown = "\n\n".join(map(str, result.differences))
    assert result.same, f"{len(result.suspects)} of {SCRIPTS} scripts differ, the first:\n{shown}"


def test_the_scripts_are_of_all_kinds() -> None:
    """One seed is one script; of a hundred many are legal, many are not, and several clients and pieces occur."""
    scripts = [draw_script(seed) for seed in range(100)]
    assert scripts == [draw_script(seed) for seed in range(100)]
    assert {len(script.connects) for script in scripts} == {1, 2, 3}
    assert {script.setting for script in scripts} == set(Setting)
    chunks = [chunk for script in scripts for chunk in script.chunks]
    assert sum(bool(chunk.cuts) for chunk in chunks) > 30
    sent = b"".join(chunk.data for chunk in chunks).upper()
    assert all(sent.count(verb) > 10 for verb in (b"PUB ", b"HPUB ", b"SUB ", b"UNSUB ", b"PING", b"PONG", b"CONNECT "))


def test_a_script_is_made_smaller_step_by_step() -> None:
    """Each smaller script has less than the one it came from, and in the end there is none."""
    script = draw_script(7)
    count = 0
    while smaller := next(iter(script.smaller()), None):
        assert _weight(smaller) < _weight(script)
        script, count = smaller, count + 1
    assert count > 0
    assert not script.chunks


def _weight(script: FuzzScript) -> tuple[int, int]:
    sent = sum(len(chunk.data) + len(chunk.cuts) for chunk in script.chunks)
    return (len(script.chunks) + len(script.connects), sent)
