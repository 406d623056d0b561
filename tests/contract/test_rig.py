"""What does not hold of one play on the real server is asked of some more, and of no more than that."""

from __future__ import annotations

from pathlib import Path

import pytest

from ._rig import PLAYS_MAX, check_plays, play_real
from ._script import Script, Sync, hello
from ._transcript import Transcript

SCRIPT = Script((*hello(), Sync("a")), private=True)


@pytest.mark.parametrize("held_by", [1, 2, PLAYS_MAX, PLAYS_MAX + 1])
def test_a_play_is_enough_and_five_are_all(nats_server_executable: Path, held_by: int) -> None:
    """The first one that holds ends it; when none does, the last one says why."""
    records: list[Transcript] = []

    def check(record: Transcript) -> None:
        records.append(record)
        assert len(records) == held_by, f"play {len(records)}"

    first = play_real({"first": SCRIPT}, nats_server_executable)["first"]
    if held_by > PLAYS_MAX:
        with pytest.raises(AssertionError, match=f"play {PLAYS_MAX}"):
            check_plays(check, first, SCRIPT, nats_server_executable)
    else:
        assert check_plays(check, first, SCRIPT, nats_server_executable) is (held_by > 1)
    servers = {record.raw("a").partition(b'"server_id":')[2][:58] for record in records}
    assert len(servers) == len(records) == min(held_by, PLAYS_MAX)
