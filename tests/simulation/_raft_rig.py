"""A group of members with a clock, links and disks of their own, and everything that can go wrong with them.

What is always checked: one leader in a term, who has what was decided before it; the same entry decided for an index
by everybody and for ever; and logs that agree up to where their terms do.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from random import Random

from beamline_trio.simulation._server._raft import Files, Message, Raft, Role, decode, encode


class _Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Virtual time of one test."""

    def __init__(self) -> None:
        self.time = 0.0
        self._count = 0
        self._due: list[tuple[float, int, _Timer, Callable[..., object], tuple[object, ...]]] = []

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> _Timer:
        timer = _Timer()
        self._count += 1
        heapq.heappush(self._due, (self.time + seconds, self._count, timer, callback, args))
        return timer

    def run_until(self, moment: float) -> None:
        while self._due and self._due[0][0] <= moment:
            self.time, _, timer, callback, args = heapq.heappop(self._due)
            if not timer.cancelled:
                callback(*args)
        self.time = moment


class Machine:
    """One member: its disk, its state machine (a list of what was applied), and its process while it runs."""

    def __init__(self, group: Group, name: str, clock: Clock, *, syncs: bool) -> None:
        self.group = group
        self.name = name
        self.clock = clock
        self.files = Files(syncs=syncs)
        self.applied: list[str] = []
        self.applied_synced: list[str] = []
        self.raft: Raft | None = None
        self.paused = False
        self.disk_seconds = 0.0
        self._disk_free_at = 0.0
        self._late: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._at_end: list[Callable[[], object]] = []
        self._life = 0

    # What is done to it

    def start(self, *, preferred: bool = False) -> None:
        if self.raft is None:
            self._life += 1
            self.paused = False
            self.raft = Raft(self.name, self.group.names, self.files, self, self.group.random)
            self.raft.start(preferred=preferred)

    def kill(self) -> None:
        raft, self.raft = self.raft, None
        if raft is not None:
            raft.stop()
            self._life += 1
            self._late.clear()
            self._at_end.clear()

    def crash(self) -> None:
        self.kill()
        self.files.lose_unsynced()
        self.applied = self.applied[: self.files.applied]

    def wipe(self) -> None:
        self.kill()
        self.files = Files(syncs=True)
        self.applied = []

    def pause(self) -> None:
        self.paused = self.raft is not None

    def resume(self) -> None:
        self.paused = False
        late, self._late = self._late, []
        for callback, args in late:
            callback(*args)
        self._finish()

    def propose(self, text: str) -> bool:
        raft = self.raft
        if raft is None or self.paused or not raft.propose(text.encode()):
            return False
        self._finish()
        return True

    def run(self, life: int, callback: Callable[..., object], *args: object) -> None:
        if life != self._life:
            return
        if self.paused:
            self._late.append((self.run, (life, callback, *args)))
            return
        callback(*args)
        self._finish()

    def receive(self, sender: str, data: bytes) -> None:
        if self.raft is not None:
            self.run(self._life, self.raft.receive, sender, decode(data))

    def _finish(self) -> None:
        while self._at_end:
            self._at_end.pop(0)()
        self.group.check(self)

    # Surroundings

    def now(self) -> float:
        return self.clock.time

    def call_later(self, seconds: float, callback: Callable[..., object], *args: object) -> _Timer:
        return self.clock.call_later(seconds, self.run, self._life, callback, *args)

    def at_end(self, callback: Callable[[], object]) -> None:
        self._at_end.append(callback)

    def reaches(self, peer: str) -> bool:
        return self.group.reaches(self.name, peer)

    def send(self, peer: str, message: Message) -> bool:
        return self.reaches(peer) and self.group.send(self.name, peer, encode(message))

    def write(self, done: Callable[[], object]) -> None:
        if not self.disk_seconds and self._disk_free_at <= self.now():
            done()
            return
        self._disk_free_at = max(self._disk_free_at, self.now()) + self.disk_seconds
        self.call_later(self._disk_free_at - self.now(), done)

    def apply(self, index: int, data: bytes) -> None:
        self.applied += [""] * (index - 1 - len(self.applied))
        self.applied.append(data.decode())

    def snapshot(self) -> bytes:
        self.applied += [""] * (self.files.applied - len(self.applied))
        return json.dumps(self.applied).encode()

    def restore(self, data: bytes) -> None:
        self.applied = json.loads(data)

    def leader_changed(self) -> None:
        self.group.leader_changed(self)


