"""The rows of the table as data: workload, contenders and their style, sizes, goals, and who is left out and
why.

A row names a workload of the contender programs and its parameters; a goal names a metric, our style, and the
peer (or an absolute limit) it is judged against. The goals are those of the first release; raise them here
when they are met. To add a row, append to ROWS; a new workload also needs a function in each module of
`contenders`.

Must not measure, print or start anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ._protocol import CREDIT_EVERY, IN_FLIGHT_MAX, PULL_MESSAGES

OURS = "beamline_trio"
NATS_PY, NATS_CORE, NATSIO, NATSRPY = "nats-py", "nats-core", "natsio", "natsrpy"
PEERS = (NATS_PY, NATS_CORE, NATSIO, NATSRPY)
FASTSTREAM = "faststream"
ROUTER_PEERS = (FASTSTREAM,)
"""Peers of the router alone: they have handlers, and a client of somebody else's below."""
PYTHON_PEERS = (NATS_PY, NATS_CORE, NATSIO)
"""Peers whose protocol code is Python; natsrpy's is Rust."""
BEST_PYTHON = "the best Python peer"
CEILING = "raw-socket"
MODULES = {
    OURS: "benchmarks.contenders.ours",
    NATS_PY: "benchmarks.contenders.peer_nats_py",
    NATS_CORE: "benchmarks.contenders.peer_nats_core",
    NATSIO: "benchmarks.contenders.peer_natsio",
    NATSRPY: "benchmarks.contenders.peer_natsrpy",
    FASTSTREAM: "benchmarks.contenders.peer_faststream",
    CEILING: "benchmarks.contenders.raw_socket",
}


@attrs.frozen
class Entrant:
    """A contender in one of its styles."""

    contender: str
    style: str

    @property
    def label(self) -> str:
        return f"{self.contender} ({self.style})"


@attrs.frozen
class Metric:
    """A figure of a workload's result."""

    key: str
    label: str
    higher_is_better: bool
    digits: int = 1


@attrs.frozen
class Goal:
    """A limit on our figure: a ratio to a peer's (`against`), or absolute (`against` is None).

    The metric decides whether the limit is a least or a most. Against ourselves it is one of our other styles
    (`against_style`), and the limit a ratio to it, or what may be added to it (`added`).
    """

    metric: Metric
    style: str
    limit: float
    against: str | None
    against_style: str | None = None
    added: bool = False

    def text(self) -> str:
        sign = ">=" if self.metric.higher_is_better else "<="
        if self.against is None:
            return f"{sign} {self.limit:g} {self.metric.label}"
        peer = self.against_style or self.against
        return f"{sign} {peer} + {self.limit:g}" if self.added else f"{sign} {self.limit:g}x {peer}"


