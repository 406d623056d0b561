"""Two links that bring the same messages: each is given once, in order, and what is held is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.connection._handover import Handover
from beamline_trio.connection._interests import Interest, Interests
from beamline_trio.protocol import PermissionsError, Route


class Taker:
    """A route that keeps what it is given."""

    def __init__(self) -> None:
        self.delivered = 0
        self.got: list[bytes] = []

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        self.delivered += 1
        self.got.append(payload)

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        for payload in payloads:
            self.deliver(subject, None, None, payload)

    def skipped(self, subject: bytes, reason: str) -> None: ...

    def refused(self, error: PermissionsError) -> None: ...

    def closed(self) -> None: ...


class Rig:
    """A plain subscription, one of a queue group, an inbox, and both links' ways to them."""

    def __init__(self, bytes_max: int = 1_000_000) -> None:
        self.interests = Interests()
        self.plain, self.grouped, self.replies = Taker(), Taker(), Taker()
        self.sids = {
            "plain": self.add(self.plain, None).sid,
            "grouped": self.add(self.grouped, b"q").sid,
        }
        inbox = self.add(self.replies, None)
        self.sids["replies"] = inbox.sid
        self.handover = Handover(self.interests, inbox, bytes_max=bytes_max)

    def add(self, taker: Taker, group: bytes | None) -> Interest:
        return self.interests.add(b"x", group, None, taker)

    def route(self, link: str, kind: str) -> Route:
        side = self.handover.old if link == "old" else self.handover.new
        return side[self.sids[kind]]

    def bring(self, link: str, payload: bytes, kind: str = "plain", reply: bytes | None = None) -> None:
        self.route(link, kind).deliver(b"x", reply, None, payload)


def test_each_message_is_given_once() -> None:
    """The old link delivers at once; of what the new one brought only what the old one has not is given at the end."""
    rig = Rig()
    rig.bring("new", b"1")
    rig.bring("old", b"0")
    rig.bring("old", b"1")
    rig.bring("new", b"2")
    assert rig.plain.got == [b"0", b"1"]
    rig.handover.finish()
    assert rig.plain.got == [b"0", b"1", b"2"]
    rig.bring("new", b"3")
    assert rig.plain.got[-1] == b"3"
    assert rig.sids["plain"] not in rig.handover.old
    rig.handover.finish()
    assert len(rig.plain.got) == 4


@given(st.integers(0, 20), st.integers(0, 20), st.lists(st.booleans(), max_size=40), st.integers(1, 20))
def test_no_message_is_lost_doubled_or_overtaken(first: int, last: int, turns: list[bool], kinds: int) -> None:
    """However the links interleave: a stream of which the old one has a beginning and the new one an end, which overlap
    or touch, is given whole and in order; also where messages are equal, run together, or differ in their reply only.
    """
    stream = [(b"%d" % (number % kinds), b"%d" % number if kinds == 1 else None) for number in range(20)]
    if kinds not in (1, 20):  # equal messages are counted, so both links must have all of them, or one of them none
        first, last = 0, 20
    first = min(first, last)
    rig = Rig()
    sides = {"old": stream[:last], "new": stream[first:]}
    order = ["old" if turn else "new" for turn in turns] + ["old"] * 20 + ["new"] * 20
    for link in order:
        if sides[link]:
            payload, reply = sides[link].pop(0)
            if reply is None:
                rig.route(link, "plain").deliver_run(b"x", [payload])
            else:
                rig.bring(link, payload, reply=reply)
    rig.handover.finish()
    assert rig.plain.got == [payload for payload, _ in stream]


def test_replies_are_taken_from_whichever_link_is_first() -> None:
    """Nobody waits for a reply that is there, and none is given twice."""
    rig = Rig()
    rig.bring("new", b"1", "replies")
    rig.bring("old", b"1", "replies")
    rig.route("old", "replies").deliver_run(b"x", [b"2", b"2"])
    rig.route("new", "replies").deliver_run(b"x", [b"2", b"2"])
    assert rig.replies.got == [b"1", b"2", b"2"]


def test_queue_groups_and_later_subscriptions_are_not_held() -> None:
    """What only one of the links can bring is given at once."""
    rig = Rig()
    rig.bring("new", b"1", "grouped")
    rig.bring("old", b"2", "grouped")
    late = Taker()
    rig.sids["late"] = rig.add(late, None).sid
    rig.bring("new", b"3", "late")
    assert (rig.grouped.got, late.got) == ([b"1", b"2"], [b"3"])
    assert len(rig.handover.new) == len(list(rig.handover.new)) == 4


def test_what_is_held_is_bounded() -> None:
    """Beyond the bound the new link is let through, and the old one cut off: nothing twice, nothing lost."""
    rig = Rig(bytes_max=100)
    let_through: list[int] = []
    rig.handover.when_over(lambda: let_through.append(len(rig.plain.got)))
    for number in range(30):
        rig.bring("new", b"%010d" % number)
        if rig.sids["plain"] in rig.handover.old:
            rig.bring("old", b"%010d" % number)
    assert rig.handover.over
    assert len(let_through) == 1
    assert rig.plain.got == [b"%010d" % number for number in range(30)]


def test_what_is_remembered_of_replies_is_bounded() -> None:
    """Replies are kept to know them again; beyond the bound the old link brings nothing more."""
    rig = Rig(bytes_max=1000)
    for index in range(10):
        rig.bring("old", b"%100d" % index, "replies")
    assert rig.handover.over
    assert len(rig.replies.got) == 10
    rig.bring("new", b"later", "replies")
    assert rig.replies.got[-1] == b"later"


def test_what_was_left_meanwhile_gets_nothing() -> None:
    """A subscription that ended while its messages were held."""
    rig = Rig()
    rig.bring("new", b"1")
    for interest in rig.interests.everything():
        rig.interests.remove(interest)
    rig.handover.finish()
    assert not rig.plain.got
