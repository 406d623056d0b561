"""The account as text and as one JSON object.

Must not judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from ._account import Account, Kind
from ._books import Hop


@attrs.frozen(kw_only=True)
class Result:
    """How a run ended.

    Attributes:
        reconnects: client -> links restored after a loss.
        seconds: from the first message to the end of the drain.
        publishing_seconds: how long it published.
        kills: how often the server was killed.
        problems: what went wrong besides the account.
    """

    account: Account
    reconnects: Mapping[str, int]
    seconds: float
    publishing_seconds: float
    kills: int
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is lost, everything adds up, and nothing else went wrong."""
        return self.account.passed and not self.problems


def as_json(result: Result) -> str:
    """One line."""
    account = result.account
    fields: dict[str, Any] = {
        "published": account.published,
        "delivered": account.delivered,
        "replied": account.replied,
        "failed": account.failed,
        "unknown": account.unknown,
        "lost": account.lost,
        "reconnects": sum(result.reconnects.values()),
        "seconds": round(result.seconds, 3),
        "publishing_seconds": round(result.publishing_seconds, 3),
        "adds_up": account.adds_up,
        "unaccounted": account.unaccounted,
        "unknown_bound": sum(account.unknown_bounds.values()),
        "hops": {
            str(hop): {
                **{str(fate): count for fate, count in account.fates[hop].items()},
                "unknown_bound": account.unknown_bounds[hop],
            }
            for hop in Hop
        },
        "reasons": [
            {"kind": str(verdict.kind), "hop": verdict.hop, "reason": verdict.reason, "messages": count}
            for verdict, count in account.reasons.items()
        ],
        "reconnects_by_client": dict(result.reconnects),
        "kills": result.kills,
        "problems": [*account.problems, *result.problems],
    }
    return json.dumps(fields)


def as_text(result: Result) -> str:
    """Some lines."""
    account = result.account
    sign = "=" if account.published == account.delivered + account.failed + account.unknown + account.lost else "!="
    clients = ", ".join(f"{name} {count}" for name, count in result.reconnects.items())
    bounds = " + ".join(f"{account.unknown_bounds[hop]} {hop}" for hop in Hop)
    lines = [
        "",
        f"published {account.published} {sign} delivered {account.delivered} + failed {account.failed}"
        f" + unknown {account.unknown} + lost {account.lost}",
        f"  replied     {account.replied} (they are among the delivered)",
        *_reason_lines(account),
        f"  unknown is at most {sum(account.unknown_bounds.values())}: {bounds}",
        f"  reconnects  {sum(result.reconnects.values())} ({clients}) after {result.kills} kill(s)",
        f"  seconds     {result.seconds:.1f} ({result.publishing_seconds:.1f} publishing)",
    ]
    lines += [f"PROBLEM: {problem}" for problem in (*account.problems, *result.problems)]
    lines.append("the account adds up, nothing is lost" if result.passed else _failure(result))
    return "\n".join(lines)


def _reason_lines(account: Account) -> list[str]:
    return [
        f"  {verdict.kind:<11} {count} {verdict.hop or ''}: {verdict.reason}"
        for kind in Kind
        for verdict, count in account.reasons.items()
        if verdict.kind is kind
    ]


def _failure(result: Result) -> str:
    account = result.account
    if account.lost:
        return f"FAILED: {account.lost} confirmed message(s) lost"
    return "FAILED: the account does not add up" if not account.adds_up else "FAILED: see above"
