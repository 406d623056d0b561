"""The pytest plugin as its users meet it: tests of `nats_world` in a pytest of their own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from ._inner_pytest import Result, run_pytest

Inner = Callable[..., Result]

# Each of these tests is a pytest of its own, or several.
pytestmark = pytest.mark.slow

VIRTUAL = """
import pytest
import trio
from beamline_trio import open_client


async def test_an_hour(nats_world):
    await trio.sleep(3600)
    assert nats_world.now() == 3600


@pytest.fixture
async def late(nats_world):
    server = await nats_world.start_server("a")
    await trio.sleep(3600)
    yield server


@pytest.fixture
def later(late):
    return late


async def test_behind_a_fixture(later):
    assert trio.current_time() >= 3600
    await trio.sleep(36_000)


class TestInAClass:
    async def test_the_whole_client(self, nats_world):
        server = await nats_world.start_server("a")
        async with open_client(server.url, dialer=nats_world.dialer("app")) as nc, nc.subscribe("orders.*") as sub:
            await sub.confirmed()
            with nats_world.network.partition("app", "a"):
                await trio.sleep(300)
            await nc.publish("orders.7", b"book", confirm=True)
            assert (await sub.receive()).payload == b"book"
        assert 300 < nats_world.now() < 400


async def test_what_others_do_is_not_changed():
    pass
"""

SEEDS = """
import pytest
from beamline_trio.testing import Draw, laws, no_loss


async def test_plain(nats_world):
    print(f"plain={nats_world.seed}")


@pytest.mark.parametrize("kind", ["a", "b"])
async def test_kinds(kind, nats_world):
    print(f"{kind}={nats_world.seed}")


def test_without_a_world():
    print("other")
"""

BROKEN = """
import pytest
import trio
from beamline_trio import open_client
from beamline_trio.testing import Draw, laws, no_loss


def under_a_minute(evidence):
    if evidence.ended_at > 60:
        yield 60.0, f"it took {evidence.ended_at:.3f} s"


@laws(no_loss, under_a_minute, faults=Draw(seconds=30, count=2))
@pytest.mark.parametrize("kind", ["odd kind"])
async def test_too_long(nats_world, kind):
    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        await nats_world.quiet()
        await trio.sleep(nats_world.seed / 1000)


@laws(faults=None, ends_within_seconds=100)
async def test_endless(nats_world):
    await trio.sleep_forever()


async def test_own_mistake(nats_world):
    await trio.sleep(12)
    assert nats_world.seed == 0
"""

MISTAKES = """
import pytest
import trio
from hypothesis import given, strategies


async def test_clock(nats_world, autojump_clock):
    pass


@pytest.fixture
def clocked(mock_clock):
    return mock_clock


async def test_hidden_clock(nats_world, clocked):
    pass


def test_synchronous(nats_world):
    pass


@given(number=strategies.integers())
async def test_property(nats_world, number):
    pass


async def test_both_times(nats_world, nats_server):
    pass


async def test_late_request(request):
    request.getfixturevalue("nats_world")
"""

HIDDEN = """
import pytest


@pytest.fixture
def nats_world():
    return None


async def test_hidden(nats_world):
    pass
"""

OTHERS = """
import pytest


@pytest.fixture
def nats():
    return "theirs"


@pytest.fixture
def nats_server():
    return "theirs"


def test_of_others(nats, nats_server, autojump_clock):
    assert (nats, nats_server) == ("theirs", "theirs")


async def test_for_another_runner(nats_server):
    pass
"""

PLAN = """
from beamline_trio import open_client
from beamline_trio.testing import Draw, laws


@laws(faults=Draw())
async def test_plan(nats_world):
    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")):
        await nats_world.quiet()
    print(f"plan={nats_world.plan.to_json()}")
"""

EITHER = """
import pytest
import trio
from beamline_trio import PayloadTooLargeError, open_client


