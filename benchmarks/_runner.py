"""Runs the rows: round by round, every contender in a fresh process, each measurement checked before it
counts.

Within a row, round 1 measures every contender, then round 2, and so on, each round beginning with the next
contender, so that what else the machine does falls on all of them. The runner pins itself to the first core
it may use; server, feeder and responder inherit that; contenders pin themselves to the second. A machine with
one core runs unpinned.

Must not judge: counts that do not agree make a measurement an error, everything else is `_summary`'s.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from ._failover import Pair, open_pair, run_failovers
from ._outage import run_outages
from ._process import PROJECT, Child, ChildError
from ._protocol import FeedPlan, Params
from ._rows import CEILING, MODULES, OURS, PEERS, ROUTER_PEERS, Entrant, Row
from ._server import BenchServer, ServerError
from ._stream import BenchStream, StreamError
from ._summary import Measurement

FEEDER = "benchmarks._feeder"
RESPONDER = "benchmarks._responder"
CONSUMING = ("consume", "route", "instances")
"""Workloads that take from the stream what is in it."""
START_SECONDS = 15.0
"""Allowed for a child to start and import; beyond the workload's own deadline."""


@attrs.frozen
class Pins:
    """The cores in use; None leaves a process free."""

    server: int | None
    contender: int | None


def pin_runner() -> Pins:
    """Pin this process, and with it all that it starts, to the first core; contenders take the second."""
    if not hasattr(os, "sched_setaffinity"):
        return Pins(None, None)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return Pins(None, None)
    os.sched_setaffinity(0, {cores[0]})
    return Pins(cores[0], cores[1])


