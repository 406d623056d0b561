"""The numbers of the workload: everything is quick, so that a short run sees all of it.

Must not act.
"""

from __future__ import annotations

from typing import Any, Final

from beamline_trio.simulation import Draw, Rule, ServerConfig, User

OPTIONS: Final[dict[str, Any]] = {
    "reconnect_delay_max_seconds": 1.0,
    "connect_timeout_seconds": 2.0,
    "operation_timeout_seconds": 4.0,
    "ping_interval_seconds": 3.0,
    "pong_timeout_seconds": 2.0,
    "outbox_bytes_max": 2_048,
    "pending_operations_max": 40,
    "pending_timeout_seconds": 6.0,
    "drain_deadline_seconds": 5.0,
}
HOSTS: Final = ("app", "till", "billing", "audit")
OWN_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "audit": {"pending_policy": "error", "pending_operations_max": 5},
    "till": {"pending_timeout_seconds": None},
}
SECRET: Final = Rule(deny=("secret.>",))
SERVER: Final = ServerConfig(
    ping_interval_seconds=1.0, ping_max=2, users=(User("orders", "pw", publish=SECRET, subscribe=SECRET),)
)
FAULTS: Final = Draw(seconds=18.0, count=5, longest_seconds=14.0)
QUIET_SECONDS: Final = 10.0
HEALTHY_SECONDS: Final = 7.0
# Behind that something hangs, and the laws are to say what.
RUN_SECONDS_MAX: Final = 90.0
ON_THE_WAY_SECONDS: Final = 1.0
CALL_SECONDS_MAX: Final = 24.0
# So little that a server that does not read lets the client's frames pile up.
WINDOW_BYTES: Final = 3_000
FLAPS_MAX: Final = 6
CAP: Final = 7
PUBLISHERS: Final = ("till/created", "till/capped", "app/paid", "app/noted0", "app/price", "audit/log")
