"""The suites, how many cases each has, and which of them have another half on the router.

    standard (every push):   connection failure 22 + fault injection 15 + integration 10 = 47
    extended (nightly):      the same and performance 7 = 54
    beside the totals:       fault injection extended 13, publish failure 16, router workflows 8; all together 91

A case is one test function, or one parametrised id of it; it runs as [simulated] and as [real].

Must not import pytest: reports and tests read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import attrs

Part: TypeAlias = Literal["standard", "extended", "beside"]


@attrs.frozen
class Suite:
    """One suite: the name of its file without `.py`, its cases, and the total that it belongs to."""

    name: str
    cases: int
    part: Part


SUITES: Final = (
    Suite("test_nats_connection_failure", 22, "standard"),
    Suite("test_jetstream_fault_injection", 15, "standard"),
    Suite("test_nats_integration", 10, "standard"),
    Suite("test_nats_performance", 7, "extended"),
    Suite("test_jetstream_fault_injection_extended", 13, "beside"),
    Suite("test_publish_failure", 16, "beside"),
    Suite("test_router_workflows", 8, "beside"),
)
STANDARD_CASES: Final = 47
EXTENDED_CASES: Final = 54
ALL_CASES: Final = 91

# Tests that stand beside the cells of a suite and are counted nowhere.
UNCOUNTED: Final = ("test_publish_failure_books",)

# Cases that hold their law on a service or on the worker of the suites, and those that are their other halves: what the
# router adds under the same faults.
ON_THE_ROUTER: Final = {
    "test_nats_connection_failure::test_workflow_incoming_requests": (
        "test_requests_are_refused_under_pressure",
        "test_requests_are_held_up_to_the_limit",
        "test_decide_intake_is_held",
    ),
    "test_nats_connection_failure::test_workflow_decide_consumer": (
        "test_decide_dead_letter",
        "test_decide_dead_letter_waits_for_its_stream",
    ),
    "test_nats_connection_failure::test_workflow_result_consumer": ("test_result_dead_letter",),
    "test_nats_integration::test_long_failure_and_recovery[decide]": (
        "test_decide_long_failure_behind_a_breaker[server]",
        "test_decide_long_failure_behind_a_breaker[stream]",
    ),
}


def cases_of(part: Iterable[Part]) -> int:
    """How many cases the suites of some parts have."""
    return sum(suite.cases for suite in SUITES if suite.part in part)


@attrs.frozen
class CaseName:
    """A collected test, taken apart: `.../test_x.py::test_y[a-real]` is the case `test_y[a]` on the real side."""

    suite: str
    case: str
    side: Literal["simulated", "real"]

    @classmethod
    def parse(cls, nodeid: str) -> CaseName | None:
        """None where it is no case of a suite."""
        file, _, name = nodeid.partition("::")
        suite = file.rpartition("/")[2].removesuffix(".py")
        bare, bracket, inside = name.removesuffix("]").partition("[")
        rest, _, side = inside.rpartition("-")
        if suite not in {known.name for known in SUITES} or side not in ("simulated", "real") or not bracket:
            return None
        return cls(suite, f"{bare}[{rest}]" if rest else bare, "real" if side == "real" else "simulated")
