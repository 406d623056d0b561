"""Tests of a world that fail where it is awkward: in fixtures, in callbacks, and where laws have nothing to judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from ._inner_pytest import Result

Inner = Callable[..., Result]

# Each of these tests is a pytest of its own.
pytestmark = pytest.mark.slow

FIXTURES: Final = """
import pytest
import trio


@pytest.fixture
def synchronous(nats_world):
    assert nats_world.now() == 0
    raise LookupError("no such price")


@pytest.fixture
def torn_down(nats_world):
    yield nats_world
    raise LookupError("cannot tidy up")


@pytest.fixture
async def asynchronous(nats_world):
    await trio.sleep(3)
    raise LookupError("no such order")


async def test_synchronous(synchronous):
    pass


async def test_torn_down(torn_down):
    await trio.sleep(1)


async def test_asynchronous(asynchronous):
    pass


async def test_callback_fails(nats_world):
    nats_world.events.call_later(1, pytest.fail, "told by a callback")
    await trio.sleep(2)


async def test_callback_skips(nats_world):
    nats_world.events.call_later(1, pytest.skip, "skipped by a callback")
    await trio.sleep(2)


async def test_behind_all_of_them(nats_world):
    await trio.sleep(1)
"""

LAWS: Final = """
from beamline_trio import open_client
from beamline_trio.testing import laws, no_loss


@laws(no_loss)
async def test_without_a_world():
    pass


@laws(no_loss)
async def test_too_short_for_faults(nats_world):
    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        await nc.flush()


@laws(no_loss, faults=None)
async def test_without_faults(nats_world):
    server = await nats_world.start_server("a")
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        await nc.flush()
"""


def test_errors_of_fixtures_and_callbacks(inner: Inner) -> None:
    """Each is told as pytest tells it, with its world beside it, and the tests behind it run."""
    result = inner(FIXTURES)
    assert "INTERNALERROR" not in result.out, result.out
    assert result.outcomes() == {
        "test_synchronous": "ERROR",
        "test_torn_down": "ERROR",
        "test_asynchronous": "FAILED",
        "test_callback_fails": "FAILED",
        "test_behind_all_of_them": "PASSED",
    }
    assert "seed 1, 0.000000 s\nno fault plan\n" in result.out
    assert 'replay: pytest "test_inner.py::test_synchronous" --nats-seed 1' in result.out
    assert "Failed: told by a callback" in result.out
    assert "skipped by a callback" in result.out
    assert "1 skipped" in result.out


def test_laws_that_nothing_could_break(inner: Inner) -> None:
    """Laws without a world, and laws whose faults had no time to happen, would hold whatever the client does."""
    result = inner(LAWS)
    assert "@laws on test_without_a_world, which has no world to be judged; take nats_world" in result.out
    assert "the law faults_happen is broken" in result.out
    assert result.outcomes() == {
        "test_without_a_world": "ERROR",
        "test_too_short_for_faults": "FAILED",
        "test_without_faults": "PASSED",
    }


def test_the_mark_of_laws() -> None:
    """The plugin knows it by a text of its own, since it may not import the simulation."""
    from beamline_trio.simulation import _scenario
    from beamline_trio.testing import _items

    assert _items.LAWS_MARK == _scenario._MARK
