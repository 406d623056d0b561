"""SIGTERM and Ctrl-C as a request to drain: the first begins it, a second one cuts it short.

Must not decide what draining is, nor end the process.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence

import attrs
import outcome
import trio


@attrs.frozen
class Stop:
    """How a program was stopped.

    Attributes:
        signal: the first signal.
        cut_short: whether a second one came before the drain was done.
    """

    signal: signal.Signals
    cut_short: bool


async def stop_on_signals(
    drain: Callable[[signal.Signals], Awaitable[object]],
    *,
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> Stop:
    """Wait for a signal, then drain: `await nursery.start(stop_on_signals, drain)`.

    Started when the signals are caught; from then on they raise no KeyboardInterrupt and do not end the process. It
    returns when the drain is done, or when a second signal has cancelled it. Before the first signal, cancelling it
    gives the signals back. Main thread only.

    Args:
        drain: called with the first signal; typically ends in `await nc.drain()`.
        signals: which.
        task_status: says when they are caught.
    """
    with trio.open_signal_receiver(*signals) as arriving:
        task_status.started()
        first = signal.Signals(await anext(arriving))
        cut_short = False

        async def cut() -> None:
            nonlocal cut_short
            await anext(arriving)
            cut_short = True
            scope.cancel()

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut)
                result = await outcome.acapture(drain, first)
                nursery.cancel_scope.cancel()
            result.unwrap()  # out here, so that what drain raises is in no group
        return Stop(first, cut_short)
