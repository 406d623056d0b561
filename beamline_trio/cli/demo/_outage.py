"""The outage: kill the server, start it again on its port, and let the clients back in one after another.

What is pending in a client leaves as soon as it has a new link, and in core NATS a message for a subscription that is
not back yet is gone. So the order is: server, the receiver's subscriptions, the router's subscriptions and what was
pending there, the publisher. Each waits for the one before; the gates hold the clients, and nothing tells them.

Must not know what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from ...server_process import Server
from ._account import Kill
from ._receiver_process import Receiver
from ._sender import Sender

OUTAGE_SECONDS: Final = 3.0


async def run_outage(
    server: Server,
    receiver: Receiver,
    senders: Sequence[Sender],
    *,
    stopped: trio.Event,
    on_kill: Callable[[Kill], None],
    on_phase: Callable[[str], None],
) -> None:
    """Kill it now, start it again OUTAGE_SECONDS later, or at once when the run is stopped; bring everybody back.

    Args:
        senders: in the order in which they may come back.
        on_kill: told of the kill, in the step in which it happens.
        on_phase: told what is going on.

    Raises:
        ServerStartError: it does not start again.
        ReceiverError: the receiver process ended.
    """
    old = await receiver.wait_confirmed()
    for sender in senders:
        sender.gate.close_gate()
    on_kill(Kill(old, trio.current_time()))
    server.kill()
    on_phase("server killed")
    await server.wait_exit()
    with trio.move_on_after(OUTAGE_SECONDS):
        await stopped.wait()
    on_phase("server starting")
    await server.start()
    on_phase("receiver coming back")
    new = await receiver.wait_confirmed(after=old)
    for sender in senders:
        on_phase(f"{sender.nc.name} coming back")
        sender.gate.open_gate()
        await sender.resumed(new)
    on_phase("publishing")
