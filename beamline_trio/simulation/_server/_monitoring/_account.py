"""What a server tells of its two accounts: who is connected, and what has gone through.

Must not change anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._accounts import SYSTEM, USERS
from ._general import Totals, traffic

if TYPE_CHECKING:
    from ._monitor import Monitor, Options

NAMES: Final = {USERS: "$G", SYSTEM: "$SYS"}
_ELSEWHERE: Final = ("gateways", "routes", "leafs")


def statz(monitor: Monitor, options: Options) -> dict[str, Any]:
    """Statistics by account; `accounts` = of these only."""
    asked = options.get("accounts") or list(NAMES.values())
    return {
        "server_id": monitor.process.identity.server_id,
        "now": monitor.text_now(),
        "account_statz": [_account(monitor, account) for account, name in NAMES.items() if name in asked],
    }


def _account(monitor: Monitor, account: bytes) -> dict[str, Any]:
    process = monitor.process
    totals = Totals(process, (account,))
    connected = sum(client.account == account for client in process.clients.values())
    # What came from other servers is not told apart by account.
    elsewhere = {name: traffic((0, 0)) for name in _ELSEWHERE}
    return {
        "acc": NAMES[account],
        "name": NAMES[account],
        "conns": connected,
        "leafnodes": 0,
        "total_conns": totals.connections,
        "num_subscriptions": totals.subscriptions,
        "sent": {**traffic(totals.out), **elsewhere},
        "received": {**traffic(totals.inward), **elsewhere},
        "slow_consumers": totals.slow,
    }
