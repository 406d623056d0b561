"""What a new link must be told of the subscriptions, and which of them a refusal is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection._interests import Interest, Interests
from beamline_trio.protocol import PermissionsError, server_error


class FakeRoute:
    """Counts what is delivered."""

    def __init__(self, delivered: int = 0) -> None:
        self.delivered = delivered

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        self.delivered += 1

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        self.delivered += len(payloads)

    def skipped(self, subject: bytes, reason: str) -> None:
        self.delivered += 1

    def refused(self, error: PermissionsError) -> None:
        raise AssertionError("the table of interests tells nobody")

    def closed(self) -> None:
        raise AssertionError("the table of interests tells nobody")


def refusal(text: str) -> PermissionsError:
    error = server_error(f"'Permissions Violation for Subscription to {text}'")
    assert isinstance(error, PermissionsError)
    return error


def test_sids_are_never_used_twice() -> None:
    """Each interest has a sid of its own, also after others were removed; sids are decimal numbers."""
    interests = Interests()
    seen = set()
    for _ in range(20):
        interest = interests.add(b"a", None, None, FakeRoute())
        assert interest.sid.isdigit()
        seen.add(interest.sid)
        interests.remove(interest)
    assert len(seen) == 20
    assert len(interests) == 0


def test_the_replay_is_in_the_order_of_subscribing() -> None:
    """A new link is told all interests in the order in which they were made, without the removed ones."""
    interests = Interests()
    routes = [FakeRoute() for _ in range(3)]
    interests.add(b"a.*", None, None, routes[0])
    second = interests.add(b"b", b"q", None, routes[1])
    interests.add(b"c.>", b"q2", None, routes[2])
    assert interests.replay() == [b"SUB a.* 1\r\n", b"SUB b q 2\r\n", b"SUB c.> q2 3\r\n"]
    interests.remove(second)
    assert interests.replay() == [b"SUB a.* 1\r\n", b"SUB c.> q2 3\r\n"]
    assert [interest.sid for interest in interests.everything()] == [b"1", b"3"]
    assert interests.replay() == interests.replay()


def test_a_replay_asks_for_the_remainder() -> None:
    """The server counts from its SUB: after a reconnect the maximum less what came over all earlier links is asked for,
    and nothing at all when everything has come.
    """
    interests = Interests()
    route = FakeRoute()
    interest = interests.add(b"a", None, 10, route)
    assert interests.replay() == [b"SUB a 1\r\n", b"UNSUB 1 10\r\n"]
    route.delivered = 4
    assert interest.unsubscribe_frame() == b"UNSUB 1 10\r\n"  # the present link counts from its own SUB
    assert interests.replay() == [b"SUB a 1\r\n", b"UNSUB 1 6\r\n"]
    assert interest.unsubscribe_frame() == b"UNSUB 1 6\r\n"
    route.delivered = 9
    assert interests.replay() == [b"SUB a 1\r\n", b"UNSUB 1 1\r\n"]
    assert not interest.spent
    route.delivered = 10
    assert interest.spent
    assert interests.replay() == []
    assert interests.has(interest)


def test_a_maximum_that_comes_later_counts_from_the_first_message() -> None:
    """`unsubscribe(after=n)` means n messages in all, counted over all links; without one UNSUB is at once."""
    interests = Interests()
    route = FakeRoute()
    interest = interests.add(b"a", None, None, route)
    route.delivered = 3
    assert interests.replay() == [b"SUB a 1\r\n"]
    assert interest.unsubscribe_frame() == b"UNSUB 1\r\n"
    route.delivered = 5
    interest.maximum = 8
    assert interest.unsubscribe_frame() == b"UNSUB 1 5\r\n"  # three of the eight came before this link's SUB


@given(st.integers(1, 50), st.lists(st.integers(0, 12), max_size=8))
def test_over_all_links_exactly_the_maximum_comes(maximum: int, links: list[int]) -> None:
    """Whatever each link delivers before it dies, the remainders never let more than the maximum through, nor less."""
    interests = Interests()
    route = FakeRoute()
    interests.add(b"a", None, maximum, route)
    for sent in [*links, maximum]:
        frames = interests.replay()
        if not frames:
            assert route.delivered == maximum
            return
        asked = int(frames[1].split()[-1])
        assert asked > 0
        route.delivered += min(sent, asked)
    assert route.delivered == maximum


def test_routes_follow_the_interests() -> None:
    """The parser finds the route of an interest until it is removed; with keep_route it still does, until forgotten."""
    interests = Interests()
    table = interests.routes
    first, second = FakeRoute(), FakeRoute()
    one = interests.add(b"a", None, None, first)
    two = interests.add(b"b", None, None, second)
    assert table == {b"1": first, b"2": second}
    interests.remove(one, keep_route=True)
    assert not interests.has(one)
    assert table == {b"1": first, b"2": second}
    assert interests.replay() == [b"SUB b 2\r\n"]
    interests.forget_route(one)
    assert table == {b"2": second}
    interests.remove(two)
    interests.remove(two)
    interests.forget_route(two)
    assert table == {}
    assert interests.routes is table  # the parser of a running link holds it
    three, four = (interests.add(subject, None, None, first) for subject in (b"c", b"d"))
    interests.remove(three, keep_route=True)
    interests.forget_kept_routes()
    assert table == {four.sid: first}


@pytest.fixture
def blameable() -> tuple[Interests, dict[str, Interest]]:
    interests = Interests()
    made = {
        "plain": interests.add(b"a.b", None, None, FakeRoute()),
        "twin": interests.add(b"a.b", None, None, FakeRoute()),
        "queue": interests.add(b"a.b", b"q", None, FakeRoute()),
        "other queue": interests.add(b"a.b", b"Q", None, FakeRoute()),
        "other": interests.add(b"a.c", None, None, FakeRoute()),
        "utf8": interests.add("größe.€".encode(), "wü".encode(), None, FakeRoute()),
        "quotes": interests.add(b'a."x\\y"', None, None, FakeRoute()),
        "unprintable": interests.add(b"a.\x0b", b'"', None, FakeRoute()),
    }
    return interests, made


@pytest.mark.parametrize(
    "text, blamed",
    [
        ('"a.b"', ["plain", "twin"]),
        ('"a.b" using queue "q"', ["queue"]),
        ('"a.b" using queue "Q"', ["other queue"]),
        ('"a.b" using queue "none"', []),
        ('"A.B"', []),
        ('"a.c", too many tokens', ["other"]),
        ('"a.d"', []),
        ('"a.b" (sid "2")', ["twin"]),
        ('"a.b" (sid "3")', ["queue"]),
        ('"a.b" (sid "99")', []),
        ('"größe.€" using queue "wü"', ["utf8"]),
        (r'"a.\"x\\y\""', ["quotes"]),
        (r'"a.\v" using queue "\""', ["unprintable"]),
    ],
)
def test_a_refusal_finds_its_interests(
    blameable: tuple[Interests, dict[str, Interest]], text: str, blamed: list[str]
) -> None:
    """A refusal is about the sid it names, else about all interests of exactly its subject and queue group."""
    interests, made = blameable
    assert interests.blamed(refusal(text)) == [made[name] for name in blamed]


def test_a_removed_interest_is_not_blamed() -> None:
    """What is no longer in force can be refused no more."""
    interests = Interests()
    interests.remove(interests.add(b"a", None, None, FakeRoute()), keep_route=True)
    assert interests.blamed(refusal('"a"')) == []
    assert interests.blamed(refusal('"a" (sid "1")')) == []
