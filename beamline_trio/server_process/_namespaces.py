"""A network namespace for each server: hosts of their own on one machine, whose links the kernel cuts. Root only.

    this process --- bridge --+-- veth -- namespace of east-1 (10.213.x.11)
                              +-- veth -- namespace of east-2 (10.213.x.12)

Nothing here needs packet filters, which many machines lack. A pair is cut by a permanent entry in the sender's table of
neighbours with a hardware address that nobody has: packets leave and arrive nowhere, without a word to the sender, and
one way if so wished. A link is down by setting its end at the bridge down, as a pulled cable is.

What is made is named after this process, so that a later one removes what a killed one has left.

Must not start servers.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, final

import trio

from ._errors import ServerProcessError

HOST = "host"
"""The name of this process's side in a cut."""
_NOBODY = "02:00:00:00:00:99"
_PREFIX = "bl"
_MADE_BY = re.compile(rf"{_PREFIX}(\d+)[bn]\d*")
_FIRST_HOST = 11
_PORTS_FIRST = 4222
_CLEANUP_SECONDS = 20.0
# Options of `ip` that name the sender's namespace, the target's address, and the sender's device to it.
_Way: TypeAlias = tuple[tuple[str, ...], str, str]


class NamespaceError(ServerProcessError):
    """Network namespaces cannot be made or changed here; the text has what the system said."""


@final
class NamespaceLinks:
    """A namespace for each server. Made by `open_namespace_links`."""

    def __init__(self, number: int, subnet: str) -> None:
        self._bridge = f"{_PREFIX}{number}b"
        self._number = number
        self._subnet = subnet
        self._indices: dict[str, int] = {}
        self._ports: dict[str, int] = {}
        self._cuts: set[_Way] = set()

    async def prepare(self, names: Sequence[str]) -> None:
        """Make the namespaces of these servers, with their links to the bridge.

        Cancelled, it has made a part of them; leaving the block removes it.

        Raises:
            NamespaceError: the system refused it.
        """
        for name in names:
            index = self._indices.setdefault(name, len(self._indices))
            inside, outside = self._inside(name), self._outside(index)
            await _ip("netns", "add", inside)
            await _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", inside)
            await _ip("link", "set", outside, "master", self._bridge, "up")
            await _ip("-n", inside, "link", "set", "lo", "up")
            await _ip("-n", inside, "address", "add", f"{self.host(name)}/24", "dev", "eth0")
            await _ip("-n", inside, "link", "set", "eth0", "up")

    def host(self, name: str) -> str:
        """The server's address in its namespace."""
        return f"{self._subnet}.{_FIRST_HOST + self._index(name)}"

    def port(self, name: str) -> int:
        """4222 and those behind it: in its namespace a server is alone."""
        self._ports[name] = self._ports.get(name, _PORTS_FIRST - 1) + 1
        return self._ports[name]

    def namespace(self, name: str) -> str | None:
        """The server's namespace."""
        return self._inside(name)

    async def address(self, source: str, target: str, port: int) -> str:
        """The target's own."""
        return f"{self.host(target)}:{port}"

    def advertised(self, name: str) -> str | None:
        """The truth."""
        return None

    async def cut(self, these: Iterable[str], those: Iterable[str], *, one_way: bool = False) -> None:
        """Let what these servers send to those (and back, unless `one_way`) get lost; `HOST` is this process's side.

        Cancelled, it has cut a part; `heal` mends it.

        Raises:
            NamespaceError: there is no such server, and nothing is cut; or the system refused it.
        """
        others = list(those)
        pairs = [(source, target) for source in these for target in others]
        both = pairs if one_way else [*pairs, *((target, source) for source, target in pairs)]
        for way in [self._way(source, target) for source, target in both]:
            where, address, device = way
            self._cuts.add(way)
            await _ip(*where, "neighbour", "replace", address, "lladdr", _NOBODY, "nud", "permanent", "dev", device)

    async def heal(self) -> None:
        """Undo every cut, those too that were cancelled or refused midway. Cancelled, call it again.

        Raises:
            NamespaceError: the system refused it.
        """
        for way in sorted(self._cuts):
            where, address, device = way
            # `del` would fail for an entry that a cancelled cut has not made, or a cancelled healing has removed.
            await _ip(*where, "neighbour", "flush", "to", address, "nud", "permanent", "dev", device)
            self._cuts.discard(way)

    async def link_down(self, name: str) -> None:
        """Pull the server's cable: nothing comes from it or to it, this process's side included.

        Raises:
            NamespaceError: the system refused it.
        """
        await _ip("link", "set", self._outside(self._index(name)), "down")

    async def link_up(self, name: str) -> None:
        """Plug it in again.

        Raises:
            NamespaceError: the system refused it.
        """
        await _ip("link", "set", self._outside(self._index(name)), "up")

    def _way(self, source: str, target: str) -> _Way:
        address = f"{self._subnet}.1" if target == HOST else self.host(target)
        if source == HOST:
            return (), address, self._bridge
        return ("-n", self._inside(source)), address, "eth0"

    def _index(self, name: str) -> int:
        if name not in self._indices:
            known = ", ".join(self._indices) or "none"
            raise NamespaceError(f"there is no server {name!r}, but {known}; prepare() it first")
        return self._indices[name]

    def _inside(self, name: str) -> str:
        return f"{_PREFIX}{self._number}n{self._index(name)}"

    def _outside(self, index: int) -> str:
        return f"{_PREFIX}{self._number}n{index}"


