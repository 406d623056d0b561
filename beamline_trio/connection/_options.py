"""The options of a client: frozen data, checked once. Defaults are those of `open_client`.

Must not read the environment or files; `operation` does that.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from ..protocol import PAYLOAD_BYTES_MAX, Secret, ServerInfo, frozen
from ..transport import HeadersCallback, TLSFiles, WebSocketHeaders
from . import _validators as check
from ._hiding import creds_of, headers_of, hide_in_place, hides_secrets, nkey_of, servers_of, text_or_none
from ._pool import PoolServer
from ._sources import CredsCallback, NkeySigner, TextCallback, UserJWT

DEFAULT_SERVER = "nats://127.0.0.1:4222"

Jitter: TypeAlias = Literal["upper_half", "full", "none"]
PendingPolicy: TypeAlias = Literal["block", "error", "drop_oldest", "drop_new"]
OverflowPolicy: TypeAlias = Literal["drop_new", "drop_oldest", "error"]

# (the pool, the last INFO) -> (one of the pool or its URL, seconds); None as server: the library's own choice.
ServerChooser: TypeAlias = Callable[[tuple[PoolServer, ...], ServerInfo], tuple[PoolServer | str | None, float]]

# One type checker widens a literal that is given to attrs.field() to str.
_UPPER_HALF: Any = "upper_half"
_BLOCK: Any = "block"
_DROP_NEW: Any = "drop_new"


@hides_secrets
@frozen(kw_only=True)
class ClientOptions:
    """How a client behaves. Durations are seconds, sizes bytes.

    Attributes:
        servers: URLs of one cluster (`nats://user:password@host:port`, `tls://`; or `ws://`, `wss://`); never shown,
            they may hold secrets.
        name: sent to the server, and the label `client` of the metrics.
        keep_server_order: servers are tried in the order given, and the addresses of a name in the order of DNS;
            otherwise both are shuffled.
        ignore_discovered: servers that the cluster tells of are not used.
        discovered_servers_max: of a list of servers that the cluster tells, the first so many are used.
        trust_discovered: the user information of a server's URL goes to servers that it tells of, also where no TLS
            has proven who told.
        reconnect_attempts: passes over all servers in one outage before the state is `exhausted`; None = unlimited.
        probe_after_exhaustion: once exhausted, go on probing every `reconnect_delay_max_seconds`.
        reconnect_delay_seconds: before the second pass; doubled for each further one. The first comes at once.
        reconnect_delay_max_seconds: the longest delay.
        reconnect_jitter: `upper_half` of the delay, `full` (0 to the delay) or `none`.
        reconnect_jitter_tls: the same where the next server is reached over TLS, whose handshakes cost it more; None =
            `reconnect_jitter`.
        reconnect_delay_callback: called before each pass with the number of passes that this outage has seen, gives
            the seconds to wait instead; quick and synchronous.
        choose_server: called before each attempt with the pool (a tuple of PoolServer) and the last INFO, gives
            `(server, seconds)`: the one to try after so long; None as server = the library's own choice this time.
        retry_first_connect: when the first pass fails, go on trying in the background instead of raising, unless every
            server refused the credentials.
        connect_timeout_seconds: for one server: dial, TLS, INFO, CONNECT and PONG together.
        operation_timeout_seconds: for a reply or confirmation, counted from the write; None = only the caller's own
            deadline.
        ping_interval_seconds: ping when nothing was received for so long, or publishes are unconfirmed.
        pong_timeout_seconds: no PONG for so long after such a ping = the link is lost.
        outbox_bytes_max: connected, a publish waits above this.
        pending_operations_max: operations kept while disconnected.
        pending_bytes_max: their bytes.
        pending_timeout_seconds: how long one waits for a connection, also a caller held back by `block`; None = for
            ever.
        pending_policy: without a connection and with a full queue `block` the caller, raise an `error`, or drop: the
            oldest operations (`drop_oldest`), or the new one (`drop_new`). Whoever waits for a dropped one gets an
            error.
        fail_open: publishes without a connection are SKIPPED instead of queued.
        subscription_pending_messages_max: messages that may wait in one subscription.
        subscription_pending_bytes_max: the bytes of their headers and payloads (their subjects come on top, at most a
            control line each).
        subscription_pending_policy: beyond that, `drop_new`, `drop_oldest`, or end the subscription with an `error`.
        drain_deadline_seconds: how long a drain, and a clean exit, may take.
        control_line_bytes_max: the server's max_control_line, which it does not tell; a subject that does not fit is
            refused before it is sent, since the server would hang up.
        message_bytes_max: the largest message (headers and payload) that is taken from a server; a larger one ends the
            link. Not the server's max_payload: a stream may hold messages from a time of a larger one.
        inbox_prefix: where replies come.
        events_pending_max: events kept for a consumer that does not read; the oldest go first.
        requests_inflight_max: requests that may wait for a reply at once.
        acks_pending_max: acknowledgements that may wait for a connection.
        user: user name, or a callback that gives it, as for the next two; a URL's own user information wins. A callback
            may be async, and is asked anew for each attempt to connect.
        password: password; never shown.
        token: token; never shown.
        nkey: a user's seed, the `pathlib.Path` of a file that holds it, or an NkeySigner; never shown.
        creds: the path of a credentials file, its content as bytes, a callback that gives that, or a UserJWT; a file is
            read anew for each attempt to connect.
        give_up_on_auth_error: a server that refuses the credentials twice in the same words is tried no more until
            `reconnect()` or `set_server_pool()`; when none is left the state is `exhausted`.
        tls: an SSLContext, TLSFiles (read anew for each connect), or True to insist on TLS with the platform's
            certificates.
        tls_first: TLS before the server's INFO, which a server with `handshake_first` wants; insists on TLS.
        websocket_headers: of the upgrade request of ws:// and wss://, for the server or a proxy on the way, or a
            callback that gives them anew for each connect; values are never shown.
        echo: whether the client's own messages come back to its subscriptions.
        verbose: ask the server for `+OK` (for debugging).
        pedantic: ask the server for strict checks.
    """

    servers: tuple[Secret, ...] = attrs.field(
        default=(Secret(DEFAULT_SERVER),), converter=servers_of, validator=check.servers_given, repr=False
    )
    name: str = attrs.field(default="default", validator=check.client_name)
    keep_server_order: bool = attrs.field(default=False, validator=check.flag)
    ignore_discovered: bool = attrs.field(default=False, validator=check.flag)
    discovered_servers_max: int = attrs.field(default=256, validator=check.number(least=1, whole=True))
    trust_discovered: bool = attrs.field(default=False, validator=check.flag)
    reconnect_attempts: int | None = attrs.field(
        default=None, validator=check.number(least=1, optional=True, whole=True)
    )
    probe_after_exhaustion: bool = attrs.field(default=True, validator=check.flag)
    reconnect_delay_seconds: float = attrs.field(default=0.1, validator=check.number(least=0.001))
    reconnect_delay_max_seconds: float = attrs.field(default=5.0, validator=check.number(least=0.001))
    reconnect_jitter: Jitter = attrs.field(default=_UPPER_HALF, validator=check.one_of("upper_half", "full", "none"))
    reconnect_jitter_tls: Jitter | None = attrs.field(
        default=None, validator=check.one_of("upper_half", "full", "none", optional=True)
    )
    reconnect_delay_callback: Callable[[int], float] | None = attrs.field(default=None, validator=check.function)
    choose_server: ServerChooser | None = attrs.field(default=None, validator=check.function)
    retry_first_connect: bool = attrs.field(default=False, validator=check.flag)
    connect_timeout_seconds: float = attrs.field(default=5.0, validator=check.number(least=0.001))
    operation_timeout_seconds: float | None = attrs.field(
        default=5.0, validator=check.number(least=0.001, optional=True)
    )
    ping_interval_seconds: float = attrs.field(default=20.0, validator=check.number(least=0.001))
    pong_timeout_seconds: float = attrs.field(default=5.0, validator=check.number(least=0.001))
    outbox_bytes_max: int = attrs.field(default=131_072, validator=check.number(least=1, whole=True))
    pending_operations_max: int = attrs.field(default=1_000, validator=check.number(least=0, whole=True))
    pending_bytes_max: int = attrs.field(default=8_388_608, validator=check.number(least=0, whole=True))
    pending_timeout_seconds: float | None = attrs.field(
        default=60.0, validator=check.number(least=0.001, optional=True)
    )
    pending_policy: PendingPolicy = attrs.field(
        default=_BLOCK, validator=check.one_of("block", "error", "drop_oldest", "drop_new")
    )
    fail_open: bool = attrs.field(default=False, validator=check.flag)
    subscription_pending_messages_max: int = attrs.field(default=65_536, validator=check.number(least=1, whole=True))
    subscription_pending_bytes_max: int = attrs.field(default=67_108_864, validator=check.number(least=1, whole=True))
    subscription_pending_policy: OverflowPolicy = attrs.field(
        default=_DROP_NEW, validator=check.one_of("drop_new", "drop_oldest", "error")
    )
    drain_deadline_seconds: float = attrs.field(default=30.0, validator=check.number(least=0.001))
    control_line_bytes_max: int = attrs.field(default=4_096, validator=check.number(least=64, whole=True))
    message_bytes_max: int = attrs.field(default=PAYLOAD_BYTES_MAX, validator=check.number(least=1, whole=True))
    inbox_prefix: str = attrs.field(default="_INBOX", validator=check.inbox)
    events_pending_max: int = attrs.field(default=1_000, validator=check.number(least=1, whole=True))
    requests_inflight_max: int = attrs.field(default=65_536, validator=check.number(least=1, whole=True))
    acks_pending_max: int = attrs.field(default=65_536, validator=check.number(least=1, whole=True))
    user: str | TextCallback | None = attrs.field(default=None, validator=check.secret)
    password: Secret | TextCallback | None = attrs.field(
        default=None, converter=text_or_none, validator=check.secret, repr=False
    )
    token: Secret | TextCallback | None = attrs.field(
        default=None, converter=text_or_none, validator=check.secret, repr=False
    )
    nkey: Secret | os.PathLike[str] | NkeySigner | None = attrs.field(
        default=None, converter=nkey_of, validator=check.nkey, repr=False
    )
    creds: str | Secret | os.PathLike[str] | UserJWT | CredsCallback | None = attrs.field(
        default=None, converter=creds_of, validator=check.creds, repr=False
    )
    give_up_on_auth_error: bool = attrs.field(default=False, validator=check.flag)
    tls: ssl.SSLContext | TLSFiles | bool | None = attrs.field(default=None, validator=check.tls_choice)
    tls_first: bool = attrs.field(default=False, validator=check.flag)
    websocket_headers: WebSocketHeaders | HeadersCallback | None = attrs.field(
        default=None, converter=headers_of, validator=check.websocket_headers, repr=False
    )
    echo: bool = attrs.field(default=True, validator=check.flag)
    verbose: bool = attrs.field(default=False, validator=check.flag)
    pedantic: bool = attrs.field(default=False, validator=check.flag)

    def __attrs_post_init__(self) -> None:
        check.one_kind_of_credentials(self)
        check.tls_not_refused(self)


OPTION_NAMES: frozenset[str] = frozenset(field.name for field in attrs.fields(ClientOptions))


def combine_options(
    servers: Sequence[str | Secret], options: ClientOptions | None, overrides: dict[str, Any]
) -> ClientOptions:
    """The options of a call of `open_client`: overrides win over servers, servers over options.

    Raises:
        TypeError: an override is no option, and the text names it; or the options are something else.
        OptionsError: a value is out of bounds.
    """
    unknown = sorted(set(overrides) - OPTION_NAMES)
    if unknown:
        raise TypeError(f"unknown option {', '.join(unknown)}; the options are {', '.join(sorted(OPTION_NAMES))}")
    changes: dict[str, Any] = {"servers": tuple(servers)} if servers else {}
    changes.update(overrides)
    hide_in_place(changes, OPTION_NAMES)
    if options is None:
        options = ClientOptions()
    if not isinstance(options, ClientOptions):
        raise TypeError(f"options must be ClientOptions, not {type(options).__name__}; a mapping m is given as **m")
    return attrs.evolve(options, **changes)
