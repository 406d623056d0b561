"""beamline_trio: a NATS client and message router for trio.

    protocol -> transport -> connection -> client -> router -> metrics -> operation -> cli

Each package is one stage of this path and imports only stages to its left; `server_process` stands beside it. Here is
what most programs need.
"""

from ._version import __version__ as __version__
from .client import Client as Client
from .client import Message as Message
from .client import NoReplySubjectError as NoReplySubjectError
from .client import NoRespondersError as NoRespondersError
from .client import SlowConsumerError as SlowConsumerError
from .client import Subscription as Subscription
from .client import open_client as open_client
from .client import run_client as run_client
from .connection import CallbackFailed as CallbackFailed
from .connection import ClientClosedError as ClientClosedError
from .connection import ClientOptions as ClientOptions
from .connection import Closed as Closed
from .connection import Connected as Connected
from .connection import ConnectionLostError as ConnectionLostError
from .connection import ConnectTimeoutError as ConnectTimeoutError
from .connection import Disconnected as Disconnected
from .connection import Dropped as Dropped
from .connection import Event as Event
from .connection import EventStream as EventStream
from .connection import Exhausted as Exhausted
from .connection import HandshakeError as HandshakeError
from .connection import InternalError as InternalError
from .connection import LameDuck as LameDuck
from .connection import Ledger as Ledger
from .connection import MessageSkipped as MessageSkipped
from .connection import NoServersError as NoServersError
from .connection import NotNatsServerError as NotNatsServerError
from .connection import OperationTimeoutError as OperationTimeoutError
from .connection import OptionsError as OptionsError
from .connection import Outcome as Outcome
from .connection import PendingFullError as PendingFullError
from .connection import PendingTimeoutError as PendingTimeoutError
from .connection import Reconnected as Reconnected
from .connection import ReconnectFailed as ReconnectFailed
from .connection import ServerErrorReceived as ServerErrorReceived
from .connection import SlowConsumer as SlowConsumer
from .connection import State as State
from .connection import Statistics as Statistics
from .connection import TooManyRequestsError as TooManyRequestsError
from .protocol import AuthorizationError as AuthorizationError
from .protocol import Headers as Headers
from .protocol import InvalidHeaderError as InvalidHeaderError
from .protocol import InvalidSubjectError as InvalidSubjectError
from .protocol import NatsError as NatsError
from .protocol import PayloadTooLargeError as PayloadTooLargeError
from .protocol import PermissionsError as PermissionsError
from .protocol import ProtocolError as ProtocolError
from .protocol import ServerError as ServerError
from .protocol import ServerInfo as ServerInfo
from .router import Router as Router
from .transport import AddressError as AddressError
from .transport import ConnectError as ConnectError
from .transport import Dialer as Dialer
from .transport import NameResolutionError as NameResolutionError
from .transport import ServerUnreachableError as ServerUnreachableError
from .transport import TCPDialer as TCPDialer
from .transport import TLSError as TLSError
