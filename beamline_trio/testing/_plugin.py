"""The pytest plugin: options, fixtures, and the runner of tests in a simulated world.

A test that asks for `nats_world`, itself or through a fixture, is marked with a runner that takes the place of
`trio.run`. pytest-trio looks for a clock only among the test's own arguments, so a world whose clock came from a
fixture would silently run in real time. The world is made before the run, by a synchronous fixture, and the runner runs
it.

pytest imports this whenever it starts: it must not import the simulation, hypothesis or anything of the command line
before a test needs it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ._items import Seeds, is_ours, is_simulated, mistake_of, replay_command, without_seed

if TYPE_CHECKING:
    from ..faults import Plan
    from ..server_process import Server
    from ..simulation import World
    from ._either_server import EitherServer
    from ._runner import SimulatedRun

_SEEDS: pytest.StashKey[Seeds] = pytest.StashKey()
_PLAN: pytest.StashKey[Plan | None] = pytest.StashKey()
_FUNCTION: pytest.StashKey[object] = pytest.StashKey()
_RUN: pytest.StashKey[SimulatedRun] = pytest.StashKey()


# ---------------------------------------------------------------------------------------------------- options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the seeds and the plan."""
    group = parser.getgroup("beamline", "simulated NATS (beamline_trio)")
    group.addoption("--nats-seeds", type=int, metavar="N", help="run each test of nats_world under the seeds 1 to N")
    group.addoption("--nats-seed", type=int, metavar="S", help="run each test of nats_world under this seed; else 1")
    group.addoption(
        "--nats-plan", metavar="FILE", help="let the faults of this plan (JSON) happen, in the place of drawn ones"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the options."""
    config.addinivalue_line("markers", "server_options(**fields): fields of ServerOptions for the fixture nats_server")
    config.addinivalue_line("markers", "nats_config(**fields): fields of ServerConfig for the fixture nats")
    count, one = config.getoption("nats_seeds"), config.getoption("nats_seed")
    if count is not None and one is not None:
        raise pytest.UsageError("--nats-seeds and --nats-seed were both given; the one means 1 to N, the other only S")
    if count is not None and count < 1:
        raise pytest.UsageError(f"--nats-seeds is {count}; it must be at least 1")
    config.stash[_SEEDS] = Seeds(count) if one is None else Seeds(one=one)
    file = config.getoption("nats_plan")
    config.stash[_PLAN] = None if file is None else _read_plan(Path(file))


def _read_plan(file: Path) -> Plan:
    from ..faults import FaultPlanError, Plan

    try:
        return Plan.from_json(file.read_bytes())
    except (OSError, FaultPlanError) as error:
        raise pytest.UsageError(f"--nats-plan {file}: {error}") from error


# ------------------------------------------------------------------------------------------------------ tests


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test becomes one of each seed. Last, so that the seed stands at the end of its name."""
    metafunc.config.stash[_SEEDS].parametrize(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test that asks for one of our fixtures to trio, and those of a world to its runner."""
    for item in items:
        if not is_ours(item) or mistake_of(item) is not None:
            continue
        if is_simulated(item):
            # Later on its function is wrapped, and the laws are out of sight.
            item.stash[_FUNCTION] = getattr(item, "function", None)
            # In front: pytest-trio takes the first runner it finds.
            item.add_marker(pytest.mark.trio(run=_runner_of(item)), append=False)
        elif item.get_closest_marker("trio") is None:
            item.add_marker(pytest.mark.trio)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say what is wrong with a test before a fixture says it less well."""
    mistake = mistake_of(item)
    if mistake is not None:
        pytest.fail(mistake, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a test that failed in a world which one it was, unless its error says so."""
    report = yield
    run = item.stash.get(_RUN, None)
    if run is not None and report.failed and "replay: " not in str(report.longrepr):
        report.sections.append(("nats_world", run.tell()))
    return report


def _runner_of(item: pytest.Item) -> Any:
    """What is called as `trio.run` is."""

    def run_in_world(async_fn: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        run = item.stash.get(_RUN, None)
        if run is None:
            pytest.fail("another fixture hides `nats_world`, and makes no use of it; let it take and return nats_world")
        return run(async_fn, *args, **options)

    return run_in_world


# --------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture
def nats_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A simulated world in virtual time: `start_server`, `dialer`, `network`, `journal`."""
    yield from _world(request, getattr(request, "param", None))


@pytest.fixture(scope="session")
def nats_server_executable() -> Path:
    """The real nats-server; without one, the tests that ask for it are skipped and say why."""
    from ..server_process import ServerNotFoundError, find_nats_server

    try:
        return find_nats_server()
    except ServerNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
async def nats_server(request: pytest.FixtureRequest, nats_server_executable: Path) -> AsyncGenerator[Server]:
    """A real nats-server that nobody else uses, on a free port, gone after the test.

    The mark `server_options` takes the fields of `ServerOptions`. On a class or module it gives the defaults of the
    tests inside.
    """
    from ..server_process import open_server

    async with open_server(**{"executable": nats_server_executable, **_fields(request, "server_options")}) as server:
        yield server


@pytest.fixture
def _nats_side(request: pytest.FixtureRequest) -> Iterator[World | Path]:
    """The side on which a test of `nats` runs: a world, or the real server's executable."""
    if request.param is None:
        yield request.getfixturevalue("nats_server_executable")
    else:
        yield from _world(request, request.param)


@pytest.fixture
async def nats(request: pytest.FixtureRequest, _nats_side: World | Path) -> AsyncGenerator[EitherServer]:
    """A server for a test that runs twice: on a simulated and on a real one.

    The mark `nats_config` takes fields of `ServerConfig`, those that a single real server has too.
    """
    from ..simulation import ServerConfig
    from ._either_server import open_either_server

    async with open_either_server(_nats_side, ServerConfig(**_fields(request, "nats_config"))) as server:
        yield server


def _fields(request: pytest.FixtureRequest, mark: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(mark))):
        fields.update(marker.kwargs)  # the closest comes last
    return fields


def _world(request: pytest.FixtureRequest, seed: int | None) -> Iterator[World]:
    from ._runner import SimulatedRun

    item, config = request.node, request.config
    if _FUNCTION not in item.stash:
        pytest.fail(f"nats_world was asked for with getfixturevalue(); name it among the arguments of {item.name}")
    chosen = config.stash[_SEEDS].one if seed is None else seed
    name = item.nodeid if config.stash[_SEEDS].count is None else without_seed(item.nodeid, chosen)
    replay = replay_command(name, chosen, config.getoption("nats_plan"))
    item.stash[_RUN] = run = SimulatedRun(item.stash[_FUNCTION], chosen, config.stash[_PLAN], replay)
    yield run.world
    del item.stash[_RUN]
