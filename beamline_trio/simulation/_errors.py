"""What goes wrong with a simulation itself, as opposed to the application in it."""

from __future__ import annotations


class SimulationError(Exception):
    """The simulation cannot go on: an error in it or in its use. The text says what to do."""


class EndlessError(SimulationError):
    """The application did not end in the virtual time that it had, and was cancelled.

    Attributes:
        seconds: that time.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"still running after {seconds:g} virtual seconds: something waits for what never comes, or the faults "
            "never let it end; raise ends_within_seconds (of @laws, or of run) if it needs longer"
        )
        self.seconds = seconds


class ForbiddenError(SimulationError):
    """The application did what cannot be simulated: a thread, a real socket, a DNS look-up."""


class UnknownTrioError(SimulationError):
    """This trio has not the inner layout that deterministic scheduling needs."""
