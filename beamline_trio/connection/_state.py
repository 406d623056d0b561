"""The states of a connection, and what became of a publish."""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """Where a client stands: disconnected -> connecting -> connected <-> reconnecting; exhausted; closed."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    EXHAUSTED = "exhausted"
    CLOSED = "closed"


class Outcome(enum.StrEnum):
    """What `publish` did.

    SENT: handed to the connection (with `confirm=True`: the server has it). QUEUED: no connection, it waits.
    SKIPPED: not sent and not queued, because the client fails open. DROPPED: no connection, the queue is full, and its
    policy is `drop_new`; an event, the log and a counter have told of it.
    """

    SENT = "sent"
    QUEUED = "queued"
    SKIPPED = "skipped"
    DROPPED = "dropped"
