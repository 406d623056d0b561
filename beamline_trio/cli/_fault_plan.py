"""`beamline run --faults plan.toml`: faults that meet the operations of a router's client, each for its time.

    [[faults]]
    operation = "publish_with_ack"      # connect, publish, publish_with_ack, ack, nak, subscribe
    fault = "error"                     # error, timeout, delay, close_connection
    at_seconds = 10                     # from the start of the program
    for_seconds = 30
    reason = "no responders"            # of an error
    seconds = 2                         # of a timeout or a delay
    subjects = ["orders.>"]
    probability = 0.3                   # of each operation, with a seed: the run can be repeated
    seed = 7

The fault dialer does them, before any server; nothing here knows NATS. Refused unless it is accepted in so many words.

Must not be in force without a line that says so.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import trio

from ..client import dialer_of
from ..connection import ClientOptions
from ..faults import (
    FaultDialer,
    InjectionError,
    OperationFault,
    close_connection,
    delay,
    error,
    intermittent,
    timeout,
)
from ..transport import TCPDialer
from ._failures import CommandError

_KINDS: Final = ("error", "timeout", "delay", "close_connection")
_KEYS: Final = (
    "operation", "fault", "at_seconds", "for_seconds", "reason", "seconds", "subjects", "probability", "seed",
)  # fmt: skip
_FAULTS_MAX: Final = 1000


@attrs.frozen(kw_only=True)
class PlannedFault:
    """A fault for an operation, and when.

    Attributes:
        operation: as of `FaultDialer.inject`.
        fault: what happens.
        subjects: as of `FaultDialer.inject`.
        at_seconds: when it begins, from the start of the program.
        for_seconds: how long it is in force.
    """

    operation: str
    fault: OperationFault
    subjects: tuple[str, ...] | None
    at_seconds: float
    for_seconds: float

    def __str__(self) -> str:
        subjects = f" on {', '.join(self.subjects)}" if self.subjects is not None else ""
        return f"{self.operation}{subjects}: {self.fault}"


@attrs.frozen
class FaultPlan:
    """The faults of a run.

    Attributes:
        faults: in no order.
    """

    faults: tuple[PlannedFault, ...]

    async def run(
        self, options: ClientOptions, say: Callable[[str], None], task_status: trio.TaskStatus[FaultDialer]
    ) -> None:
        """Inject each fault for its time; started with the dialer that they meet. Cancelled, all are undone.

        Args:
            options: of the client; `wrapped` are those that go with the dialer.
            say: takes the lines for the terminal.
            task_status: gives the dialer.
        """
        dialer = FaultDialer(dialer_of(options))
        say(f"WARNING: {len(self.faults)} faults are injected into this router's client (--faults)")
        async with trio.open_nursery() as nursery:
            for fault in self.faults:
                nursery.start_soon(self._inject, dialer, fault, say)
            task_status.started(dialer)

    async def _inject(self, dialer: FaultDialer, planned: PlannedFault, say: Callable[[str], None]) -> None:
        await trio.sleep(planned.at_seconds)
        with dialer.inject(planned.operation, planned.fault, subjects=planned.subjects) as injection:
            say(f"fault in force for {planned.for_seconds:g} s: {planned}")
            await trio.sleep(planned.for_seconds)
        say(f"fault over, {injection.hits} hits: {planned}")


def wrapped(options: ClientOptions) -> ClientOptions:
    """The options of a client whose dialer is given: certificates and headers are the dialer's."""
    own_tls = options.tls is not None and not isinstance(options.tls, bool)
    return attrs.evolve(options, tls=True if own_tls else options.tls, websocket_headers=None)


def load_fault_plan(path: Path | None, *, accepted: bool) -> FaultPlan | None:
    """The plan of a file; None without one.

    Raises:
        CommandError: it was not accepted, cannot be read, or has a fault that cannot be injected.
    """
    if path is None:
        if accepted:
            raise CommandError("--accept-faults is given and no plan; give --faults FILE too, or leave it out")
        return None
    if not accepted:
        raise CommandError(
            f"--faults {path} lets operations of this router fail on purpose; add --accept-faults if this is a "
            "staging system"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise CommandError(f"cannot read the plan {path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise CommandError(f"the plan {path} is no TOML: {problem}") from None
    entries = table.get("faults")
    if set(table) != {"faults"} or not isinstance(entries, list) or not 0 < len(entries) <= _FAULTS_MAX:
        raise CommandError(f"the plan {path} must have [[faults]], 1 to {_FAULTS_MAX} of them, and nothing else")
    return FaultPlan(tuple(_read(entry, f"{path}: faults[{index}]") for index, entry in enumerate(entries)))


def _read(entry: Any, where: str) -> PlannedFault:
    if not isinstance(entry, dict):
        raise CommandError(f"{where} is {entry!r}; it must be a table")
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        raise CommandError(f"{where} has no key {unknown[0]!r}; there are {', '.join(_KEYS)}")
    subjects = entry.get("subjects")
    several = [subjects] if isinstance(subjects, str) else subjects
    try:
        planned = PlannedFault(
            operation=str(entry.get("operation", "")),
            fault=_fault(entry, where),
            subjects=None if several is None else tuple(map(str, several)),
            at_seconds=_seconds(entry.get("at_seconds", 0), where, "at_seconds"),
            for_seconds=_seconds(entry.get("for_seconds"), where, "for_seconds"),
        )
        FaultDialer(TCPDialer()).inject(planned.operation, planned.fault, subjects=planned.subjects)
    except (InjectionError, TypeError) as problem:
        raise CommandError(f"{where}: {problem}") from None
    return planned


def _fault(entry: dict[str, Any], where: str) -> OperationFault:
    kind = entry.get("fault")
    fault: OperationFault
    if kind == "error":
        fault = error(entry.get("reason"))
    elif kind == "timeout":
        fault = timeout(entry.get("seconds", math.inf))
    elif kind == "delay":
        fault = delay(entry.get("seconds", 0))
    elif kind == "close_connection":
        fault = close_connection()
    else:
        raise CommandError(f"{where}.fault is {kind!r}; it must be one of {', '.join(_KINDS)}")
    if "probability" not in entry:
        return fault
    seed = entry.get("seed", 0)
    if not isinstance(seed, int):
        raise CommandError(f"{where}.seed is {seed!r}; it must be a whole number")
    return intermittent(fault, entry["probability"], Random(seed))


def _seconds(value: Any, where: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise CommandError(f"{where}.{name} is {value!r}; it must be a number of seconds, 0 or more")
    return value
