"""The laws of routers: each is shown a history in which it holds, and those it must refuse."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beamline_trio.simulation import (
    Evidence,
    Law,
    each_input_ends,
    no_ack_precedes_its_effect,
    one_at_a_time,
    routes_balance,
    settled_once,
)
from beamline_trio.simulation._facts import Handled, PubAcked, RouteBooks, Said, Stored
from beamline_trio.simulation._settlements import Settlements
from tests.simulation._history import BILLING_LINK, History

BEHIND_EFFECTS = no_ack_precedes_its_effect("DLQ")
ENDS = each_input_ends("S", "c", max_deliver=3, dead_letters="DLQ")
ENDS_WITHOUT = each_input_ends("S", "c", max_deliver=3)
IN_TURN = one_at_a_time("S", "c", lambda identity: identity.partition("/")[0])


class RouterHistory(History):
    """What happened to a router on the host billing."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[str] = []

    def take(self, number: int, deliveries: int = 1, *, at: float = 2.0) -> None:
        """A message of the stream came."""
        if deliveries == 1:
            self.store(number)
        self.hand_out(number, deliveries, at=at)

    def handle(self, number: int, effects: tuple[str, ...] | None, deliveries: int = 1, *, at: float = 3.0) -> None:
        """Its handler was called, and returned half a second later."""
        place = ("S", "c", number, deliveries, f"app/{number}")
        self.journal.handled.append(Handled("billing/1", *place, effects, at - 0.5, at))

    def confirm(self, identity: str, stream: str = "OUT", sequence: int = 1, *, at: float | None = 4.0) -> None:
        """A stream has stored it, and its PubAck came to the router."""
        self.journal.stored.append(Stored("a", stream, sequence, identity, 3.5))
        if at is not None:
            self.journal.settlements.pubacked.append(PubAcked(BILLING_LINK, stream, sequence, at))

    def say(self, number: int, kind: str = "ack", deliveries: int = 1, *, at: float = 5.0) -> None:
        """Its router settled it."""
        self.journal.settlements.said.append(Said(BILLING_LINK, "S", "c", number, deliveries, kind, at))
        if kind != "nak":
            self.acknowledge(number)

    def end_route(self, *, drained: bool = True, at: float = 60.0, **numbers: Any) -> None:
        """Its router ended, and its route counted this."""
        counted = {"taken": 1, "pending": 0, "in_flight": 0, "outcomes": {"ok": 1}, **numbers}
        books = RouteBooks("billing/1", "c", ("S", "c"), SimpleNamespace(**counted), drained, at)
        self.journal.routes.append(books)

    def evidence(self) -> Evidence:
        """With a stream of dead letters."""
        messages = [SimpleNamespace(header=f"NATS/1.0\r\nSim-Id: {one}\r\n\r\n".encode()) for one in self.letters]
        evidence = super().evidence()
        stream = SimpleNamespace(name="DLQ", messages=messages)
        servers = {**evidence.servers, "b": cast("Any", SimpleNamespace(streams=(stream,), went_down=()))}
        return attrs.evolve(evidence, servers=servers)


def _all_is_well(history: RouterHistory) -> None:
    """Accepted at the second delivery; given up with a dead letter; and terminated."""
    history.take(1)
    history.handle(1, None)
    history.say(1, "nak")
    history.take(1, 2, at=6.0)
    history.handle(1, ("app/1+0", "app/1+1"), 2, at=7.0)
    history.confirm("app/1+0", sequence=1, at=8.0)
    history.confirm("app/1+1", sequence=2, at=8.5)
    history.say(1, "ack", 2, at=9.0)
    history.take(2, at=10.0)
    history.handle(2, None, at=11.0)
    history.confirm("app/2", "DLQ", at=11.5)
    history.say(2, at=12.0)
    history.kept += ["app/1+0", "app/1+1"]
    history.letters.append("app/2")
    history.end_route()


def _effect_is_confirmed_too_late(history: RouterHistory) -> None:
    history.take(1)
    history.handle(1, ("app/1+0",))
    history.confirm("app/1+0", at=5.5)
    history.say(1)


def _effect_was_confirmed_for_the_try_before(history: RouterHistory) -> None:
    history.take(1)
    history.confirm("app/1+0", at=2.5)
    history.handle(1, ("app/1+0",))
    history.say(1)


