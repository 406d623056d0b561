"""beamline_trio: a NATS client and message router for trio.

    protocol -> transport -> connection -> client -> jetstream -> router -> metrics -> operation -> cli

Each package is one stage of this path and imports only stages to its left; `faults`, `simulation`, `server_process`
and `testing` stand beside it. Here is what most programs need. A name comes from its stage when it is first asked for,
since pytest imports this package at every start, for the plugin in `testing`.
"""

import importlib
import typing

from ._version import __version__ as __version__

if typing.TYPE_CHECKING:
    from .client import Client as Client
    from .client import Message as Message
    from .client import NoReplySubjectError as NoReplySubjectError
    from .client import NoRespondersError as NoRespondersError
    from .client import Replies as Replies
    from .client import SlowConsumerError as SlowConsumerError
    from .client import Subscription as Subscription
    from .client import UndeliveredError as UndeliveredError
    from .client import empty_payload as empty_payload
    from .client import open_client as open_client
    from .client import run_client as run_client
    from .cluster import ClusterWatch as ClusterWatch
    from .cluster import LeaderChanged as LeaderChanged
    from .cluster import NodeDown as NodeDown
    from .cluster import NodeForgotten as NodeForgotten
    from .cluster import NodeUp as NodeUp
    from .cluster import QuorumLost as QuorumLost
    from .cluster import QuorumRestored as QuorumRestored
    from .cluster import RegionCut as RegionCut
    from .cluster import RegionHealed as RegionHealed
    from .cluster import RegionLeft as RegionLeft
    from .cluster import RegionPublisher as RegionPublisher
    from .cluster import RegionReturned as RegionReturned
    from .connection import CallbackFailed as CallbackFailed
    from .connection import ClientClosedError as ClientClosedError
    from .connection import ClientOptions as ClientOptions
    from .connection import Closed as Closed
    from .connection import Connected as Connected
    from .connection import ConnectionLostError as ConnectionLostError
    from .connection import ConnectTimeoutError as ConnectTimeoutError
    from .connection import CredentialsError as CredentialsError
    from .connection import CredentialsNotFoundError as CredentialsNotFoundError
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
    from .connection import Migrated as Migrated
    from .connection import NkeySigner as NkeySigner
    from .connection import NoServersError as NoServersError
    from .connection import NotNatsServerError as NotNatsServerError
    from .connection import OperationTimeoutError as OperationTimeoutError
    from .connection import OptionsError as OptionsError
    from .connection import Outcome as Outcome
    from .connection import PendingFullError as PendingFullError
    from .connection import PendingTimeoutError as PendingTimeoutError
    from .connection import PoolServer as PoolServer
    from .connection import Reconnected as Reconnected
    from .connection import ReconnectFailed as ReconnectFailed
    from .connection import RepliesEnd as RepliesEnd
    from .connection import ServerDiscovered as ServerDiscovered
    from .connection import ServerErrorReceived as ServerErrorReceived
    from .connection import SlowConsumer as SlowConsumer
    from .connection import State as State
    from .connection import Statistics as Statistics
    from .connection import TooManyRequestsError as TooManyRequestsError
    from .connection import UserJWT as UserJWT
    from .jetstream import AccountInfo as AccountInfo
    from .jetstream import APIError as APIError
    from .jetstream import Consumer as Consumer
    from .jetstream import ConsumerConfig as ConsumerConfig
    from .jetstream import ConsumerDeletedError as ConsumerDeletedError
    from .jetstream import ConsumerInfo as ConsumerInfo
    from .jetstream import ConsumerNotFoundError as ConsumerNotFoundError
    from .jetstream import JetStream as JetStream
    from .jetstream import JetStreamError as JetStreamError
    from .jetstream import JetStreamMessage as JetStreamMessage
    from .jetstream import JetStreamNotEnabledError as JetStreamNotEnabledError
    from .jetstream import NoStreamResponseError as NoStreamResponseError
    from .jetstream import PubAck as PubAck
    from .jetstream import PublisherError as PublisherError
    from .jetstream import PublishRetry as PublishRetry
    from .jetstream import PublishUnknownError as PublishUnknownError
    from .jetstream import StreamConfig as StreamConfig
    from .jetstream import StreamExistsError as StreamExistsError
    from .jetstream import StreamInfo as StreamInfo
    from .jetstream import StreamNotFoundError as StreamNotFoundError
    from .jetstream import WrongLastSequenceError as WrongLastSequenceError
    from .protocol import AuthorizationError as AuthorizationError
    from .protocol import Headers as Headers
    from .protocol import InvalidHeaderError as InvalidHeaderError
    from .protocol import InvalidSubjectError as InvalidSubjectError
    from .protocol import MissingExtraError as MissingExtraError
    from .protocol import NatsError as NatsError
    from .protocol import PayloadTooLargeError as PayloadTooLargeError
    from .protocol import PermissionsError as PermissionsError
    from .protocol import ProtocolError as ProtocolError
    from .protocol import Secret as Secret
    from .protocol import ServerError as ServerError
    from .protocol import ServerInfo as ServerInfo
    from .router import BackpressureChanged as BackpressureChanged
    from .router import BadPayloadError as BadPayloadError
    from .router import Batch as Batch
    from .router import Breaker as Breaker
    from .router import BreakerChanged as BreakerChanged
    from .router import DeadLetter as DeadLetter
    from .router import HandlerError as HandlerError
    from .router import IntakePaused as IntakePaused
    from .router import IntakeResumed as IntakeResumed
    from .router import KillSwitch as KillSwitch
    from .router import Publish as Publish
    from .router import Reject as Reject
    from .router import Reply as Reply
    from .router import Retry as Retry
    from .router import RetryLater as RetryLater
    from .router import Router as Router
    from .router import RouteStopped as RouteStopped
    from .router import TenantOverflow as TenantOverflow
    from .transport import AddressError as AddressError
    from .transport import ConnectError as ConnectError
    from .transport import Dialer as Dialer
    from .transport import NameResolutionError as NameResolutionError
    from .transport import ServerUnreachableError as ServerUnreachableError
    from .transport import TCPDialer as TCPDialer
    from .transport import TLSError as TLSError
    from .transport import TLSFiles as TLSFiles
    from .transport import TLSFilesError as TLSFilesError
    from .transport import TLSFilesNotFoundError as TLSFilesNotFoundError
    from .transport import WebSocketDialer as WebSocketDialer
    from .transport import WebSocketError as WebSocketError
    from .transport import from_anyio as from_anyio
