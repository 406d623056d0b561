"""Which servers are there, as one of them knows it: what it was told, and what it has missed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from beamline_trio.simulation._server._jetstream._clustered._presence import Presence

HERE, GONE = "_here_", "_gone_"


class Way:
    """The way of the server "a" to "b" and "c", with a clock."""

    def __init__(self) -> None:
        self.host = "a"
        self.time = 0.0
        self.in_reach = {"b", "c"}
        self.said: list[tuple[str, str, float]] = []
        self._due: list[tuple[float, Callable[..., object], tuple[object, ...]]] = []

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        self._due.append((self.time + seconds, callback, args))

    def reaches(self, peer: str) -> bool:
        return peer in self.in_reach

    def tell(self, peer: str, group: str, data: bytes) -> bool:
        self.said.append((peer, group, self.time))
        return True

    def run_until(self, moment: float) -> None:
        while self._due and self._due[0][0] <= moment:
            self.time, callback, args = self._due.pop(0)
            callback(*args)
        self.time = moment


def open_presence() -> tuple[Way, Presence]:
    way = Way()
    return way, Presence(way, ["a", "b", "c"])  # type: ignore[arg-type]


def test_it_says_that_it_is_here_soon_and_then_each_ten_seconds() -> None:
    """To all others, at twice the distance each time; and at its end that it goes, and nothing more."""
    way, presence = open_presence()
    way.run_until(60.0)
    assert {peer for peer, _, _ in way.said} == {"b", "c"}
    times = [at for peer, _, at in way.said if peer == "b"]
    assert times[:6] == [0.25, 0.75, 1.75, 3.75, 7.75, 15.75]
    assert {round(later - earlier, 6) for earlier, later in pairwise(times[5:])} == {10.0}
    presence.end()
    assert [(peer, group) for peer, group, _ in way.said[-2:]] == [("b", GONE), ("c", GONE)]
    told = len(way.said)
    way.run_until(600.0)
    assert len(way.said) == told


def test_one_that_was_never_heard_is_there_while_it_can_be_reached() -> None:
    way, presence = open_presence()
    assert presence.is_there("a")
    assert presence.is_there("b")
    way.in_reach.clear()
    assert not presence.is_there("b")
    assert presence.is_there("a")


def test_one_that_shuts_down_is_gone_at_once_until_it_is_heard_again() -> None:
    """Also while its route still stands."""
    _, presence = open_presence()
    assert presence.told("b", HERE)
    assert presence.told("b", GONE)
    assert not presence.is_there("b")
    assert presence.told("b", HERE)
    assert presence.is_there("b")
    assert not presence.told("b", "S-R3F-1")


def test_one_that_falls_silent_is_there_for_150_to_250_seconds() -> None:
    """In reach or not: a server that is paused says nothing either."""
    way, presence = open_presence()
    way.run_until(100.0)
    presence.told("b", HERE)
    presence.told("c", HERE)
    way.in_reach.discard("b")
    way.run_until(250.0)
    assert presence.is_there("b")
    assert presence.is_there("c")
    presence.told("c", HERE)
    way.run_until(350.0)
    assert not presence.is_there("b")
    assert presence.is_there("c")
    way.run_until(520.0)
    assert not presence.is_there("c")