def _one_effect_is_not_confirmed(history: RouterHistory) -> None:
    history.take(1)
    history.handle(1, ("app/1+0", "app/1+1"))
    history.confirm("app/1+0")
    history.say(1)


def _dead_letter_is_confirmed_too_late(history: RouterHistory) -> None:
    history.take(1)
    history.handle(1, None)
    history.confirm("app/1", "DLQ", at=5.5)
    history.say(1)


def _refused_and_acked(history: RouterHistory) -> None:
    history.take(1)
    history.handle(1, None)
    history.confirm("app/1", "OUT")
    history.say(1)


def _acked_and_naked(history: RouterHistory) -> None:
    history.take(1)
    history.say(1)
    history.say(1, "nak")
    history.end_route()


def _drained_without_a_word(history: RouterHistory) -> None:
    history.take(1)
    history.end_route()


def _in_flight_at_the_end(history: RouterHistory) -> None:
    history.end_route(in_flight=1, outcomes={"ok": 0})


def _two_outcomes(history: RouterHistory) -> None:
    history.end_route(outcomes={"ok": 1, "returned": 1})


def _no_end(history: RouterHistory) -> None:
    history.take(1)
    history.take(1, 2)


def _came_too_often(history: RouterHistory) -> None:
    for number in (1, 2, 3, 4):
        history.take(1, number)


def _acked_and_its_effect_is_nowhere(history: RouterHistory) -> None:
    history.take(1)
    history.handle(1, ("app/1+0",))
    history.say(1)


def _acked_and_in_no_dead_letters(history: RouterHistory) -> None:
    history.take(1)
    history.handle(1, None)
    history.say(1)


def _terminated_in_spite_of_dead_letters(history: RouterHistory) -> None:
    history.take(1)
    history.handle(1, None)
    history.say(1, "term")


def _two_of_a_key_at_once(history: RouterHistory) -> None:
    history.handle(1, ())
    history.handle(2, (), at=3.2)


def _first_behind_a_later_one(history: RouterHistory) -> None:
    history.handle(2, ())
    history.handle(1, (), at=9.0)


def _tried_again_behind_a_later_one(history: RouterHistory) -> None:
    history.handle(1, None)
    history.handle(2, (), at=5.0)
    history.handle(1, (), 2, at=9.0)


Broken = Callable[[RouterHistory], None]
Test = Callable[[list[int]], None]


@pytest.mark.parametrize(
    "law, breaks",
    [
        (BEHIND_EFFECTS, _effect_is_confirmed_too_late),
        (BEHIND_EFFECTS, _effect_was_confirmed_for_the_try_before),
        (BEHIND_EFFECTS, _one_effect_is_not_confirmed),
        (BEHIND_EFFECTS, _dead_letter_is_confirmed_too_late),
        (BEHIND_EFFECTS, _refused_and_acked),
        (settled_once, _acked_and_naked),
        (settled_once, _drained_without_a_word),
        (routes_balance, _in_flight_at_the_end),
        (routes_balance, _two_outcomes),
        (ENDS, _no_end),
        (ENDS, _came_too_often),
        (ENDS, _acked_and_its_effect_is_nowhere),
        (ENDS, _acked_and_in_no_dead_letters),
        (ENDS, _terminated_in_spite_of_dead_letters),
        (IN_TURN, _two_of_a_key_at_once),
        (IN_TURN, _first_behind_a_later_one),
        (IN_TURN, _tried_again_behind_a_later_one),
    ],
)
def test_a_broken_law_is_seen(law: Law, breaks: Broken) -> None:
    """The law says so, with its name."""
    history = RouterHistory()
    breaks(history)
    found = history.judged(law)
    assert {violation.law for violation in found} == {getattr(law, "__name__", None)}
    assert all(violation.text for violation in found)


@pytest.mark.parametrize("law", [BEHIND_EFFECTS, settled_once, routes_balance, ENDS, IN_TURN])
def test_a_good_history_breaks_no_law(law: Law) -> None:
    """Effects confirmed at a second try, and a dead letter."""
    history = RouterHistory()
    _all_is_well(history)
    assert not history.judged(law)


