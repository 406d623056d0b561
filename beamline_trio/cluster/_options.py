"""How a cluster is watched: how often, and after how long what is not seen counts as gone.

Must not know who looks.
"""

from __future__ import annotations

import attrs

from ..connection import OptionsError, number
from ..protocol import frozen


@frozen(kw_only=True)
class WatchOptions:
    """The patience of a `ClusterWatch`.

    Attributes:
        interval_seconds: from one look to the next.
        answer_seconds: how long a look waits for its answers.
        node_down_after_seconds: a server that was looked for and not seen for so long is down. Servers send each other
            a heartbeat a second (nats-server 2.15).
        quorum_lost_after_seconds: a group without a leader for so long has lost its quorum; an election takes 4 to 9 s.
        region_cut_after_seconds: a region of which nothing was seen for so long is cut off; one that is known by its
            streams and consumers alone not before one of them has lost its quorum, as they may be choosing leaders.
        nodes_max: servers that are remembered. Those without a name of their own have another one after each start; of
            too many the one that was seen longest ago is forgotten, and counted.
        forgotten_after_seconds: so is a server that was neither seen nor a member of anything for so long, as one that
            was removed; not while a region is cut off, a group has no quorum or a look is not complete, when nobody
            could say. Longer than any other time here.
    """

    interval_seconds: float = attrs.field(default=2.0, validator=number(least=0.05))
    answer_seconds: float = attrs.field(default=1.5, validator=number(least=0.01))
    node_down_after_seconds: float = attrs.field(default=5.0, validator=number(least=0.1))
    quorum_lost_after_seconds: float = attrs.field(default=10.0, validator=number(least=0.1))
    region_cut_after_seconds: float = attrs.field(default=5.0, validator=number(least=0.1))
    nodes_max: int = attrs.field(default=1000, validator=number(least=1, whole=True))
    forgotten_after_seconds: float = attrs.field(default=3600.0, validator=number(least=1))

    def __attrs_post_init__(self) -> None:
        others = self.node_down_after_seconds, self.quorum_lost_after_seconds, self.region_cut_after_seconds
        if self.forgotten_after_seconds <= max(others):
            raise OptionsError(
                f"forgotten_after_seconds is {self.forgotten_after_seconds:g}; it must be longer than what is given up "
                f"takes, {max(others):g}: who is forgotten before is never told as down"
            )