@attrs.frozen
class Row:
    """One workload, measured for all its entrants."""

    name: str
    title: str
    workload: str
    metrics: tuple[Metric, ...]
    """The first is the one for which processor time is printed."""
    entrants: tuple[Entrant, ...]
    params: Mapping[str, Any]
    quick: Mapping[str, Any] = attrs.field(factory=dict)
    """Parameters that `--quick` replaces."""
    slower: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """Parameters of single contenders that would take too long with everyone's; rates stay comparable."""
    goals: tuple[Goal, ...] = ()
    left_out: Mapping[str, str] = attrs.field(factory=dict)
    """Peers that have no place in this row, and the reason, which is printed."""
    support: str = ""
    """What runs beside the contender: "feeder", "responder", "outages", "failovers", "stream" or nothing."""
    feed: Mapping[str, Any] = attrs.field(factory=dict)
    outage_seconds: float = 0.0
    rounds_max: int = 100
    ceiling: bool = False
    """Whether `--ceiling` has a counterpart for it."""
    scaling: bool = False
    """Whether its entrants are more and more instances, whose number their styles begin with: its knee is printed."""

    def params_for(self, contender: str, quick: bool) -> dict[str, Any]:
        """Return the workload's parameters for one contender."""
        merged = {**self.params, **self.slower.get(contender, {})}
        return {**merged, **self._quickened(merged)} if quick else merged

    def _quickened(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A contender that is given less than the others is not given more by `--quick`."""
        return {key: min(value, params.get(key, value)) for key, value in self.quick.items()}


RATE = Metric("rate_k", "k msg/s", higher_is_better=True)
PER_SECOND = Metric("rate", "msg/s", higher_is_better=True, digits=0)
CPU = Metric("cpu_us", "us of processor time", higher_is_better=False, digits=2)
P50 = Metric("p50_us", "us p50", higher_is_better=False)
P99 = Metric("p99_us", "us p99", higher_is_better=False)
FIRST = Metric("latency_ms", "ms", higher_is_better=False)
SUBSCRIPTIONS_MB = Metric("subscriptions_mb", "MB", higher_is_better=False)
GROWTH_MB = Metric("growth_mb", "MB", higher_is_better=False, digits=2)


def _peers(*styles: str) -> tuple[Entrant, ...]:
    """Return an entrant per peer, in the order of PEERS; an empty style leaves the peer out."""
    return tuple(Entrant(peer, style) for peer, style in zip(PEERS, styles, strict=True) if style)


def _ours(*styles: str) -> tuple[Entrant, ...]:
    return tuple(Entrant(OURS, style) for style in styles)


PUBLISHERS = _ours("publish", "publish_nowait") + _peers("publish", "publish", "publish", "100 in flight")
SUBSCRIBERS = _ours("async for", "receive_batch", "callback") + _peers("callback", "async for", "async for", "callback")
SAME_RATE = "its rate is the same for every size (see the rows above); left out to keep the table short"


def _publish(name: str, payload_bytes: int, messages: int, factor: float, peer: str) -> Row:
    return Row(
        name=f"publish_{name}",
        title=f"publish {payload_bytes} B, then flush",
        workload="publish",
        metrics=(RATE,),
        entrants=PUBLISHERS,
        params={"payload_bytes": payload_bytes, "messages": messages, "warmup_messages": 2000},
        slower={NATSRPY: {"messages": min(messages, 30_000)}},
        quick={"messages": 20_000 if payload_bytes <= 1024 else 5000},
        goals=(Goal(RATE, "publish", factor, peer),),
        ceiling=True,
    )


def _subscribe(name: str, payload_bytes: int, factor: float) -> Row:
    return Row(
        name=f"subscribe_{name}",
        title=f"receive {payload_bytes} B on one subject",
        workload="subscribe",
        metrics=(RATE,),
        entrants=SUBSCRIBERS,
        params={
            "payload_bytes": payload_bytes,
            "messages": 300 * CREDIT_EVERY,
            "warmup_messages": 5 * CREDIT_EVERY,
        },
        slower={NATSRPY: {"messages": 50 * CREDIT_EVERY}},
        quick={"messages": 20 * CREDIT_EVERY},
        goals=(Goal(RATE, "async for", factor, BEST_PYTHON),),
        support="feeder",
        feed={"payload_bytes": payload_bytes},
        ceiling=True,
    )


SUBSCRIBE_MIXED = Row(
    name="subscribe_mixed",
    title="receive 60-199 B on 50 subjects below one wildcard",
    workload="subscribe",
    metrics=(RATE,),
    entrants=_ours("async for", "receive_batch", "callback") + _peers("callback", "async for", "async for", ""),
    params={
        "subject": "bench.mixed.>",
        "messages": 300 * CREDIT_EVERY,
        "warmup_messages": 5 * CREDIT_EVERY,
    },
    quick={"messages": 20 * CREDIT_EVERY},
    goals=(
        Goal(RATE, "async for", 2.0, BEST_PYTHON),
        Goal(RATE, "receive_batch", 2.5, BEST_PYTHON),
    ),
    left_out={NATSRPY: SAME_RATE},
    support="feeder",
    feed={"mixed": True},
    ceiling=True,
)

REQUEST = Row(
    name="request",
    title="request and reply, 128 B, one after the other",
    workload="request",
    metrics=(P50, P99),
    entrants=_ours("request") + _peers(*["request"] * 4),
    params={"payload_bytes": 128, "messages": 4000, "warmup_messages": 200},
    slower={NATS_CORE: {"messages": 600, "warmup_messages": 20}},
    quick={"messages": 300},
    goals=(Goal(P50, "request", 0.9, NATSRPY), Goal(P99, "request", 0.9, NATSRPY)),
    support="responder",
)

REQUEST_64 = Row(
    name="request_64",
    title="request and reply, 128 B, 64 at a time",
    workload="request",
    metrics=(RATE,),
    entrants=_ours("request") + _peers(*["request"] * 4),
    params={"payload_bytes": 128, "messages": 64 * 400, "warmup_messages": 64 * 5, "concurrency": 64},
    quick={"messages": 64 * 30},
    goals=(Goal(RATE, "request", 1.3, NATSIO),),
    support="responder",
)

NO_CONFIRMATION = "its flush() does not wait for the server's PONG, so nothing in it confirms a publish"
CONFIRM = Row(
    name="confirm",
    title="confirmed publish, 128 B, one after the other (peers: publish and flush)",
    workload="confirm",
    metrics=(P50, P99),
    entrants=_ours("confirm=True") + _peers("publish, flush", "publish, flush", "publish, flush", ""),
    params={"payload_bytes": 128, "messages": 3000, "warmup_messages": 100},
    quick={"messages": 300},
    left_out={NATSRPY: NO_CONFIRMATION},
)

CONFIRM_64 = Row(
    name="confirm_64",
    title="confirmed publish, 128 B, 64 at a time (nats-core: flush() returns at any PONG, not its own)",
    workload="confirm",
    metrics=(RATE,),
    entrants=_ours("confirm=True") + _peers("publish, flush", "publish, flush", "publish, flush", ""),
    params={"payload_bytes": 128, "messages": 64 * 400, "warmup_messages": 64 * 5, "concurrency": 64},
    quick={"messages": 64 * 30},
    left_out={NATSRPY: NO_CONFIRMATION},
)

NO_JETSTREAM = "it has no JetStream"
ACKED_PUBLISH = Row(
    name="acked_publish",
    title="JetStream publish and its PubAck, 128 B, one after the other",
    workload="acked",
    metrics=(P50, P99),
    entrants=_ours("publish") + _peers("publish", "", "publish", "publish"),
    params={"payload_bytes": 128, "messages": 4000, "warmup_messages": 200},
    quick={"messages": 300},
    goals=(Goal(P50, "publish", 0.85, NATSRPY),),
    left_out={NATS_CORE: NO_JETSTREAM},
    support="stream",
)

IN_FLIGHT = Row(
    name="publish_in_flight",
    title=f"JetStream publish, 128 B, {IN_FLIGHT_MAX} PubAcks awaited at a time",
    workload="in_flight",
    metrics=(RATE,),
    entrants=_ours("publisher") + _peers("publish_async", "", "publish_async", "gather"),
    params={"payload_bytes": 128, "messages": 40_000, "warmup_messages": 2000},
    quick={"messages": 4000},
    goals=(Goal(RATE, "publisher", 1.4, NATSIO),),
    left_out={NATS_CORE: NO_JETSTREAM},
    support="stream",
)

CONSUME = Row(
    name="consume",
    title=f"JetStream pull of {PULL_MESSAGES} at a time, 128 B, each acknowledged",
    workload="consume",
    metrics=(RATE,),
    entrants=_ours("messages()") + _peers("fetch", "", "consume", "fetch"),
    params={"payload_bytes": 128, "messages": 60_000},
    slower={NATSRPY: {"messages": 30_000}},
    quick={"messages": 5000},
    goals=(Goal(RATE, "messages()", 1.5, NATSIO),),
    left_out={NATS_CORE: NO_JETSTREAM},
    support="stream",
)

RECONNECT_FAST = Row(
    name="reconnect_fast",
    title="server listening again to first message, fastest setting",
    workload="reconnect",
    metrics=(FIRST,),
    entrants=_ours("1 ms delay") + _peers("no delay", "no delay", "1 ms delay", ""),
    params={"subject": "bench.first", "outages": 2, "fastest_reconnect": True, "deadline_seconds": 15.0},
    quick={"outages": 1},
    goals=(Goal(FIRST, "1 ms delay", 3.0, None),),
    left_out={NATSRPY: "it has no setting for the delay"},
    support="outages",
    outage_seconds=0.2,
)

RECONNECT_DEFAULT = Row(
    name="reconnect_default",
    title="server listening again to first message, outage of 1 s, defaults",
    workload="reconnect",
    metrics=(FIRST,),
    entrants=_ours("defaults") + _peers(*["defaults"] * 4),
    params={"subject": "bench.first", "outages": 1, "deadline_seconds": 20.0},
    # Jitter spreads our delays: four outages a round, 20 in the default 5 rounds.
    slower={OURS: {"outages": 4}},
    quick={"outages": 1},
    goals=(Goal(FIRST, "defaults", 500.0, None),),
    support="outages",
    outage_seconds=1.0,
)

FAILOVER = Row(
    name="failover",
    title="SIGKILL of the server it is on to the next message from the other of two, defaults",
    workload="reconnect",
    metrics=(FIRST,),
    entrants=_ours("defaults") + _peers(*["defaults"] * 4),
    # Four kills a round, 20 in the default 5 rounds.
    params={"subject": "bench.first", "outages": 4, "deadline_seconds": 30.0},
    quick={"outages": 1},
    goals=(Goal(FIRST, "defaults", 1.0, NATS_PY), Goal(FIRST, "defaults", 1.0, NATSIO)),
    support="failovers",
)

MEMORY_SUBSCRIPTIONS = Row(
    name="memory_subscriptions",
    title="resident memory of 10,000 subscriptions over idle",
    workload="subscriptions",
    metrics=(SUBSCRIPTIONS_MB,),
    entrants=_ours("10,000") + _peers(*["10,000"] * 4),
    params={"subscriptions": 10_000},
    goals=(Goal(SUBSCRIPTIONS_MB, "10,000", 20.0, None),),
    rounds_max=3,
)

MEMORY_STREAM = Row(
    name="memory_stream",
    title="growth of resident memory over a million messages of 128 B",
    workload="subscribe",
    metrics=(GROWTH_MB,),
    entrants=_ours("async for") + _peers("callback", "async for", "async for", ""),
    params={
        "payload_bytes": 128,
        "messages": 1000 * CREDIT_EVERY,
        "warmup_messages": 50 * CREDIT_EVERY,
        "deadline_seconds": 120.0,
    },
    quick={"messages": 60 * CREDIT_EVERY, "warmup_messages": 20 * CREDIT_EVERY},
    goals=(Goal(GROWTH_MB, "async for", 2.0, None),),
    left_out={NATSRPY: "a million messages take it half a minute; left out to keep the table short"},
    support="feeder",
    feed={"payload_bytes": 128},
    rounds_max=3,
)

NO_HANDLERS = "it has no router"
ROUTER_CORE = Row(
    name="router_core",
    title="a handler that counts, 128 B, one at a time",
    workload="handle",
    metrics=(CPU, RATE),
    entrants=(*_ours("router", "serve", "async for"), Entrant(FASTSTREAM, "subscriber")),
    params={"payload_bytes": 128, "messages": 100 * CREDIT_EVERY, "warmup_messages": 5 * CREDIT_EVERY},
    slower={FASTSTREAM: {"messages": 20 * CREDIT_EVERY, "warmup_messages": 2 * CREDIT_EVERY}},
    quick={"messages": 10 * CREDIT_EVERY},
    goals=(
        Goal(CPU, "router", 6.0, OURS, "async for", added=True),
        Goal(CPU, "router", 3.0, OURS, "serve"),
        Goal(RATE, "router", 3.0, FASTSTREAM),
    ),
    left_out=dict.fromkeys(PEERS, NO_HANDLERS),
    support="feeder",
    feed={"payload_bytes": 128},
)

ROUTER_STREAM = Row(
    name="router_stream",
    title="from a stream to another, 128 B, 64 at a time, PubAck before ack",
    workload="route",
    metrics=(CPU, RATE),
    entrants=_ours("router", "client"),
    params={"payload_bytes": 128, "messages": 64 * 300, "concurrency": 64},
    quick={"messages": 64 * 45},
    goals=(Goal(CPU, "router", 1.5, OURS, "client"),),
    left_out=dict.fromkeys(PEERS, NO_HANDLERS) | {FASTSTREAM: "its acks do not wait for PubAcks"},
    support="stream",
)


def _instances(name: str, title: str, goal: Goal, messages: int, **params: Any) -> Row:
    return Row(
        name=f"router_{name}",
        title=title,
        workload="instances",
        metrics=(PER_SECOND, CPU),
        entrants=_ours("1 instance", "2 instances", "4 instances", "8 instances"),
        params={"payload_bytes": 128, "messages": messages, "warmup_messages": messages // 10, **params},
        quick={"messages": messages // 5, "warmup_messages": messages // 50},
        goals=(goal,),
        left_out=dict.fromkeys((*PEERS, FASTSTREAM), "what is shown is how ours scales"),
        support="stream",
        rounds_max=3,
        scaling=True,
    )


ROUTER_INSTANCES = _instances(
    "instances",
    "processes on one durable, each handling 8 messages of 20 ms at a time",
    Goal(PER_SECOND, "4 instances", 3.6, OURS, "1 instance"),
    4000,
    wait_seconds=0.02,
    concurrency=8,
)

ROUTER_CORES = _instances(
    "cores",
    "the same, one message at a time, each 1 ms of the one processor that all have, and 5 ms of waiting",
    Goal(PER_SECOND, "2 instances", 1.8, OURS, "1 instance"),
    800,
    busy_seconds=0.001,
    wait_seconds=0.005,
)

ROUTER_OUTSTANDING = _instances(
    "outstanding",
    "the same as the first, on a durable with a max_ack_pending of 32",
    Goal(PER_SECOND, "4 instances", 3.6, OURS, "1 instance"),
    4000,
    wait_seconds=0.02,
    concurrency=8,
    outstanding_max=32,
)

ROWS: tuple[Row, ...] = (
    _publish("16", 16, 300_000, 1.4, NATS_CORE),
    _publish("128", 128, 300_000, 1.4, NATS_CORE),
    _publish("1k", 1024, 200_000, 1.2, NATS_CORE),
    _publish("16k", 16 * 1024, 20_000, 0.9, NATSIO),
    _subscribe("16", 16, 3.0),
    _subscribe("128", 128, 2.5),
    _subscribe("1k", 1024, 2.5),
    SUBSCRIBE_MIXED,
    REQUEST,
    REQUEST_64,
    CONFIRM,
    CONFIRM_64,
    ACKED_PUBLISH,
    IN_FLIGHT,
    CONSUME,
    RECONNECT_FAST,
    RECONNECT_DEFAULT,
    FAILOVER,
    MEMORY_SUBSCRIPTIONS,
    MEMORY_STREAM,
    ROUTER_CORE,
    ROUTER_STREAM,
    ROUTER_INSTANCES,
    ROUTER_CORES,
    ROUTER_OUTSTANDING,
)


def choose_rows(names: Sequence[str] | None) -> list[Row]:
    """Return the rows of these names, in the table's order; all without names.

    What is no name may be the first word of some: "router" is all rows whose names begin with "router_".

    Raises:
        ValueError: a name is neither.
    """
    chosen = {row.name for row in ROWS} if names is None else set[str]()
    for name in names or ():
        found = {row.name for row in ROWS if row.name == name} or {
            row.name for row in ROWS if row.name.startswith(f"{name}_")
        }
        if not found:
            raise ValueError(f"unknown row {name}; the rows are {', '.join(row.name for row in ROWS)}")
        chosen |= found
    return [row for row in ROWS if row.name in chosen]
