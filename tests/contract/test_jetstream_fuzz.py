"""The simulated JetStream is the real one also in scripts that nobody thought of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ._figures import Figures
from ._fuzz_jetstream import jetstream_script
from ._rig import check_plays, play_real
from ._simulated_server import play_simulated
from ._transcript import Transcript, mask

SCRIPTS = int(os.environ.get("BEAMLINE_JETSTREAM_SCRIPTS", "24"))
FIRST_SEED = int(os.environ.get("BEAMLINE_JETSTREAM_FIRST_SEED", "1"))


@pytest.mark.timeout(900)
def test_drawn_scripts_have_the_same_records(nats_server_executable: Path, figures: Figures) -> None:
    """Whatever is asked of streams and consumers in whatever order, both servers answer with the same bytes."""
    scripts = {str(seed): jetstream_script(seed) for seed in range(FIRST_SEED, FIRST_SEED + SCRIPTS)}
    real = play_real(scripts, nats_server_executable)
    figures.scripts += len(scripts)
    for seed, script in scripts.items():
        ours = play_simulated(script)

        def check(theirs: Transcript, seed: str = seed, ours: Transcript = ours) -> None:
            assert mask(ours, pings=False) == mask(theirs, pings=False), (
                f"seed {seed}, the real server:\n{theirs}\nthe simulated one:\n{ours}"
            )

        figures.again += check_plays(check, real[seed], script, nats_server_executable)


def test_one_seed_is_one_script() -> None:
    """The scripts are the same in every run, and differ from each other."""
    scripts = [jetstream_script(seed) for seed in range(20)]
    assert scripts == [jetstream_script(seed) for seed in range(20)]
    assert len({script.steps for script in scripts}) == 20
