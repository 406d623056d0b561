"""A running server's monitoring: on all the ways that its configuration opens.

Must not know the documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._http import MonitoringPort, http_answer
from ._monitor import Monitor
from ._system import SystemRequests

if TYPE_CHECKING:
    from .._process import Process
    from .._surroundings import Network


class Monitoring:
    """What a process tells of itself.

    Args:
        process: of the server.
        network: in which its monitoring port is.
        epoch: seconds since 1970 at virtual time 0.
    """

    def __init__(self, process: Process, network: Network, epoch: float) -> None:
        self._monitor = Monitor(process, epoch)
        self._port = MonitoringPort(self._monitor, network) if process.config.http_port else None
        if process.config.has_system_users:
            SystemRequests(self._monitor)

    def answer(self, target: str) -> tuple[int, str]:
        """The status and the body that a GET is answered with."""
        status, _, body = http_answer(self._monitor, target)
        return status, body.decode()

    def stop(self) -> None:
        """The server ends, however it does."""
        if self._port is not None:
            self._port.stop()
