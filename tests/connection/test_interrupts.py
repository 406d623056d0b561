"""Ctrl-C in the lines that open and close a client: it leaves as KeyboardInterrupt, and nothing stays behind.

The signal is raised by a trace function at each line in turn, one run of trio for each: no subprocess and no timing.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final, cast

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

from beamline_trio import State, open_client
from beamline_trio.client._open import ClientContext
from tests._memory import MemoryDialer, ToyServer, tasks

PLACES: Final = ("__aenter__", "__aexit__", "_run", "_drain", "_stop")
# More lines than this there are not: a run that reaches its end uninterrupted ends the walk.
LINES_MAX: Final = 200


def _code(name: str) -> CodeType:
    """The code of a method, below what decorates it."""
    function = getattr(ClientContext, name)
    return cast("CodeType", getattr(function, "__wrapped__", function).__code__)


@contextmanager
def interrupted_at(code: CodeType, number: int) -> Generator[list[int]]:
    """Raise SIGINT before the `number`th line of some code is run, over all its calls; the list gets that line."""
    struck: list[int] = []
    seen = 0

    def in_code(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == number:
                struck.append(frame.f_lineno)
                signal.raise_signal(signal.SIGINT)
        return in_code

    def anywhere(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        return in_code if frame.f_code is code else None

    before = sys.gettrace()
    sys.settrace(anywhere)
    try:
        yield struck
    finally:
        sys.settrace(before)


async def _live(dialer: MemoryDialer, url: str, how: str, left: list[Any]) -> None:
    """Open, use and leave a client; note what is left of it."""
    before = tasks()
    context = open_client(url, dialer=dialer)
    try:
        async with context as nc:
            await nc.publish("a", b"x")
            await trio.sleep(1)
            if how == "error":
                raise KeyError(how)
            if how == "drained":
                await nc.drain()
    finally:
        left.append((sorted(set(tasks()) - set(before)), dialer.open_streams, context._client.state))


@pytest.mark.parametrize("how", ["leaving", "error", "drained", "refused"])
@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_at_any_line_is_a_keyboard_interrupt(place: str, how: str) -> None:
    """Wherever it strikes: bare, with no task, no stream and no open client behind it, and no error of the runner."""
    number = 0
    lines: set[int] = set()
    while True:
        number += 1
        assert number < LINES_MAX
        server = ToyServer()
        server.refuses = how == "refused"
        dialer = MemoryDialer(server)
        left: list[Any] = []
        error: BaseException | None = None
        with interrupted_at(_code(place), number) as struck:
            try:
                trio.run(_live, dialer, server.url, how, left, clock=MockClock(autojump_threshold=0))
            except BaseException as caught:  # noqa: BLE001  # its very type is the law
                error = caught
        if not struck:
            break
        lines.update(struck)
        where = f"line {struck[0]} of {place}"
        assert type(error) is KeyboardInterrupt, f"{where}: {error!r}"
        [(alive, streams, state)] = left
        assert (alive, streams) == ([], 0), where
        assert state in (State.CLOSED, State.DISCONNECTED), where
    if how != "refused" or place in ("__aenter__", "_run", "_stop"):
        assert lines
