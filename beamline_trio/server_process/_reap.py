"""Wait for a process that was killed, whatever else is going on in this task.

It only waits: whoever calls it has sent SIGKILL before.
"""

from __future__ import annotations

import trio

_REAP_DEADLINE_SECONDS = 5.0


async def reap(process: trio.Process) -> None:
    """Wait until the process has ended, also when cancelled, and through one Ctrl-C, raised afterwards.

    It gives up after some seconds: the kernel does not kill what waits for a disk that is gone.
    """
    try:
        await _wait(process)
    except KeyboardInterrupt:  # it pierces shields
        await _wait(process)
        raise


async def _wait(process: trio.Process) -> None:
    with trio.move_on_after(_REAP_DEADLINE_SECONDS, shield=True):
        await process.wait()
