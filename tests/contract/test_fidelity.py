"""The simulated server is byte for byte the real one: the same scripts, the same records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import outcome
import pytest

from ._cases import CASES
from ._exceptions import EXCEPTIONS, EXCEPTIONS_MAX
from ._figures import Figures
from ._rig import check_plays, play_real
from ._script import Case
from ._simulated_server import play_simulated
from ._transcript import Transcript, mask

_EXCEPTIONS = {known.case: known for known in EXCEPTIONS}


@pytest.fixture(scope="session")
def real_records(
    request: pytest.FixtureRequest, nats_server_executable: Path
) -> Mapping[str, outcome.Outcome[Transcript]]:
    """What the real server does with every case of this run, played at once (see `_rig`)."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    cases = [call.params["case"] for call in calls if call is not None and isinstance(call.params.get("case"), Case)]
    return play_real({case.name: case.script for case in cases}, nats_server_executable)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_servers_do_the_same(
    case: Case,
    real_records: Mapping[str, outcome.Outcome[Transcript]],
    nats_server_executable: Path,
    figures: Figures,
) -> None:
    """A raw client gets the same bytes from both servers, and the real one shows what the case is about."""
    simulated = play_simulated(case.script)
    sids, pings = case.script.queue_sids, not case.script.config.jetstream
    known = _EXCEPTIONS.get(case.name)

    def check(real: Transcript) -> None:
        assert real.missed is None, f"the real server:\n{real}"
        check_shown(case, real)
        same = mask(simulated, sids, pings=pings) == mask(real, sids, pings=pings)
        assert not same or known is None, f"{case.name} does not differ any more; take it from the list of exceptions"
        assert same or known is not None, f"the real server:\n{real}\nthe simulated one:\n{simulated}"

    again = check_plays(check, real_records[case.name], case.script, nats_server_executable)
    figures.again += again
    if known is not None:
        figures.excepted += 1
        pytest.xfail(known.reason)
    figures.same += 1


def check_shown(case: Case, real: Transcript) -> None:
    """The record has what the case promises."""
    positions: dict[str, int] = {}
    for client, fragment in case.shows:
        position = real.raw(client).find(fragment, positions.get(client, 0))
        assert position >= 0, f"no {fragment!r} for {client}:\n{real}"
        positions[client] = position + len(fragment)
    for fragment in case.lacks:
        assert all(fragment not in real.raw(client) for client in real.frames), f"{fragment!r}:\n{real}"
    for client, ending in case.ends:
        assert real.endings[client] == ending, f"{client} ended otherwise:\n{real}"


def test_the_cases_are_as_many_as_promised() -> None:
    """At least 130 cases, no name twice, at most 8 exceptions and none for a case that is not there."""
    names = [case.name for case in CASES]
    assert len(names) >= 130
    assert len(set(names)) == len(names)
    assert len(EXCEPTIONS) <= EXCEPTIONS_MAX
    assert set(_EXCEPTIONS) <= set(names)