class Group:
    """The members, and the links between them."""

    def __init__(self, seed: int, size: int = 3, *, syncs: bool = True) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.names = tuple(f"n{number}" for number in range(1, size + 1))
        self.members = {name: self._member(name, syncs=syncs) for name in self.names}
        self.cut: set[tuple[str, str]] = set()
        self.leaders: dict[int, str] = {}
        self.decided: dict[int, str] = {}
        self.decided_in: dict[int, int] = {}
        self._arrives_at: dict[tuple[str, str], float] = {}

    def _member(self, name: str, *, syncs: bool) -> Machine:
        return Machine(self, name, self.clock, syncs=syncs)

    def start(self) -> None:
        for name in self.names:
            self.members[name].start(preferred=name == self.names[0])

    def run(self, seconds: float) -> None:
        self.clock.run_until(self.clock.time + seconds)

    @property
    def leader(self) -> Machine | None:
        """The one of the highest term, if there is one that has begun."""
        leading = [one for one in self.members.values() if one.raft is not None and one.raft.ready]
        return max(leading, key=lambda one: one.files.term, default=None)

    def reaches(self, sender: str, peer: str) -> bool:
        return (sender, peer) not in self.cut and self.members[peer].raft is not None

    def send(self, sender: str, peer: str, data: bytes) -> bool:
        pair = (sender, peer)
        at = max(self._arrives_at.get(pair, 0.0), self.clock.time + self.random.uniform(0.0005, 0.005))
        self._arrives_at[pair] = at
        self.clock.call_later(at - self.clock.time, self._arrive, pair, data)
        return True

    def _arrive(self, pair: tuple[str, str], data: bytes) -> None:
        if pair not in self.cut:
            self.members[pair[1]].receive(pair[0], data)

    def split(self, *side: str) -> None:
        """Cut some off from the others."""
        self.cut |= {(a, b) for a in self.names for b in self.names if (a in side) is not (b in side)}

    def heal(self) -> None:
        self.cut.clear()

    # The laws

    def leader_changed(self, machine: Machine) -> None:
        if machine.raft is not None and machine.raft.role is Role.LEADER:
            known = self.leaders.setdefault(machine.files.term, machine.name)
            assert known == machine.name, f"{known} and {machine.name} lead in term {machine.files.term}"
            self._check_complete(machine)

    def _check_complete(self, machine: Machine) -> None:
        """A leader has what was decided in the terms before its own."""
        log = machine.files.log
        for index in range(log.base_index + 1, len(self.decided) + 1):
            if self.decided_in[index] < machine.files.term:
                has = log.data_at(index).decode() if index <= log.last_index else None
                assert has == self.decided[index], f"{machine.name} leads without what was decided at {index}"

    def check(self, machine: Machine) -> None:
        for index in range(len(self.decided) + 1, machine.files.applied + 1):
            self.decided[index] = machine.applied[index - 1] if index <= len(machine.applied) else ""
            self.decided_in[index] = machine.files.term
        at = machine.files.applied
        if 0 < at <= len(machine.applied):
            assert machine.applied[at - 1] == self.decided[at], f"{machine.name} has another entry at {at}"

    def check_all(self) -> None:
        """Everybody's applied entries are the decided ones, and logs agree up to the last common term."""
        for machine in self.members.values():
            expected = [self.decided[index] for index in range(1, machine.files.applied + 1)]
            own = machine.applied + [""] * (len(expected) - len(machine.applied))
            assert own[: len(expected)] == expected, f"{machine.name} has applied something else"
        logs = [machine.files.log for machine in self.members.values()]
        for one in logs:
            for other in logs:
                start = max(one.base_index, other.base_index)
                same = [
                    i
                    for i in range(start, min(one.last_index, other.last_index) + 1)
                    if one.term_at(i) == other.term_at(i)
                ]
                for index in range(start + 1, max(same, default=0) + 1):
                    assert one.data_at(index) == other.data_at(index), f"two entries of one history at {index}"
