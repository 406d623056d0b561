"""What a stage built on the client hears of the connection's turns, and where its own frames go."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import Client, Ledger, PendingTimeoutError, ServerError
from tests._memory import ToyServer, lose_link, opened, wait_connected


@attrs.define(eq=False)
class Recorder:
    """A follower that notes what it is told, with the state at that moment, and has frames for each link."""

    nc: Client
    frames: tuple[bytes, ...] = ()
    leaves: bool = False
    told: list[tuple[str, str]] = attrs.field(factory=list)

    def _note(self, turn: str) -> None:
        self.told.append((turn, str(self.nc.state)))
        if self.leaves:
            self.nc.connection.followers.remove(self)

    def link_up(self) -> tuple[bytes, ...]:
        self._note("link_up")
        return self.frames

    def link_down(self) -> None:
        self._note("link_down")

    def publish_refused(self, error: ServerError, subject: bytes) -> bool:
        self._note(f"refused {subject.decode()}")
        return subject == b"mine"

    def given_up(self, frame: bytes, error: Callable[[], Exception]) -> None:
        self._note(f"given up {frame.split()[1].decode()} by {type(error()).__name__}")

    def handed_over(self, frame: bytes, place: int) -> None:
        self._note(f"handed over {frame.split()[1].decode()} as {place}")

    def closed(self) -> None:
        self._note("closed")


async def test_its_frames_go_between_the_interests_and_what_is_pending(autojump_clock: MockClock) -> None:
    """On every new link: SUBs, then the followers' frames in the order of the followers, then older operations."""
    server = ToyServer()
    async with opened(server) as nc, nc.subscribe("a"):
        for name in (b"first", b"second"):
            nc.connection.followers.append(Recorder(nc, (b"PUB %b 0\r\n\r\n" % name,)))
        for link in (1, 2):
            await lose_link(server)
            await nc.publish("pending", b"x")
            server.come_up()
            await wait_connected(nc)
            await nc.flush()
            operations = server.operations("SUB", "PUB", link=link)
            assert [operation[:2] for operation in operations] == [
                ("SUB", "a"),
                ("PUB", "first"),
                ("PUB", "second"),
                ("PUB", "pending"),
            ]


async def test_its_frames_belong_to_their_link(autojump_clock: MockClock) -> None:
    """Unwritten when the link dies they are forgotten: not pending, not sent twice, in no ledger."""
    server = ToyServer()
    async with opened(server) as nc:
        nc.connection.followers.append(Recorder(nc, (b"PUB pull 0\r\n\r\n",)))
        server.stall()
        nc.connection.outbox.put_control(b"PUB pull.more 0\r\n\r\n")
        await lose_link(server)
        assert nc.stats().pending_operations == 0
        server.resume()
        server.come_up()
        await wait_connected(nc)
        await nc.flush()
        assert server.operations("PUB") == [("PUB", "pull", "0")]
        nothing = Ledger(accepted=0, open=0, confirmed=0, failed=0, expired=0, dropped=0, unknown=0, skipped=0)
        assert nc.ledger() == nothing


async def test_it_hears_of_each_turn_once(autojump_clock: MockClock) -> None:
    """In the step of the turn, when the state says so already."""
    server = ToyServer()
    async with opened(server) as nc:
        follower = Recorder(nc)
        nc.connection.followers.append(follower)
        await lose_link(server)
        assert follower.told == [("link_down", "reconnecting")]
        server.come_up()
        await wait_connected(nc)
    assert follower.told[1:] == [("link_up", "reconnecting"), ("closed", "closed")]


async def test_it_hears_of_publishes_that_are_given_up(autojump_clock: MockClock) -> None:
    """Each publish that leaves the queue unsent, with the error that its caller would get; no bare waiters."""
    server = ToyServer()
    async with opened(
        server, pending_timeout_seconds=2.0, pending_operations_max=1, pending_policy="drop_oldest"
    ) as nc:
        follower = Recorder(nc)
        nc.connection.followers.append(follower)
        await lose_link(server)
        await nc.publish("first", b"x")
        await nc.publish("second", b"x")
        with pytest.raises(PendingTimeoutError):
            await nc.flush()
        server.come_up()
        await wait_connected(nc)
    turns = [turn for turn, _ in follower.told if turn.startswith("given up")]
    assert turns == ["given up first by PendingFullError", "given up second by PendingTimeoutError"]


async def test_one_that_leaves_in_a_turn_disturbs_no_other(autojump_clock: MockClock) -> None:
    """Those behind it are told all the same, and it is told nothing more."""
    server = ToyServer()
    async with opened(server) as nc:
        leaving, staying = Recorder(nc, leaves=True), Recorder(nc)
        nc.connection.followers += [leaving, staying]
        await lose_link(server)
        server.come_up()
        await wait_connected(nc)
    assert [turn for turn, _ in leaving.told] == ["link_down"]
    assert [turn for turn, _ in staying.told] == ["link_down", "link_up", "closed"]


async def test_attachments_belong_to_the_client(autojump_clock: MockClock) -> None:
    """A stage finds what it kept for a client at that client and at no other."""
    server = ToyServer()
    async with opened(server) as one, opened(server) as other:
        one.attachments["stage"] = kept = object()
        assert one.attachments == {"stage": kept}
        assert other.attachments == {}


async def test_a_refusal_of_its_own_frame_blames_no_publish(autojump_clock: MockClock) -> None:
    """The -ERR names the subject: what a follower claims is in no ledger; what nobody claims is a publish's."""
    server = ToyServer()
    server.denied_publish |= {b"mine", b"users"}
    async with opened(server) as nc:
        follower = Recorder(nc)
        nc.connection.followers.append(follower)
        server.pongs_held = True
        await nc.publish("other", b"unconfirmed")
        nc.connection.outbox.put_control(b"PUB mine 0\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert (nc.ledger().failed, nc.stats().publish_failures["permission"]) == (0, 0)
        await nc.publish("users", b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert (nc.ledger().failed, nc.stats().publish_failures["permission"]) == (1, 1)
        server.release_pongs()
        assert [turn for turn, _ in follower.told] == ["refused mine", "refused users"]
