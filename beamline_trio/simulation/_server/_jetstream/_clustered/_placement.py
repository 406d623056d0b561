"""Which servers get a stream or a consumer, and how its group is called.

Must not know what is on them, beyond how many streams there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from .._consumer_config import ConsumerConfig
from .._errors import APIError
from .._stream_config import StreamConfig
from ._assignments import Members, StreamAssignment


def place_stream(
    config: StreamConfig,
    places: Sequence[Sequence[str]],
    load: Callable[[str], int],
    random: Random,
    draw: Callable[[], str],
) -> Members:
    """The servers of a new stream: all in one cluster, those with the fewest streams, and a random one of them first.

    Args:
        config: of the stream.
        places: the servers of each cluster that it may be in, the best one first.
        load: how many streams a server has.
        random: chance.
        draw: draws what makes a group's name unique.

    Raises:
        APIError: there are not enough servers.
    """
    peers = next((place for place in places if len(place) >= config.num_replicas), None)
    if peers is None:
        raise APIError(400, 10005, "no suitable peers for placement")
    shuffled = random.sample(list(peers), len(peers))
    chosen = sorted(sorted(shuffled, key=load)[: config.num_replicas])
    name = f"S-R{config.num_replicas}{config.storage[0].upper()}-{draw()}"
    return Members(name, tuple(chosen), random.choice(chosen))


def place_consumer(
    config: ConsumerConfig,
    stream: StreamAssignment,
    is_there: Callable[[str], bool],
    random: Random,
    draw: Callable[[], str],
) -> Members:
    """The servers of a new consumer, out of those of its stream."""
    peers = list(stream.members.peers)
    count = min(_replicas(config, stream.config), len(peers))
    there = [peer for peer in peers if is_there(peer)] or peers
    chosen = sorted(peers if count == len(peers) else random.sample(there if len(there) >= count else peers, count))
    memory = config.mem_storage or stream.config.storage == "memory"
    online = [peer for peer in chosen if peer in there] or chosen
    return Members(f"C-R{count}{'M' if memory else 'F'}-{draw()}", tuple(chosen), random.choice(online))


def _replicas(config: ConsumerConfig, stream: StreamConfig) -> int:
    if config.num_replicas:
        return config.num_replicas
    return stream.num_replicas if config.durable_name or stream.retention != "limits" else 1
