"""How a simulated server is configured: data, in the nouns of nats-server's own configuration.

Must not know what the settings do.
"""

from __future__ import annotations

import attrs

CLUSTER_PORT = 6222
GATEWAY_PORT = 7222


@attrs.frozen
class Rule:
    """Subjects that may be used.

    Attributes:
        allow: None or empty = all but those denied. `"jobs workers"` = in that queue group (subscriptions only).
        deny: wins over `allow`.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()


@attrs.frozen
class User:
    """A user that the server knows.

    Attributes:
        publish: what it may publish.
        subscribe: what it may subscribe to.
        system: it is in the system account, where servers tell of themselves, and not with the others.
    """

    name: str
    password: str
    publish: Rule = Rule()
    subscribe: Rule = Rule()
    system: bool = False


@attrs.frozen
class Gateway:
    """Another region that a server is joined to.

    Attributes:
        name: of the region, which is its cluster's.
        urls: its servers that are dialled, as host, host:port or nats://host:port.
    """

    name: str
    urls: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ServerConfig:
    """The configuration of a simulated server; the defaults are those of nats-server 2.15.

    Attributes:
        name: `server_name` in INFO; empty = the server's id, as nats-server has it.
        users: who may connect; none = everybody, unless there is a token.
        token: a token that everybody must have; for a server without users.
        no_auth_user: as which of the users a client without credentials is taken.
        max_payload: bytes of headers and payload of a message.
        max_control_line: bytes of an operation's arguments.
        max_connections: how many clients may be connected at once; 0 = any number.
        max_subscriptions: how many subscriptions a client may have; 0 = any number.
        ping_interval_seconds: how often a silent client is pinged.
        ping_max: how many pings may be unanswered; one more and the client is dropped.
        auth_timeout_seconds: how long a client may take until CONNECT, if credentials are required.
        write_deadline_seconds: how long a client may take to read what was written in one go.
        max_pending_bytes: how much may wait for a client that does not read.
        lame_duck_grace_seconds: from the warning to the first client that is closed.
        lame_duck_duration_seconds: from the warning to the end; at least a second more than the grace.
        cluster: the cluster's name; empty = the server is in none, unless it has routes.
        cluster_port: where it listens for routes, if it is in a cluster.
        advertise: host:port that clients of the cluster are told; empty = the server's own name and port.
        no_advertise: clients are told nothing of the cluster's servers.
        http_port: where it answers about itself by HTTP; 0 = nowhere.
        gateways: other regions, for a server in a cluster, whose name is its own region's; an entry of that name has no
            effect, as with nats-server, so that all servers may have the same.
        gateway_port: where it listens for servers of other regions, if it has gateways.
        jetstream: it has streams; in a cluster they have replicas, and the server's name must be its host's.
        jetstream_peers: the servers with JetStream that it shares streams with, by host; none = those of its routes.
        jetstream_domain: the name of its JetStream; empty = none.
        jetstream_sync_interval_seconds: how often what was written is brought to the disk; 0 = before each answer.
        jetstream_ack_v2: deliveries have the long reply subject, with domain and account.
    """

    name: str = ""
    users: tuple[User, ...] = ()
    token: str | None = None
    no_auth_user: str | None = None
    max_payload: int = 1_048_576
    max_control_line: int = 4096
    max_connections: int = 65_536
    max_subscriptions: int = 0
    ping_interval_seconds: float = 120.0
    ping_max: int = 2
    auth_timeout_seconds: float = 2.0
    write_deadline_seconds: float = 10.0
    max_pending_bytes: int = 64 * 1024 * 1024
    lame_duck_grace_seconds: float = 10.0
    lame_duck_duration_seconds: float = 120.0
    cluster: str = ""
    cluster_port: int = CLUSTER_PORT
    advertise: str = ""
    no_advertise: bool = False
    http_port: int = 0
    gateways: tuple[Gateway, ...] = ()
    gateway_port: int = GATEWAY_PORT
    jetstream: bool = False
    jetstream_peers: tuple[str, ...] = ()
    jetstream_domain: str = ""
    jetstream_sync_interval_seconds: float = 120.0
    jetstream_ack_v2: bool = False

    @property
    def has_system_users(self) -> bool:
        """True when somebody may ask the server about itself by messages."""
        return any(user.system for user in self.users)

    @property
    def auth_required(self) -> bool:
        """True when a client needs credentials, or a `no_auth_user` to be taken for."""
        return bool(self.users) or self.token is not None
