"""JetStream: a model of what nats-server 2.15 does with streams and pull consumers, on one server or in a cluster.

    JetStream (of a process) --API--> _streams_api, _consumers_api
        |- Stream: _ingest -> Messages          '- Consumer: PullQueue, ConsumerState
    Storage (of the server): what is on disk, and outlives the process
    _clustered: the same with replicas, on the servers of a cluster

What it does not model (push consumers, batches, counters, schedules, direct gets) it refuses with an
error that says so, never in silence.
"""

from ._clustered import open_clustered as open_clustered
from ._open import open_jetstream as open_jetstream
from ._service import JetStream as JetStream
from ._storage import Storage as Storage
from ._views import ConsumerView as ConsumerView
from ._views import MessageView as MessageView
from ._views import StreamView as StreamView
from ._views import view_stream as view_stream
