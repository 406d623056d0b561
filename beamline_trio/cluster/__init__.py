"""What a program knows of the servers behind its link: nodes, quorum, leaders, regions. Built on jetstream.

_records -> _reading -> _probes -> _state -> _watch   what was seen; JSON to that; asking; judging; doing it again
_lanes, _reach, _home, _kept, _closing -> _regional   publishing to a region: order, when, once, meanwhile, at the end
_routing                                              which publisher takes a subject
"""

from ._events import LeaderChanged as LeaderChanged
from ._events import NodeDown as NodeDown
from ._events import NodeForgotten as NodeForgotten
from ._events import NodeUp as NodeUp
from ._events import QuorumLost as QuorumLost
from ._events import QuorumRestored as QuorumRestored
from ._events import RegionCut as RegionCut
from ._events import RegionHealed as RegionHealed
from ._events import RegionLeft as RegionLeft
from ._events import RegionReturned as RegionReturned
from ._options import WatchOptions as WatchOptions
from ._probes import Fetch as Fetch
from ._records import META_GROUP as META_GROUP
from ._records import GroupStatus as GroupStatus
from ._records import NodeStatus as NodeStatus
from ._records import RegionStatus as RegionStatus
from ._region_options import Home as Home
from ._region_options import LocalStream as LocalStream
from ._region_options import Place as Place
from ._region_statistics import RegionStatistics as RegionStatistics
from ._regional import RegionAck as RegionAck
from ._regional import RegionPublisher as RegionPublisher
from ._routing import publisher_for as publisher_for
from ._routing import route_by_region as route_by_region
from ._statistics import ClusterStatistics as ClusterStatistics
from ._watch import ClusterWatch as ClusterWatch