async def why_no_namespaces() -> str | None:
    """Return why network namespaces cannot be made here, or None when they can: for tests that skip with the reason."""
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            return f"there is no {tool} on PATH (packages iproute2 and util-linux)"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        async with _open_bridge(os.getpid()):
            return None
    except NamespaceError as error:
        return str(error)


@contextlib.asynccontextmanager
async def open_namespace_links() -> AsyncGenerator[NamespaceLinks]:
    """Links through network namespaces, for `open_cluster(links=...)` inside the block.

    Leaving it removes the namespaces and the bridge, also when it is cancelled while it is entered. What a killed
    process has left of its own is removed first. One such block a process at a time.

    Raises:
        NamespaceError: they cannot be made here (see `why_no_namespaces`), or this process has such a block.
    """
    await _remove_orphans()
    async with _open_bridge(os.getpid()) as subnet:
        yield NamespaceLinks(os.getpid(), subnet)


@contextlib.asynccontextmanager
async def _open_bridge(number: int) -> AsyncGenerator[str]:
    """A bridge, by its subnet; behind the block all is gone that was made under the number."""
    bridge = f"{_PREFIX}{number}b"
    subnet = await _free_subnet()
    if bridge in _interfaces():
        raise NamespaceError(f"process {number} has its namespaces already ({bridge}); leave that block first")
    try:
        await _ip("link", "add", bridge, "type", "bridge")
        await _ip("address", "add", f"{subnet}.1/24", "dev", bridge)
        await _ip("link", "set", bridge, "up")
        yield subnet
    finally:
        with trio.move_on_after(_CLEANUP_SECONDS, shield=True):
            await _remove(number)


async def _free_subnet() -> str:
    """One of 256 that no interface of this machine is in, beginning at another in each process."""
    taken = await _ip("-4", "-o", "address")
    candidates = (f"10.213.{(os.getpid() + offset) % 256}" for offset in range(256))
    for subnet in candidates:
        if f" {subnet}." not in taken:
            return subnet
    raise NamespaceError("all of 10.213.0.0/16 is in use on this machine; remove bridges that nobody uses")


async def _remove(number: int) -> None:
    """Remove what the process of this number has made; links too, which would go some time after their namespaces."""
    for name in _interfaces():
        if _owner(name) == number:
            await _ip("link", "del", name)
    for name in await _made():
        if _owner(name) == number:
            await _ip("netns", "del", name)


async def _remove_orphans() -> None:
    owners = {owner for name in [*await _made(), *_interfaces()] if (owner := _owner(name)) is not None}
    for owner in sorted(owners):
        if not _lives(owner):
            await _remove(owner)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _interfaces() -> list[str]:
    return [path.name for path in Path("/sys/class/net").glob(f"{_PREFIX}*")]


async def _made() -> list[str]:
    lines = (await _ip("netns", "list")).splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def _owner(name: str) -> int | None:
    found = _MADE_BY.fullmatch(name)
    return int(found[1]) if found else None


async def _ip(*arguments: str) -> str:
    """Run `ip` and return what it prints."""
    try:
        done = await trio.run_process(["ip", *arguments], capture_stdout=True, capture_stderr=True, check=False)
    except OSError as error:
        raise NamespaceError(f"ip cannot be executed: {error}; install iproute2") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise NamespaceError(f"`ip {' '.join(arguments)}` failed: {said or done.returncode}; are you root?")
    return done.stdout.decode("utf-8", "replace")
