"""A task that connects: it waits for its dial, and what became of that is noted.

Must not know ways or faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from ._stream import SimulatedStream

if TYPE_CHECKING:
    from ._network import Network


@attrs.define(eq=False)
class DialRecord:
    """One call of `Network.connect`.

    Attributes:
        source: the host that dialled.
        host, port: what it dialled.
        at: when it began, in seconds.
        ended_at: when it succeeded, failed or was cancelled; None while it is under way.
        number: of the connection; 0 while there is none.
        reason: why it failed; "" while it has not.
    """

    source: str
    host: str
    port: int
    at: float
    ended_at: float | None = None
    number: int = 0
    reason: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether there is a connection."""
        return self.number > 0


class Connecting:
    """One call of `Network.connect`."""

    def __init__(self, record: DialRecord, network: Network) -> None:
        self._record = record
        self._network = network
        self._error: OSError | None = None
        self._task = trio.lowlevel.current_task()

    async def run(self) -> SimulatedStream:
        """Dial and wait."""
        record, network = self._record, self._network
        stream = SimulatedStream(self._opened)
        cancel = network.dial(record.source, record.host, record.port, stream, self._failed)

        def abort(_: object) -> trio.lowlevel.Abort:
            cancel()
            self._note("cancelled")
            network.trace.add(record.source, "dial_failed", to=record.host, reason="cancelled")
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if self._error is not None:
            raise self._error
        return stream

    def _opened(self, stream: SimulatedStream) -> None:
        self._record.number = stream.number
        self._note("")
        trio.lowlevel.reschedule(self._task)

    def _failed(self, error: OSError) -> None:
        self._error = error
        self._note(error.strerror or str(error))
        trio.lowlevel.reschedule(self._task)

    def _note(self, reason: str) -> None:
        self._record.reason = reason
        self._record.ended_at = trio.current_time()
