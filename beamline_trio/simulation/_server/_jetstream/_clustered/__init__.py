"""JetStream of a cluster: streams and consumers with replicas, decided by groups of servers.

ClusteredJetStream --meta group--> Assignments --> ReplicatedStream, ConsumerMember (machines of groups)
    '- ClusterAPI: which server answers         ClusterDisk: what outlives a process
"""

from ._disks import ClusterDisk as ClusterDisk
from ._open import open_clustered as open_clustered
