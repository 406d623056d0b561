"""Which tests run in a simulated world, under which seeds, and what such a test may not ask for.

Decides from names and marks alone. Must not import the simulation: that is for the tests that use it.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs
import pytest

_WORLD: Final = "nats_world"
# Behind our `nats`; its parameter is a seed, or None for the real server.
_SIDE: Final = "_nats_side"
# Behind our `nats_server`. Others may have fixtures of these names, which are none of our business.
_EXECUTABLE: Final = "nats_server_executable"
_ASKED_AS: Final = {_WORLD: "nats_world", _SIDE: "nats", _EXECUTABLE: "nats_server"}
_CLOCKS: Final = ("autojump_clock", "mock_clock")
_DEFAULT_SEED: Final = 1
# What `simulation.laws` leaves on a function; written here again, since this module must not import the simulation.
LAWS_MARK: Final = "__beamline_laws__"


@attrs.frozen
class Seeds:
    """What the options say.

    Attributes:
        count: of `--nats-seeds`: each test under 1 to this; None = one seed.
        one: of `--nats-seed`; else 1, the first of every sweep. A seed that changes from run to run would make a test
            fail on one day and not on the next, without anything being wrong with the change under test.
    """

    count: int | None = None
    one: int = _DEFAULT_SEED

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each seed, where there are several; and one of each server, where a test is for both.

        With a single seed the name of a test stays as it is, so that a failure has the same name in a run with
        `--nats-seed` and in one without.
        """
        many = None if self.count is None else range(1, self.count + 1)
        if _SIDE in metafunc.fixturenames:
            seeds = {"simulated": self.one} if many is None else {f"simulated-{_suffix(seed)}": seed for seed in many}
            metafunc.parametrize(_SIDE, [*seeds.values(), None], ids=[*seeds, "real"], indirect=True)
        elif _WORLD in metafunc.fixturenames and many is not None:
            metafunc.parametrize(_WORLD, many, ids=map(_suffix, many), indirect=True)


def _suffix(seed: int) -> str:
    return f"seed-{seed}"


def _asks_for(item: pytest.Item, names: Iterable[str]) -> list[str]:
    """Those of these fixtures that the test uses, directly or through other fixtures."""
    asked: Iterable[str] = getattr(item, "fixturenames", ())
    return [name for name in names if name in asked]


def is_simulated(item: pytest.Item) -> bool:
    """Whether the test runs in a simulated world."""
    return bool(_asks_for(item, [_WORLD])) or _side(item) is not None


def is_ours(item: pytest.Item) -> bool:
    """Whether trio runs the test because it asks for one of our fixtures."""
    return bool(_asks_for(item, _ASKED_AS)) and inspect.iscoroutinefunction(_function(item))


def mistake_of(item: pytest.Item) -> str | None:
    """Why the test cannot run, and what to do; None when it can."""
    asked = _asks_for(item, [_WORLD, _SIDE])
    if not asked:
        return _unjudged(item)
    fixture, function = _ASKED_AS[asked[0]], _function(item)
    if getattr(function, "is_hypothesis_test", False):
        return (
            f"{fixture} is one world for one run, and @given runs the test many times; leave the fixture out and call "
            "beamline_trio.simulation.run(async_function, seed=...) inside the example"
        )
    if not inspect.iscoroutinefunction(function):
        return (
            f"{fixture} needs an async test; write `async def {item.name.partition('[')[0]}`, or call "
            "beamline_trio.simulation.run(async_function, seed=...) in a test without it"
        )
    if clocks := _asks_for(item, _CLOCKS):
        return f"{clocks[0]} beside {fixture}, which has a clock of its own that jumps already; leave {clocks[0]} out"
    if others := _asks_for(item, [name for name in _ASKED_AS if name != asked[0]]):
        return (
            f"{_ASKED_AS[others[0]]} beside {fixture}: a test runs in virtual time or in real time; make it "
            "two tests, or ask for `nats` alone, which runs a test once on each server"
        )
    if not any(getattr(plugin, "__name__", "") == "pytest_trio.plugin" for plugin in _plugins(item)):
        return f"{fixture} needs pytest-trio, which is not there; pip install 'beamline-trio[testing]'"
    return None


def _unjudged(item: pytest.Item) -> str | None:
    """Laws are judged behind the run of a world: without one they would hold whatever happens."""
    if not hasattr(_function(item), LAWS_MARK):
        return None
    return f"@laws on {item.name.partition('[')[0]}, which has no world to be judged; take nats_world as an argument"


def without_seed(name: str, seed: int) -> str:
    """The name of a test as it is without `--nats-seeds`, which has put the seed at its end."""
    bare = name.removesuffix("]").removesuffix(_suffix(seed))
    return bare.removesuffix("[") if bare.endswith("[") else f"{bare.removesuffix('-')}]"


def replay_command(name: str, seed: int, plan_file: str | None) -> str:
    """The command that runs a test under this seed again."""
    words = ["pytest", _quoted(name), "--nats-seed", str(seed)]
    return " ".join(words if plan_file is None else [*words, "--nats-plan", shlex.quote(plan_file)])


def _quoted(name: str) -> str:
    """As people write it: in double quotes, where nothing in it means anything to a shell."""
    return f'"{name}"' if not set(name) & set('"$`\\!') else shlex.quote(name)


def _side(item: pytest.Item) -> object:
    call: Any = getattr(item, "callspec", None)
    return None if call is None else call.params.get(_SIDE)


def _function(item: pytest.Item) -> Callable[..., object] | None:
    return getattr(item, "obj", None)


def _plugins(item: pytest.Item) -> Iterable[object]:
    return item.config.pluginmanager.get_plugins()
