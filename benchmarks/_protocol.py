"""What the runner, the feeder, the responder and the contenders say to each other.

A contender is started with a workload's name and `Params` as JSON. It prints JSON lines: `{"event": ...}`
while the runner has to act (outages), then exactly one result: `{"metrics": {key: [samples]}, "cpu_us": ...,
...counts}`. Messages are fed on demand: the contender publishes a number to GO_SUBJECT and receives that
many. It returns credit by publishing an empty message to CREDIT_SUBJECT after every CREDIT_EVERY messages;
the feeder never has more than a window outstanding, so no client's pending limit is reached and a missing
message is the client's loss, not a dropped one.

Must not import anything beyond the standard library: the memory and import time of this module are part of
every contender's process.
"""

import json
from dataclasses import asdict, dataclass, fields

GO_SUBJECT = "bench.go"
CREDIT_SUBJECT = "bench.credit"
ECHO_SUBJECT = "bench.echo"
FIRST_SUBJECT = "bench.first"
STREAM = "BENCH"
STREAM_SUBJECT = "bench.stream.in"
CONSUMER = "bench"
TARGET = "BENCH_TARGET"
TARGET_SUBJECT = "bench.stream.out"
PULL_MESSAGES = 500
IN_FLIGHT_MAX = 1000
CREDIT_EVERY = 1000
"""All message counts of fed workloads are multiples of this, so that a workload ends on a returned credit."""


@dataclass(frozen=True)
class Params:
    """One measurement's parameters, as a contender receives them."""

    url: str
    style: str
    cpu: int | None = None
    """The core to pin the process to; None leaves it free (machines with one core)."""
    subject: str = "bench.data"
    payload_bytes: int = 0
    messages: int = 0
    warmup_messages: int = 0
    concurrency: int = 1
    subscriptions: int = 0
    busy_seconds: float = 0.0
    """What a handler takes of its processor for a message."""
    wait_seconds: float = 0.0
    """What it waits for a message, as for a database."""
    outstanding_max: int = 0
    """Messages of the durable that may be unacknowledged at once; 0: so many that it limits nothing."""
    outages: int = 0
    fastest_reconnect: bool = False
    """Reconnect rows: the client's fastest setting instead of its defaults."""
    deadline_seconds: float = 60.0
    """Of the workload; a contender that misses messages gives up then and reports what it has."""

    def to_json(self) -> str:
        """Without what is as it is by default: an earlier state's contenders do not know a later one's fields."""
        return json.dumps(
            {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}
        )

    @classmethod
    def from_json(cls, text: str) -> "Params":
        return cls(**json.loads(text))


@dataclass(frozen=True)
class FeedPlan:
    """What the feeder sends."""

    url: str
    mixed: bool = False
    """50 subjects below `bench.mixed.` and payloads of 60 to 199 bytes, instead of one subject and size."""
    subject: str = "bench.data"
    payload_bytes: int = 0
    window_messages: int = 20_000
    window_bytes: int = 16 * 1024 * 1024

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "FeedPlan":
        return cls(**json.loads(text))
