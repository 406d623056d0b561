"""The kill switch: where too many messages fail, a router takes no more for a while, and then tries again.

It looks at totals from time to time, so that a message costs nothing.

Must not read a clock, and must not stop anything itself.
"""

from __future__ import annotations

import enum

from ..protocol import frozen
from ._rolling import RollingRate


@frozen(kw_only=True)
class KillSwitch:
    """When a router stops taking messages, of all its routes.

    A failure is a handler that raised or ran into its deadline, or an effect that could not be confirmed; a message
    that is refused for good (rejected, bad payload) is none.

    Attributes:
        error_rate: this share of failures in the window pauses the intake, more than 0 and at most 1.
        window_seconds: the window, more than 0. It begins anew when the intake goes on.
        messages_min: with fewer messages in the window the share says nothing; at least 1.
        pause_seconds: how long nothing is taken, more than 0.
    """

    error_rate: float = 0.5
    window_seconds: float = 60.0
    messages_min: int = 20
    pause_seconds: float = 60.0

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: an option is out of its bounds.
        """
        if not 0 < self.error_rate <= 1:
            raise ValueError(f"error_rate is {self.error_rate}; it must be more than 0 and at most 1")
        for name in ("window_seconds", "pause_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be more than 0")
        if self.messages_min < 1:
            raise ValueError(f"messages_min is {self.messages_min}; it must be at least 1")


class Intake(enum.Enum):
    """What to do with the intake now."""

    PAUSE = "pause"
    RESUME = "resume"


class KillSwitchState:
    """A kill switch at work.

    Attributes:
        paused: whether nothing is to be taken now.
        trips: times that it paused the intake.
        messages: in the window, when it was looked at last; failures: of these.
    """

    def __init__(self, options: KillSwitch) -> None:
        self._options = options
        self._window = RollingRate(options.window_seconds)
        self._seen = (0, 0)
        self._paused_until = 0.0
        self.paused = False
        self.trips = 0

    @property
    def pause_seconds(self) -> float:
        """How long a pause lasts."""
        return self._options.pause_seconds

    @property
    def messages(self) -> int:
        """In the window, when it was looked at last."""
        return self._window.calls

    @property
    def failures(self) -> int:
        """Of the messages in the window."""
        return self._window.failures

    def look(self, messages: int, failures: int, now: float) -> Intake | None:
        """Look at the totals since the router began.

        Args:
            messages: that have an outcome.
            failures: of these.
            now: not before the last look.

        Returns:
            What to do, once: None = nothing new.
        """
        new_messages, new_failures = messages - self._seen[0], failures - self._seen[1]
        self._seen = (messages, failures)
        if self.paused:
            return self._look_paused(now)
        self._window.add(new_messages, new_failures, now)
        if not self._window.exceeds(self._options.error_rate, self._options.messages_min):
            return None
        self.paused = True
        self.trips += 1
        self._paused_until = now + self._options.pause_seconds
        return Intake.PAUSE

    def _look_paused(self, now: float) -> Intake | None:
        """What ends meanwhile was taken before, and says nothing about the next try."""
        if now < self._paused_until:
            return None
        self.paused = False
        self._window.clear()
        return Intake.RESUME
