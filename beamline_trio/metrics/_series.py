"""Series at one moment: numbers and distributions by their names and labels, which can be added and subtracted.

That is all that folding a closed client into its label's total takes. Must not know where a number comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs

# The name of a metric, and the values of its labels but for `client`.
Key: TypeAlias = tuple[str, tuple[str, ...]]

STATUS = "router_nats_connection_status"
PENDING = "router_nats_pending_operations_count"
PENDING_RATIO = "router_nats_pending_operations_ratio"
INTAKE_INFLIGHT = "router_intake_inflight"
INTAKE_HELD = "router_intake_held"
BREAKER_STATE = "router_circuit_breaker_state"
CLUSTER_QUORUM = "router_cluster_quorum"
NODE_UP = "router_cluster_node_up"
NODE_MEMORY = "router_node_memory_bytes"
NODE_CONNECTIONS = "router_node_connections"
REGION_CONNECTED = "router_region_connected"
REGION_PARTITION = "router_region_partition_seconds"
REGION_WAITING = "router_region_messages_waiting"
INSTANCES_ACTIVE = "router_instances_active"
INSTANCE_READY = "router_instance_ready"
INSTANCE_TASKS = "router_instance_tasks"
INSTANCE_MEMORY = "router_instance_memory_bytes"
INSTANCE_CONNECTIONS = "router_instance_connections"
# What is about now and not about all the time: nothing of it outlives its client, and nothing is subtracted from it.
OF_CLIENTS_NOW = frozenset({STATUS, PENDING, PENDING_RATIO})
# What of two connections, or of two who look at one thing, under one label is no sum.
_WORSE: Final[Mapping[str, Callable[[float, float], float]]] = {
    STATUS: min,
    PENDING_RATIO: max,
    CLUSTER_QUORUM: min,
    NODE_UP: min,
    NODE_MEMORY: max,
    NODE_CONNECTIONS: max,
    REGION_CONNECTED: min,
    REGION_PARTITION: max,
    INSTANCES_ACTIVE: min,
    INSTANCE_READY: min,
    INSTANCE_TASKS: max,
    INSTANCE_MEMORY: max,
    INSTANCE_CONNECTIONS: max,
}
MOMENTARY = OF_CLIENTS_NOW | {INTAKE_INFLIGHT, INTAKE_HELD, BREAKER_STATE, REGION_WAITING} | _WORSE.keys()


@attrs.frozen
class Distribution:
    """The observations of a histogram: counts per bound (and above the last one), and the sum in seconds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total_seconds: float

    def plus(self, other: Distribution, sign: int = 1) -> Distribution:
        """Both together, or this less the other."""
        counts = tuple(mine + sign * theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Distribution(self.bounds, counts, self.total_seconds + sign * other.total_seconds)


@attrs.define
class Reading:
    """Numbers and distributions by their series."""

    numbers: dict[Key, float] = attrs.field(factory=dict)
    distributions: dict[Key, Distribution] = attrs.field(factory=dict)

    def add(self, other: Reading) -> None:
        """Add another; of two under one label that are no sum the worse is shown."""
        for key, number in other.numbers.items():
            known = self.numbers.get(key)
            if known is None:
                self.numbers[key] = number
            else:
                worse = _WORSE.get(key[0])
                self.numbers[key] = known + number if worse is None else worse(known, number)
        for key, distribution in other.distributions.items():
            before = self.distributions.get(key)
            self.distributions[key] = distribution if before is None else before.plus(distribution)

    def less(self, earlier: Reading) -> Reading:
        """What has come since an earlier reading of the same source, and what is momentary as it is now."""
        numbers = {
            key: number if key[0] in MOMENTARY else number - earlier.numbers.get(key, 0)
            for key, number in self.numbers.items()
        }
        distributions = {
            key: distribution.plus(earlier.distributions[key], -1) if key in earlier.distributions else distribution
            for key, distribution in self.distributions.items()
        }
        return Reading(numbers, distributions)

    def lasting(self) -> Reading:
        """What of it outlives the client."""
        numbers = {key: number for key, number in self.numbers.items() if key[0] not in MOMENTARY}
        return Reading(numbers, dict(self.distributions))