def probe(contenders: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Start each contender once; return the versions of those that can be imported, and why the others
    cannot.
    """
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name in contenders:
        with Child(MODULES[name], "--check") as child:
            try:
                versions[name] = child.expect(START_SECONDS)["version"]
            except ChildError as error:
                missing[name] = str(error)
    return versions, missing


def restrict(row: Row, peers: Iterable[str], ceiling: bool) -> Row:
    """Return the row with the chosen peers only (ours always stays) and, if asked for, the bare socket."""
    chosen = {OURS, *peers}
    entrants = [entrant for entrant in row.entrants if entrant.contender in chosen]
    if ceiling and row.ceiling:
        entrants.append(Entrant(CEILING, "no client"))
    return attrs.evolve(row, entrants=tuple(entrants))


def check_received(report: Mapping[str, Any], sent: Mapping[str, Any]) -> str | None:
    """Return what is wrong when a contender's counts are not the feeder's, or None (a bare socket counts no
    bytes).
    """
    for ours, theirs in (("received", "sent"), ("received_bytes", "sent_bytes")):
        if ours in report and report[ours] != sent[theirs]:
            return f"{ours} {report[ours]} of {sent[theirs]}"
    return None


def check_complete(report: Mapping[str, Any], row: Row, deadline_seconds: float) -> str | None:
    """Return what is wrong when a contender reports without the row's figures (it ran into its deadline), or None."""
    absent = [metric.key for metric in row.metrics if metric.key not in report["metrics"]]
    if not absent:
        return None
    return f"no {' or '.join(absent)} after {deadline_seconds:g} s; received {report.get('received', 0)} messages"


def check_published(contender: str, published: int, taken: int) -> tuple[str | None, str | None]:
    """Return the error and the remark for what a contender published and what the server counted meanwhile.

    Fewer is a loss and an error. More means that messages were sent twice: an error of ours; of a peer only a
    remark, because it slows that peer alone (nats-core does it when its socket is full).
    """
    if taken == published:
        return None, None
    difference = f"published {published}, the server counted {taken}"
    if taken < published or contender == OURS:
        return difference, None
    return None, difference


def check_stored(published: int, stored: int) -> str | None:
    """Return what is wrong when a stream does not hold what a contender has published into it, or None."""
    return None if published == stored else f"published {published}, the stream holds {stored}"


def check_acknowledged(messages: int, acknowledged: int) -> str | None:
    """Return what is wrong when not every message of a stream was acknowledged, or None."""
    return None if messages == acknowledged else f"acknowledged {acknowledged} of {messages}"


class Runner:
    """Measures rows on one server."""

    def __init__(
        self,
        server: BenchServer,
        pins: Pins,
        *,
        quick: bool,
        progress: Callable[[str], None],
        directory: Path = PROJECT,
    ) -> None:
        self._server = server
        self._directory = directory
        self._pins = pins
        self._quick = quick
        self._progress = progress

    def run_row(self, row: Row, rounds: int, missing: Mapping[str, str]) -> list[Measurement]:
        """Measure every entrant that is not missing, in each round."""
        entrants = [entrant for entrant in row.entrants if entrant.contender not in missing]
        measurements: list[Measurement] = []
        for number in range(rounds):
            first = number % len(entrants) if entrants else 0
            for entrant in entrants[first:] + entrants[:first]:
                self._progress(f"{row.name}, round {number + 1} of {rounds}: {entrant.label}")
                measurements.append(self.measure(row, entrant, number))
        return measurements

    def measure(self, row: Row, entrant: Entrant, number: int) -> Measurement:
        """Measure one entrant once."""
        settings = row.params_for(entrant.contender, self._quick)
        params = Params(url=self._server.url, style=entrant.style, cpu=self._pins.contender, **settings)
        try:
            taken = self._server.messages_received() if row.workload == "publish" else 0
            report = self._supported(row, entrant, params)
            error, remark = check_complete(report, row, params.deadline_seconds), None
            if row.workload == "publish":
                taken = self._server.messages_received() - taken
                error, remark = check_published(entrant.contender, report["published"], taken)
        except (ChildError, ServerError, StreamError, OSError) as problem:
            return Measurement(entrant, number, error=str(problem))
        if error is not None:
            return Measurement(entrant, number, error=error)
        return Measurement(entrant, number, report["metrics"], report.get("cpu_us"), remark=remark)

    def _supported(self, row: Row, entrant: Entrant, params: Params) -> dict[str, Any]:
        """Run the contender with the process it needs beside it, and return its report."""
        if row.support == "feeder":
            with Child(FEEDER, FeedPlan(params.url, **row.feed).to_json()) as feeder:
                feeder.expect(START_SECONDS, "ready")
                report = self._contend(row, entrant, params)
                if problem := check_received(report, feeder.stop()):
                    raise ChildError(problem)
                return report
        if row.support == "responder":
            with Child(RESPONDER, params.url) as responder:
                responder.expect(START_SECONDS, "ready")
                return self._contend(row, entrant, params)
        if row.support == "stream":
            return self._with_stream(row, entrant, params)
        if row.support == "failovers":
            with open_pair(self._server.binary) as pair:
                return self._fail_over(entrant, dataclasses.replace(params, url=pair.url), pair)
        return self._contend(row, entrant, params)

    def _with_stream(self, row: Row, entrant: Entrant, params: Params) -> dict[str, Any]:
        """Run the contender on a stream of its own, and compare what it says with what the server has counted."""
        consumed = row.workload in CONSUMING
        with BenchStream(params.url, params.messages if consumed else 0, params.payload_bytes) as stream:
            report = self._contend(row, entrant, params)
            if consumed and (problem := check_acknowledged(params.messages, stream.acknowledged())):
                raise ChildError(problem)
            if not consumed and (problem := check_stored(report["published"], stream.stored())):
                raise ChildError(problem)
            return report

    def _fail_over(self, entrant: Entrant, params: Params, pair: Pair) -> dict[str, Any]:
        program = (MODULES[entrant.contender], "reconnect", params.to_json())
        with Child(*program, directory=self._directory) as contender:
            latencies = run_failovers(contender, pair, params.outages, params.deadline_seconds)
            return {**contender.expect(params.deadline_seconds), "metrics": {"latency_ms": latencies}}

    def _contend(self, row: Row, entrant: Entrant, params: Params) -> dict[str, Any]:
        program = (MODULES[entrant.contender], row.workload, params.to_json())
        with Child(*program, directory=self._directory) as contender:
            if row.support != "outages":
                return contender.expect(params.deadline_seconds + START_SECONDS)
            try:
                latencies = run_outages(
                    contender, self._server, params.outages, row.outage_seconds, params.deadline_seconds
                )
            finally:
                self._server.ensure_listening()
            return {**contender.expect(params.deadline_seconds), "metrics": {"latency_ms": latencies}}


def select_peers(text: str | None) -> tuple[str, ...]:
    """Return the peers of a `--peers a,b` argument, all of them by default.

    Raises:
        ValueError: a name is not a peer.
    """
    if text is None:
        return (*PEERS, *ROUTER_PEERS)
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = (*PEERS, *ROUTER_PEERS)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown peer {', '.join(unknown)}; the peers are {', '.join(known)}")
    return tuple(peer for peer in known if peer in names)
