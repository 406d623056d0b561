"""A group in which each step is drawn: whose clock goes on, which message comes, which disk is done, who loses power.

What a majority has decided must stay whatever clocks, links and disks do. So each member has a clock of its own, a
message waits on its link until its step comes, and a write on its disk; a link that breaks loses all that is on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from ._raft_rig import Clock, Group, Machine

_ROUND_SECONDS: Final = 0.1
_WEATHER_CHANGES: Final = 0.02
_FAR: Final = 1e-6
# In one round.
_MESSAGES_MAX: Final = 10_000
# What a run may do, and how often at most for one message that comes.
_STEPS: Final = {
    "deliver": 1.0,
    "repeat": 0.1,
    "write": 0.5,
    "tick": 0.3,
    "stand": 0.1,
    "propose": 0.3,
    "crash": 0.08,
    "kill": 0.04,
    "start": 0.4,
    "break": 0.1,
    "step_down": 0.02,
}


class StepMachine(Machine):
    """A member whose disk is done with a write when it is told."""

    def __init__(self, group: Group, name: str, clock: Clock, *, syncs: bool) -> None:
        super().__init__(group, name, clock, syncs=syncs)
        self._writes: list[tuple[int, Callable[[], object]]] = []

    def write(self, done: Callable[[], object]) -> None:
        self._writes.append((self._life, done))

    def written(self) -> None:
        """The oldest write is done."""
        if self._writes:
            life, done = self._writes.pop(0)
            self.run(life, done)


class Steps(Group):
    """A group that goes from step to step; each seed has another liking for each of them."""

    def __init__(self, seed: int, size: int) -> None:
        self.links: dict[tuple[str, str], list[bytes]] = {}
        super().__init__(seed, size)
        self._draw = Random(f"steps {seed}")
        self._proposed = 0
        self._weather()

    def _member(self, name: str, *, syncs: bool) -> Machine:
        return StepMachine(self, name, Clock(), syncs=syncs)

    def send(self, sender: str, peer: str, data: bytes) -> bool:
        self.links.setdefault((sender, peer), []).append(data)
        return True

    def _weather(self) -> None:
        """For a while some steps are likelier than others, some links slower, and one member far from the others."""
        self._weights = [most * self._draw.random() ** 2 for most in _STEPS.values()]
        self._weights[0] = _STEPS["deliver"]
        far = self._draw.choice((None, *self.names))
        self._speeds = {
            (a, b): _FAR if (a == far) is not (b == far) else self._draw.random() ** 4
            for a in self.names
            for b in self.names
        }

    def step(self) -> None:
        """Do what is drawn; nothing, if that cannot be done to who is drawn."""
        if self._draw.random() < _WEATHER_CHANGES:
            self._weather()
        (what,) = self._draw.choices(tuple(_STEPS), self._weights)
        machine = self.members[self._draw.choice(self._who(what))]
        match what:
            case "deliver" | "repeat" if self.links:
                (pair,) = self._draw.choices(list(self.links), [self._speeds[pair] for pair in self.links])
                self._deliver(pair, again=what == "repeat")
            case "write":
                self._written(machine)
            case "tick":
                self.pass_time(machine, self._draw.uniform(0.0, 2.0))
            case "stand":
                self.pass_time(machine, 9.0)
            case "propose":
                for _ in range(self._draw.randint(1, 4)):
                    self._proposed += 1
                    machine.propose(f"p{self._proposed}")
            case "crash":
                machine.crash()
            case "kill":
                machine.kill()
            case "start":
                machine.start()
            case "break":
                self._break(machine.name, self._draw.choice(self.names))
            case "step_down" if machine.raft is not None:
                machine.raft.step_down()
            case _:
                pass
        if self.decided:
            self._check_kept(len(self.decided))

    def _check_kept(self, index: int) -> None:
        """The disks of a majority have what was decided."""
        kept = sum(self._keeps(machine, index) for machine in self.members.values())
        assert kept > len(self.names) // 2, f"what was decided at {index} is on {kept} of {len(self.names)} disks"

    def _keeps(self, machine: Machine, index: int) -> bool:
        files = machine.files
        if index <= files.applied:
            return True
        return index <= files.log_synced and files.log.data_at(index).decode() == self.decided[index]

    def _who(self, what: str) -> Sequence[str]:
        """Who may be drawn: only who leads can take a proposal or step down, if anybody leads."""
        if what not in ("propose", "step_down"):
            return self.names
        leading = [name for name, one in self.members.items() if one.raft is not None and one.raft.leads]
        return leading or self.names

    def pass_time(self, machine: Machine, seconds: float) -> None:
        """The clock of a member goes on."""
        machine.clock.run_until(machine.clock.time + seconds)

    def settle(self, seconds: float) -> None:
        """All run, and all goes its way: messages come, disks write, all clocks go alike."""
        for machine in self.members.values():
            machine.start()
        for _ in range(round(seconds / _ROUND_SECONDS)):
            for machine in self.members.values():
                self.pass_time(machine, _ROUND_SECONDS)
            for count in itertools.count():
                if not self.links:
                    break
                assert count < _MESSAGES_MAX, "messages without end"
                self._deliver(next(iter(self.links)))
                for machine in self.members.values():
                    self._written(machine)

    def _written(self, machine: Machine) -> None:
        assert isinstance(machine, StepMachine)
        machine.written()

    def _deliver(self, pair: tuple[str, str], *, again: bool = False) -> None:
        waiting = self.links[pair]
        data = waiting.pop(0)
        if again:
            waiting.append(data)
        if not waiting:
            del self.links[pair]
        self.members[pair[1]].receive(pair[0], data)

    def _break(self, one: str, other: str) -> None:
        self.links.pop((one, other), None)
        self.links.pop((other, one), None)
