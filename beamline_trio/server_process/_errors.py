"""What can go wrong with a server process, one class per reaction of the caller.

These are not NATS errors: they tell of a program on this machine, and this package imports nothing of the
client.
"""

from __future__ import annotations

PORT_IN_USE = "address already in use"  # as in the log of nats-server, on every POSIX system


class ServerProcessError(Exception):
    """Base of everything that `beamline_trio.server_process` raises of its own."""


class MonitoringError(ServerProcessError):
    """A monitoring endpoint gave no answer, or none that is JSON: the server is down, or does not listen there.

    A server that is stopped (SIGSTOP) or behind a cut link gives none for as long as it is: bound the wait by a
    cancel scope.
    """


class ServerNotFoundError(ServerProcessError):
    """There is no nats-server on this machine, or NATS_SERVER names none; the text says how to get one."""


class ServerNotRunningError(ServerProcessError):
    """The operation needs a living server, and this one was killed, stopped or has ended by itself."""


class ServerStartError(ServerProcessError):
    """The server did not get ready: it ended, or was silent for too long. Nothing of it is left running.

    Attributes:
        exit_code: the process's exit code, negative for a signal; None when it ran but did not answer in
            time, or could not be executed at all.
        log_tail: the last lines this start wrote to the log, as in the message.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, log_tail: str = "") -> None:
        super().__init__(f"{message}\n{log_tail}" if log_tail else message)
        self.exit_code = exit_code
        self.log_tail = log_tail

    @property
    def port_in_use(self) -> bool:
        """True when the server ended because somebody else listens on its port."""
        return PORT_IN_USE in self.log_tail
