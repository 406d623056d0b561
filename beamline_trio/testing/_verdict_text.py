"""A verdict as people read it: the seed, what was broken, the faults, the end of the trace, how to see it again.

Must not know pytest or the command line: they say what the command is.
"""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..simulation import Plan, Trace, Verdict

TAIL_LINES: Final = 20
# All that a trace has: `simulation.Trace` keeps so many.
_KEPT_LINES: Final = 400
_TRACEBACK_LINES: Final = 30


def tell_verdict(verdict: Verdict, replay: str) -> str:
    """A failure, from its reason to the command that shows it again."""
    lines = [f"seed {verdict.seed}: {_what_failed(verdict)}"]
    lines += [f"  {violation.law} at {violation.at:.6f} s: {violation.text}" for violation in verdict.broken[1:]]
    if verdict.error is not None:
        text = "".join(traceback.format_exception(verdict.error)).splitlines()
        lines += [f"  {line}" for line in text[-_TRACEBACK_LINES:]]
    broken_at = verdict.broken[0].at if verdict.broken else None
    return "\n".join([*lines, tell_run(verdict.plan, verdict.trace, replay, broken_at)])


def tell_run(plan: Plan | None, trace: Trace, replay: str, until: float | None = None) -> str:
    """A run without its verdict: the faults, the end of the trace, the command.

    Args:
        plan: the faults there were.
        trace: the end of it is shown.
        replay: the command.
        until: show what came before this time, as long as the trace still has it.
    """
    lines = ["plan:", *(f"  {line}" for line in str(plan).splitlines())] if plan is not None else ["no fault plan"]
    tail = [] if until is None else [line for line in trace.tail(_KEPT_LINES) if _at(line) <= until][-TAIL_LINES:]
    if tail:
        lines.append(f"trace, {len(tail)} of {trace.count} lines, up to {until:.6f} s:")
    else:
        tail = trace.tail(TAIL_LINES)
        lines.append(f"trace, the last {len(tail)} of {trace.count} lines:")
    lines += [f"  {line}" for line in tail]
    return "\n".join([*lines, f"replay: {replay}"])


def _at(line: str) -> float:
    at: int = json.loads(line)["at"]
    return at / 1_000_000


def _what_failed(verdict: Verdict) -> str:
    if verdict.broken:
        first = verdict.broken[0]
        return f"the law {first.law} is broken at {first.at:.6f} s: {first.text}"
    return verdict.reason