else:
    _STAGES = {
        "client": (
            "Client", "Message", "NoReplySubjectError", "NoRespondersError", "Replies", "SlowConsumerError",
            "Subscription", "UndeliveredError", "empty_payload", "open_client", "run_client",
        ),
        "cluster": (
            "ClusterWatch", "LeaderChanged", "NodeDown", "NodeForgotten", "NodeUp", "QuorumLost", "QuorumRestored",
            "RegionCut", "RegionHealed", "RegionLeft", "RegionPublisher", "RegionReturned",
        ),
        "connection": (
            "CallbackFailed", "ClientClosedError", "ClientOptions", "Closed", "Connected", "ConnectionLostError",
            "ConnectTimeoutError", "CredentialsError", "CredentialsNotFoundError", "Disconnected", "Dropped", "Event",
            "EventStream", "Exhausted", "HandshakeError", "InternalError", "LameDuck", "Ledger", "MessageSkipped",
            "Migrated",
            "NkeySigner", "NoServersError", "NotNatsServerError", "OperationTimeoutError", "OptionsError", "Outcome",
            "PendingFullError", "PendingTimeoutError", "PoolServer", "Reconnected", "ReconnectFailed", "RepliesEnd",
            "ServerDiscovered", "ServerErrorReceived", "SlowConsumer", "State", "Statistics", "TooManyRequestsError",
            "UserJWT",
        ),
        "jetstream": (
            "APIError", "AccountInfo", "Consumer", "ConsumerConfig", "ConsumerDeletedError", "ConsumerInfo",
            "ConsumerNotFoundError", "JetStream", "JetStreamError", "JetStreamMessage", "JetStreamNotEnabledError",
            "NoStreamResponseError", "PubAck", "PublishRetry", "PublishUnknownError", "PublisherError",
            "StreamConfig", "StreamExistsError", "StreamInfo", "StreamNotFoundError", "WrongLastSequenceError",
        ),
        "protocol": (
            "AuthorizationError", "Headers", "InvalidHeaderError", "InvalidSubjectError", "MissingExtraError",
            "NatsError", "PayloadTooLargeError", "PermissionsError", "ProtocolError", "Secret", "ServerError",
            "ServerInfo",
        ),
        "router": (
            "BackpressureChanged", "BadPayloadError", "Batch", "Breaker", "BreakerChanged", "DeadLetter",
            "HandlerError", "IntakePaused", "IntakeResumed", "KillSwitch", "Publish", "Reject", "Reply", "Retry",
            "RetryLater", "RouteStopped", "Router", "TenantOverflow",
        ),
        "transport": (
            "AddressError", "ConnectError", "Dialer", "NameResolutionError", "ServerUnreachableError", "TCPDialer",
            "TLSError", "TLSFiles", "TLSFilesError", "TLSFilesNotFoundError", "WebSocketDialer", "WebSocketError",
            "from_anyio",
        ),
    }  # fmt: skip
    _HOMES = {name: stage for stage, names in _STAGES.items() for name in names}

    def __getattr__(name):
        stage = _HOMES.get(name, name)
        if stage not in _STAGES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f".{stage}", __name__)
        value = module if stage == name else getattr(module, name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES})
