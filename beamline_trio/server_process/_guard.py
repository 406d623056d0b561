"""Kill the server when this process dies without a chance to do so: SIGKILL, out of memory, a crash.

A small shell holds the reading end of a pipe whose writing end is here and nowhere else. The kernel closes
that end when this process is gone, however it went; the shell then kills the server and removes the temporary
directory. It is told the server's process id through the same pipe, and before it kills it compares the
command line, so that a process that later got this id is safe.

Not PR_SET_PDEATHSIG: that signal comes when the *thread* that forked ends, and trio forks in worker threads
that end after ten idle seconds: healthy servers would die. It would not remove the directory either, and is
Linux only.

Between the server's fork and the id's arrival here a crash leaves the server behind: well under a
millisecond.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import trio

from ._reap import reap

# $1 is what only this process has in its command line, as its configuration file; $2 the directory to remove.
# The signals are those that a terminal or a service manager sends to everybody: the guard must outlive them.
# The kill is spelt as every shell takes it for a process group: dash refuses `kill -KILL -- -1234`, and ends.
# The second rm is for a file that the dying server created under the first.
_SCRIPT = r"""
trap '' HUP INT QUIT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    command=$(2>/dev/null tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o args= -p "$pid")
    case "$command" in *"$1"*) kill -s KILL -- "-$pid" ;; esac
fi
rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }
"""


class Guard:
    """The shell that waits for this process to die. Made by `open_guard`."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def watch(self, pid: int) -> None:
        """Let it kill the process group `pid`, in place of an earlier one."""
        # A guard that somebody killed is no reason to fail: the server is only unguarded then.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"%d\n" % pid)


@contextlib.asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_guard(marker: str | Path, directory: Path) -> AsyncGenerator[Guard]:
    """Guard the process that has `marker` in its command line, and the temporary `directory`.

    Leaving it retires the guard without a kill; killing and removing are then the caller's, as on every
    orderly path.
    """
    # Neither end is inherited by other children, so nothing but our death closes the writing one.
    reading, writing = os.pipe()
    try:
        try:
            shell = await _open_shell(reading, marker, directory)
        finally:
            os.close(reading)
        try:
            yield Guard(writing)
        finally:
            shell.kill()
            await reap(shell)
    finally:
        os.close(writing)


async def _open_shell(stdin: int, marker: str | Path, directory: Path) -> trio.Process:
    return await trio.lowlevel.open_process(
        ["/bin/sh", "-c", _SCRIPT, "nats-server-guard", str(marker), str(directory)],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a SIGKILL to our whole process group must not take the guard along
    )
