"""All addresses of a name: resolved anew for each attempt, in an order drawn by chance, each tried."""

from __future__ import annotations

import errno
import random
import socket
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from beamline_trio import NameResolutionError, ServerUnreachableError, TCPDialer
from beamline_trio.transport import Environment, ServerAddress
from beamline_trio.transport._tcp import STAGGER_SECONDS, connect_tcp

ADDRESS = ServerAddress("nats.test", 4222)


class FakeNetwork(trio.abc.HostnameResolver, trio.abc.SocketFactory):
    """Names, and what becomes of a connect to each of their addresses: an error, a success, or silence (None)."""

    def __init__(self, fates: Mapping[str, OSError | bool | None]) -> None:
        self.fates = fates
        self.resolved = 0
        self.tried: list[tuple[float, str]] = []
        self.open: list[FakeSocket] = []
        self.families_missing: set[int] = set()

    async def getaddrinfo(  # type: ignore[override]  # the types of what is inside differ with the family
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]:
        self.resolved += 1
        assert type == socket.SOCK_STREAM
        await trio.lowlevel.checkpoint()
        if not self.fates:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in self.fates
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError

    def socket(self, family: int = 0, type: int = 0, proto: int = 0) -> Any:
        if family in self.families_missing:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return FakeSocket(self)


class FakeSocket(trio.socket.SocketType):
    """One attempt."""

    def __init__(self, network: FakeNetwork) -> None:
        self.network = network
        self.peer = ""
        self.closed = False
        network.open.append(self)

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_STREAM

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        pass

    async def connect(self, address: Any) -> None:
        self.peer = address[0]
        self.network.tried.append((trio.current_time(), self.peer))
        await trio.lowlevel.checkpoint()
        fate = self.network.fates[self.peer]
        if fate is None:
            await trio.sleep_forever()
        if isinstance(fate, OSError):
            raise fate

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.network.open.remove(self)


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork({})


def install(network: FakeNetwork) -> None:
    trio.socket.set_custom_hostname_resolver(network)
    trio.socket.set_custom_socket_factory(network)


async def connect(rng: random.Random | None = None) -> str:
    stream = await connect_tcp(ADDRESS, rng)
    sock = stream.socket
    assert isinstance(sock, FakeSocket)
    peer = sock.peer
    sock.close()
    return peer


async def test_every_address_is_tried(network: FakeNetwork, autojump_clock: MockClock) -> None:
    """What refuses is passed over at once, also a family that this machine has not; the one that answers is taken."""
    install(network)
    network.fates = {"10.0.0.1": REFUSED, "::1": True, "10.0.0.2": REFUSED, "10.0.0.3": True}
    network.families_missing = {socket.AF_INET6}
    assert await connect() == "10.0.0.3"
    assert [peer for _, peer in network.tried] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert {at for at, _ in network.tried} == {0}
    assert not network.open


async def test_a_silent_address_costs_a_moment(network: FakeNetwork, autojump_clock: MockClock) -> None:
    """A machine that does not answer holds the next address up for no longer than the stagger, and is let go of."""
    install(network)
    network.fates = {"10.0.0.1": None, "10.0.0.2": None, "10.0.0.3": True}
    assert await connect() == "10.0.0.3"
    assert [at for at, _ in network.tried] == [0, STAGGER_SECONDS, 2 * STAGGER_SECONDS]
    assert not network.open


async def test_the_name_is_resolved_anew_and_shuffled(network: FakeNetwork, autojump_clock: MockClock) -> None:
    """Each attempt asks DNS again; over many attempts every address comes first; one seed gives one order."""
    install(network)
    network.fates = {"10.0.0.1": True, "10.0.0.2": True, "::1": True}
    rng = random.Random(1)
    first = Counter([await connect(rng) for _ in range(200)])
    assert network.resolved == 200
    assert set(first) == {"10.0.0.1", "10.0.0.2", "::1"}
    assert min(first.values()) > 40
    network.fates = {"10.0.0.9": True}
    assert await connect(rng) == "10.0.0.9"


async def test_the_order_can_be_kept(network: FakeNetwork, autojump_clock: MockClock) -> None:
    """Without chance the order is that of DNS; the dialer takes chance from its environment unless told to keep it."""
    install(network)
    network.fates = dict.fromkeys((f"10.0.0.{n}" for n in range(20)), True)
    peers: dict[bool, set[str]] = {True: set(), False: set()}
    for keep, seen in peers.items():
        dialer = TCPDialer(environment=Environment(random=random.Random(2)), keep_address_order=keep)
        for _ in range(10):
            async with dialer.open(ADDRESS):
                seen.add(network.open[-1].peer)
    assert peers[True] == {"10.0.0.0"}
    assert len(peers[False]) > 3
    assert not network.open


async def test_nothing_answers(network: FakeNetwork, autojump_clock: MockClock) -> None:
    """All refuse: one error that names the server and each reason once, with the first as its cause."""
    install(network)
    unreachable = OSError(errno.ENETUNREACH, "Network is unreachable")
    network.fates = {"10.0.0.1": REFUSED, "::1": unreachable, "10.0.0.2": REFUSED}
    with pytest.raises(ServerUnreachableError, match=r"nats://nats\.test:4222.*refused.*unreachable") as caught:
        await connect()
    assert str(caught.value).count("refused") == 1
    assert caught.value.__cause__ is REFUSED
    network.fates = {}
    with pytest.raises(NameResolutionError, match=r"nats\.test"):
        await connect()


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancelled_dial_leaves_nothing_open(
    steps: int, network: FakeNetwork, autojump_clock: MockClock
) -> None:
    """Cancelled in any step, also in that in which an address connects: no socket stays."""
    install(network)
    network.fates = {"10.0.0.1": REFUSED, "10.0.0.2": True}
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            await connect()
    assert not network.open