def test_what_another_router_has_left_comes_behind_later_ones() -> None:
    """It was killed with a message in hand, which comes again when its ack wait is over."""
    history = RouterHistory()
    history.handle(2, ())
    history.handle(1, (), 2, at=9.0)
    assert not history.judged(IN_TURN)


def test_a_second_coming_is_acked_for_what_was_confirmed_before() -> None:
    """The router knows that it has done it; nothing is published again, and the first delivery needs no word."""
    history = RouterHistory()
    history.take(1)
    history.handle(1, ("app/1+0",))
    history.confirm("app/1+0")
    history.take(1, 2, at=6.0)
    history.say(1, "ack", 2, at=6.1)
    history.end_route()
    for law in (BEHIND_EFFECTS, settled_once):
        assert not history.judged(law)


def test_a_route_without_dead_letters_terminates() -> None:
    """That is the end of a message then."""
    history = RouterHistory()
    _terminated_in_spite_of_dead_letters(history)
    assert not history.judged(ENDS_WITHOUT)


@pytest.mark.parametrize("spoil", ["not drained", "link dies before", "not read", "ran before"])
def test_what_is_not_expected_of_a_drain(spoil: str) -> None:
    """It was cut short, its link died, the message did not come; or it came to the run before, judged by itself."""
    history = RouterHistory()
    history.take(1)
    link = history.links[BILLING_LINK]
    if spoil == "link dies before":
        link.ended_at = 50.0
    if spoil == "not read":
        link.received = 50
    if spoil == "ran before":
        history.end_route(drained=False, at=30.0)
    history.end_route(drained=spoil != "not drained")
    assert not history.judged(settled_once)


# The wire

ACK = b"$JS.ACK.S.c.%d.%d.9.1735689600000000000.0"
SENT = (
    b"PING\r\nPUB " + ACK % (1, 1) + b" 4\r\n+ACK\r\n"
    b"PUB " + ACK % (1, 2) + b' 17\r\n-NAK {"delay": 5}\r\n'
    b"PUB " + ACK % (1, 3) + b" 4\r\n+WPI\r\n"
    b"PUB " + ACK % (2, 3) + b" _INBOX.x 4\r\n+ACK\r\n"
    b"PUB " + ACK % (3, 4) + b" 12\r\n+TERM reason\r\n"
    b"PUB " + ACK % (1, 5) + b" 0\r\n\r\nPONG\r\n"
)
CAME = (
    b'MSG _INBOX.1 1 24\r\n{"stream":"OUT","seq":10}\r\n'
    b'MSG _INBOX.2 1 60\r\n{"stream":"OUT","domain":"hub","seq":10,"duplicate": true}\r\n'
    b'MSG _INBOX.3 1 90\r\n{"error":{"code":503},"stream":"OUT","seq":0}\r\n'
)


def examples_of(size: int) -> Callable[[Test], Test]:
    """Each single cut is among the examples."""

    def add(test: Test) -> Test:
        for cut in range(size + 1):
            test = example([cut])(test)
        return test

    return add


@given(st.lists(st.integers(0, len(SENT)), max_size=6))
@examples_of(len(SENT))
def test_what_was_said_is_read_at_every_split(cuts: list[int]) -> None:
    """However the bytes are cut by writes, each is noted once, and progress is not."""
    settlements = Settlements(lambda: 1.0)
    for part in _parts(SENT, cuts):
        settlements.sent(7, part)
    said = [(one.sequence, one.deliveries, one.kind) for one in settlements.said]
    assert said == [(1, 1, "ack"), (2, 1, "nak"), (3, 2, "ack"), (4, 3, "term"), (5, 1, "ack")]
    assert {(one.link, one.stream, one.consumer, one.at) for one in settlements.said} == {(7, "S", "c", 1.0)}


@given(st.lists(st.integers(0, len(CAME)), max_size=6))
@examples_of(len(CAME))
def test_pubacks_are_read_at_every_split(cuts: list[int]) -> None:
    """However the bytes are cut by packets, each is noted, also the second of a duplicate; an error is none."""
    settlements = Settlements(lambda: 1.0)
    for part in _parts(CAME, cuts):
        settlements.arrived(7, part)
    assert [(one.stream, one.sequence) for one in settlements.pubacked] == [("OUT", 10)] * 2


def _parts(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]