@pytest.mark.nats_config(max_payload=2048)
async def test_either(nats):
    async with open_client(nats.url, dialer=nats.dialer()) as nc, nc.subscribe("orders.*") as sub:
        await sub.confirmed()
        assert nc.server_info.max_payload == 2048
        await nats.kill()
        await trio.sleep(0.5)
        await nats.start()
        await nc.publish("orders.7", b"book", confirm=True)
        assert (await sub.receive()).payload == b"book"
        await nats.pause()
        with trio.move_on_after(0.2) as waited:
            await nc.flush()
        assert waited.cancelled_caught
        await nats.resume()
        await nc.flush()
    print(f"simulated={nats.simulated}")
"""


@pytest.mark.smoke
@pytest.mark.parametrize("trio_mode", [True, False])
def test_a_world_is_virtual(inner: Inner, trio_mode: bool) -> None:
    """An hour takes no time, in a test and in fixtures built on the world, with trio_mode and without."""
    deselected = () if trio_mode else ("--deselect", "test_inner.py::test_what_others_do_is_not_changed")
    result = inner(VIRTUAL, *deselected, trio_mode=trio_mode)
    assert result.code == 0, result.out
    assert list(result.outcomes().values()) == ["PASSED"] * (3 + trio_mode)


def test_seeds(inner: Inner, tmp_path: Path) -> None:
    """A test runs under seed 1, under all seeds that are asked for, or under the one; other tests run once."""
    result = inner(SEEDS)
    assert set(result.outcomes()) == {"test_plain", "test_kinds[a]", "test_kinds[b]", "test_without_a_world"}
    assert re.findall(r"\w+=\d+", result.out) == ["plain=1", "a=1", "b=1"]
    result = run_pytest(tmp_path, "--nats-seeds", "2")
    assert re.findall(r"\w+=\d+", result.out) == ["plain=1", "plain=2", "a=1", "a=2", "b=1", "b=2"]
    assert "test_plain[seed-2]" in result.outcomes()
    assert "test_kinds[b-seed-2]" in result.outcomes()
    assert "test_without_a_world" in result.outcomes()
    result = run_pytest(tmp_path, "--nats-seed", "17")
    assert re.findall(r"\w+=\d+", result.out) == ["plain=17", "a=17", "b=17"]


def test_a_broken_law_is_told_and_replayed(inner: Inner, tmp_path: Path) -> None:
    """A failure shows the seed, the law, the faults, the end of the trace, and a command that shows it all again."""
    result = inner(BROKEN, "--nats-seeds", "2")
    assert set(result.outcomes().values()) == {"FAILED"}
    shown = _shown(result, "seed 2: the law under_a_minute is broken at 60.000000 s")
    assert "it took " in shown[0]
    assert "plan:" in shown
    assert any(re.match(r"trace, 20 of \d+ lines, up to 60.000000 s:", line) for line in shown)
    assert '{"at":' in shown[-2]
    command = shown[-1].removeprefix("replay: ")
    assert command == 'pytest "test_inner.py::test_too_long[odd kind]" --nats-seed 2'
    again = run_pytest(tmp_path, *shlex.split(command)[1:])
    assert again.outcomes().keys() == {"test_too_long[odd kind]"}
    assert _shown(again, "seed 2: ") == shown


def test_a_failing_test_names_its_world(inner: Inner) -> None:
    """A test whose own assertion fails tells the seed, the end of the trace and the command too."""
    result = inner(BROKEN, "--nats-seed", "3", "-k", "own_mistake or endless")
    assert "still running after 100 virtual seconds" in result.out
    assert "assert 3 == 0" in result.out
    assert "seed 3, 12.000000 s\nno fault plan\n" in result.out
    assert 'replay: pytest "test_inner.py::test_own_mistake" --nats-seed 3' in result.out


def test_mistakes_are_told(inner: Inner) -> None:
    """A test that cannot run in a world says why, and what to do."""
    result = inner(MISTAKES)
    assert result.code == 1
    assert set(result.outcomes().values()) == {"ERROR", "FAILED"}
    assert "autojump_clock beside nats_world, which has a clock of its own" in result.out
    assert "mock_clock beside nats_world, which has a clock of its own" in result.out
    assert "nats_world needs an async test; write `async def test_synchronous`" in result.out
    assert "@given runs the test many times" in result.out
    assert "nats_server beside nats_world" in result.out
    assert "name it among the arguments of test_late_request" in result.out


def test_a_fixture_that_hides_the_world_is_told(inner: Inner) -> None:
    """A fixture of the same name that makes no use of the world would run in real time."""
    assert "another fixture hides `nats_world`" in inner(HIDDEN).out


def test_fixtures_of_the_same_names_stay_whose_they_are(inner: Inner) -> None:
    """A project may have a `nats` and a `nats_server` of its own, and another runner for its tests."""
    result = inner(OTHERS, "--nats-seeds", "3", "-W", "ignore", trio_mode=False)
    assert result.outcomes()["test_of_others"] == "PASSED", result.out
    assert "async def functions are not natively supported" in result.out


def test_without_pytest_trio_only_tests_of_a_world_fail(inner: Inner) -> None:
    """The plugin is harmless where pytest-trio is missing, and a world says that it needs it."""
    (code, _, _) = SEEDS.partition("@pytest.mark.parametrize")
    result = inner(f"{code}\ndef test_other():\n    pass\n", "-p", "no:trio", "-o", "trio_mode=false", "-W", "ignore")
    assert "nats_world needs pytest-trio" in result.out
    assert result.outcomes() == {"test_plain": "ERROR", "test_other": "PASSED"}


def test_a_plan_takes_the_place_of_the_drawn_one(inner: Inner, tmp_path: Path) -> None:
    """--nats-plan lets the faults of a file happen; the command that replays names it."""
    text = (
        '{"faults": [{"kind": "reset", "at_seconds": 3.0, "for_seconds": 0.0, "hosts": ["app", "a"], "amount": 0.0}]}'
    )
    (tmp_path / "plan.json").write_text(text)
    result = inner(PLAN, "--nats-plan", "plan.json")
    assert f"plan={text}" in result.out, result.out
    (tmp_path / "test_inner.py").write_text(f"{PLAN}    assert not nats_world\n")
    result = run_pytest(tmp_path, "--nats-plan", "plan.json")
    assert 'replay: pytest "test_inner.py::test_plan" --nats-seed 1 --nats-plan plan.json' in result.out


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("--nats-seeds", "0"), "--nats-seeds is 0; it must be at least 1"),
        (("--nats-seeds", "3", "--nats-seed", "2"), "--nats-seeds and --nats-seed were both given"),
        (("--nats-plan", "nowhere.json"), "--nats-plan nowhere.json: [Errno 2]"),
        (("--nats-plan", "pytest.ini"), "--nats-plan pytest.ini: fault plan: the text is not JSON"),
    ],
)
def test_options_that_cannot_work(inner: Inner, arguments: tuple[str, ...], told: str) -> None:
    """An option with a wrong value is a usage error that says so."""
    result = inner(SEEDS, *arguments)
    assert result.code == pytest.ExitCode.USAGE_ERROR
    assert told in result.out


def test_one_test_on_both_servers(inner: Inner, tmp_path: Path) -> None:
    """A test of `nats` runs once on each server, configured alike; only the simulated one has seeds."""
    result = inner(EITHER, trio_mode=False)
    assert result.code == 0, result.out
    assert "simulated=True" in result.out
    assert "simulated=False" in result.out or "1 skipped" in result.out
    collected = run_pytest(tmp_path, "--nats-seeds", "2", "--collect-only", "-q").out
    assert re.findall(r"test_either\[(\S+)\]", collected) == ["simulated-seed-1", "simulated-seed-2", "real"]


def test_without_a_real_server_its_tests_are_skipped(inner: Inner) -> None:
    """A machine without a nats-server runs what is simulated, and says what is missing."""
    result = inner(EITHER, executable="/nowhere/nats-server")
    assert "1 passed, 1 skipped" in result.out
    assert "/nowhere/nats-server" in result.out


def _shown(result: Result, first: str) -> list[str]:
    """The lines of a failure from its first one to the command, without pytest's margin."""
    lines = [line.removeprefix("E").strip() for line in result.out.splitlines()]
    starts = [index for index, line in enumerate(lines) if first in line and "Error: " in line]
    assert starts, result.out
    rest = lines[starts[0] :]
    return rest[: next(index for index, line in enumerate(rest) if line.startswith("replay: ")) + 1]
