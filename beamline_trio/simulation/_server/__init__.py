"""The server role of NATS as a synchronous state machine: a model of nats-server 2.15.

    Network --accept--> SimulatedServer --> Process: the state of one run
                            |                  |- ClientConnection: _wire -> _operations -> _delivery -> _outbound
                            |                  |- Cluster: RouteConnection to each other server
            |                  |- Gateways: GatewayConnection to another region, and from its servers
            |                  '- JetStream: streams and consumers (Storage outlives the process)
                            '- ServerConfig, Observer, views for tests

It shares no code with the client's parser or connection.
"""

from ._config import Gateway as Gateway
from ._config import Rule as Rule
from ._config import ServerConfig as ServerConfig
from ._config import User as User
from ._jetstream import ConsumerView as ConsumerView
from ._jetstream import MessageView as MessageView
from ._jetstream import StreamView as StreamView
from ._server import ServerState as ServerState
from ._server import SimulatedServer as SimulatedServer
from ._surroundings import Observer as Observer
from ._views import ConnectionView as ConnectionView
from ._views import SubscriptionView as SubscriptionView
