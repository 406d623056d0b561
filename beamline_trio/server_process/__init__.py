"""A real nats-server as a child process: find it, start it, wait for it, pause it, kill it.

    from beamline_trio.server_process import open_server

    async with open_server(jetstream=True) as server:
        ...                       # connect to server.url
        server.kill()             # SIGKILL, as a crash would
        await server.wait_exit()
        await server.start()      # the same port, the same store

and a cluster of them, or a supercluster of regions that are joined by gateways:

    async with open_cluster("east", servers=3) as cluster:
        leader = await cluster.leader("ORDERS")
        leader.server.pause()     # SIGSTOP

It stands beside the client's path and knows nothing of it: what it says about a server comes from the
operating system and from the server itself, so that tests may judge the client by it.

POSIX only (SIGSTOP, SIGHUP and process groups have no equal on Windows), and in real time only: processes do
not run on trio's MockClock.
"""

from ._cluster import Node as Node
from ._cluster import RealCluster as RealCluster
from ._cluster import RealSupercluster as RealSupercluster
from ._cluster_options import ClusterOptions as ClusterOptions
from ._conditions import Conditions as Conditions
from ._errors import MonitoringError as MonitoringError
from ._errors import ServerNotFoundError as ServerNotFoundError
from ._errors import ServerNotRunningError as ServerNotRunningError
from ._errors import ServerProcessError as ServerProcessError
from ._errors import ServerStartError as ServerStartError
from ._find import find_nats_server as find_nats_server
from ._links import BreakableLinks as BreakableLinks
from ._links import DirectLinks as DirectLinks
from ._links import Links as Links
from ._load_balancer import find_haproxy as find_haproxy
from ._load_balancer import open_load_balancer as open_load_balancer
from ._namespaces import HOST as HOST
from ._namespaces import NamespaceError as NamespaceError
from ._namespaces import NamespaceLinks as NamespaceLinks
from ._namespaces import open_namespace_links as open_namespace_links
from ._namespaces import why_no_namespaces as why_no_namespaces
from ._open import open_server as open_server
from ._open_cluster import open_cluster as open_cluster
from ._open_cluster import open_supercluster as open_supercluster
from ._options import ServerOptions as ServerOptions
from ._process import Server as Server
from ._program import Program as Program
from ._program import ProgramOptions as ProgramOptions
from ._program import open_program as open_program
from ._proxied_links import ProxiedLinks as ProxiedLinks
from ._proxied_links import open_proxied_links as open_proxied_links
from ._proxy import FaultProxy as FaultProxy
from ._proxy import open_fault_proxy as open_fault_proxy
from ._way import Way as Way
