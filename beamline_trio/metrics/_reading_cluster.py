"""What is known of a cluster and sent to its regions, and an instance of itself, in the words of the metrics contract.

Must not import prometheus_client, and must not change what it reads.
"""

from __future__ import annotations

from ..cluster import ClusterWatch, RegionPublisher
from ._instance import Instance
from ._series import (
    CLUSTER_QUORUM,
    INSTANCE_CONNECTIONS,
    INSTANCE_MEMORY,
    INSTANCE_READY,
    INSTANCE_TASKS,
    INSTANCES_ACTIVE,
    NODE_CONNECTIONS,
    NODE_MEMORY,
    NODE_UP,
    REGION_CONNECTED,
    REGION_PARTITION,
    REGION_WAITING,
    Reading,
)


def read_watch(watch: ClusterWatch) -> Reading:
    """A watch's series at this moment; what it was not told is left out, and all but totals while it does not look."""
    reading = Reading()
    numbers = reading.numbers
    numbers["router_cluster_leader_changes_total", ()] = watch.statistics().leader_changes
    if not watch.current:
        return reading
    numbers[CLUSTER_QUORUM, ()] = watch.quorum
    if watch.instances_of is not None:
        numbers[INSTANCES_ACTIVE, ()] = watch.instances
    for name, node in list(watch.nodes.items()):  # the watch may learn of others meanwhile, in its own thread
        numbers[NODE_UP, (name,)] = node.up
        if node.memory_bytes is not None:
            numbers[NODE_MEMORY, (name,)] = node.memory_bytes
        if node.connections is not None:
            numbers[NODE_CONNECTIONS, (name,)] = node.connections
    for name, region in list(watch.regions.items()):
        numbers[REGION_CONNECTED, (name,)] = region.connected
        numbers[REGION_PARTITION, (name,)] = watch.partition_seconds(name)
    return reading


def read_region(publisher: RegionPublisher) -> Reading:
    """The series of a publisher of a region at this moment."""
    reading = Reading()
    counted = publisher.statistics()
    region = publisher.home.region
    reading.numbers[REGION_WAITING, (region,)] = counted.waiting + counted.kept
    for way in ("home", "local", "drained"):
        reading.numbers["router_region_messages_total", (region, way)] = getattr(counted, way)
    return reading


def read_instance(instance: Instance) -> Reading:
    """An instance's series at this moment."""
    reading = Reading()
    plain: dict[str, float] = {
        INSTANCE_READY: instance.ready(),
        INSTANCE_TASKS: instance.tasks,
        INSTANCE_MEMORY: instance.memory_bytes,
        INSTANCE_CONNECTIONS: instance.connections,
    }
    for name, number in plain.items():
        reading.numbers[name, (instance.name,)] = number
    reading.numbers["router_messages_total", (instance.region, instance.name)] = instance.handled
    return reading
