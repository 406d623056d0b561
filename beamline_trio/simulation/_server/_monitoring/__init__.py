"""What a server tells of itself: to users of the system account by messages, and by HTTP.

    Monitoring --> SystemRequests ($SYS.REQ...) --+
              '--> MonitoringPort (http_port)  ---+--> Monitor: documents as nats-server 2.15 writes them

The fields, their names and their order are the server's. What a simulation has no measure of (memory, processor time)
is a constant. Must not change anything.
"""

from ._monitoring import Monitoring as Monitoring
