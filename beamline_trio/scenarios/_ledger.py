"""What became of every message of a run, in a few bytes each, and the laws that one can see from it.

A message is a number: begun, then acknowledged by a stream, handled (perhaps more than once), and ended: what it led to
is stored, or it is a dead letter. Nothing is kept for a message but a byte of flags, when it began, and the place at
which its effect lies.

Must not wait, or know clients.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

import attrs

_ACKED: Final = 1
_DONE: Final = 2
_DEAD: Final = 4
_ENDED: Final = _DONE | _DEAD
# Shorter silences are no gaps.
GAP_SECONDS_MIN: Final = 1.0
_EXAMPLES_MAX: Final = 20
_BEHIND: Final = "behind a later message of its key"


@attrs.frozen
class Gap:
    """A silence: nothing came between these moments."""

    begins: float
    ends: float

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.ends - self.begins


class Pulse:
    """Whether something goes on: how much, and the silences in it."""

    def __init__(self) -> None:
        self.count = 0
        self.last_at: float | None = None
        self.gaps: list[Gap] = []

    def beat(self, now: float) -> None:
        """It goes on."""
        self.count += 1
        if self.last_at is not None and now - self.last_at > GAP_SECONDS_MIN:
            self.gaps.append(Gap(self.last_at, now))
        self.last_at = now


def tell_handled(delivery: int, instance: str, *, in_order: bool) -> str:
    """What one process tells of a delivery, for `Ledger.note_told` of another."""
    return f"{delivery} {instance}" if in_order else f"{delivery} {instance} {_BEHIND}"


class Ledger:
    """The books of one run.

    Args:
        now: seconds since its start.
        max_deliver: deliveries of a message at the most.

    Attributes:
        acked: messages that a stream has acknowledged.
        ended: messages whose effect is stored, or that are dead letters; each once.
        done, dead: the same by how they ended; a message that was handled, and whose ack was lost to the last, is both.
        handled: deliveries to handlers. again: those that were not the first of their message.
        duplicates: publishes that the stream had before.
        stored_twice: effects that lie in their stream more than once.
        unasked: effects of messages that nobody has published.
        over_delivered: deliveries beyond max_deliver.
        out_of_order: first deliveries before an earlier message of their key.
        publish_errors: what publishers were told, by the class of the error.
        by_instance: instance -> deliveries to its handler. regions: region -> messages that ended there.
        latencies: seconds from the beginning to the end, of what has ended since they were last taken.
        examples: what was wrong, in words; the first few.
    """

    def __init__(self, now: Callable[[], float], max_deliver: int) -> None:
        self._now = now
        self._max_deliver = max_deliver
        self._flags = bytearray()
        self._begun_at = array("d")
        self._place = array("Q")
        self._last_of_key: dict[tuple[str, str], int] = {}
        self.acked = Pulse()
        self.ended = Pulse()
        self.done = 0
        self.dead = 0
        self.handled = 0
        self.again = 0
        self.duplicates = 0
        self.stored_twice = 0
        self.unasked = 0
        self.over_delivered = 0
        self.out_of_order = 0
        self.publish_errors: dict[str, int] = {}
        self.by_instance: dict[str, int] = {}
        self.regions: dict[str, Pulse] = {}
        self.latencies: list[float] = []
        self.examples: list[str] = []

    @property
    def begun(self) -> int:
        """Messages that were to be published so far."""
        return len(self._flags)

    @property
    def by_region(self) -> dict[str, int]:
        """How many messages have ended in each region."""
        return {region: pulse.count for region, pulse in self.regions.items()}

    @property
    def outstanding(self) -> int:
        """Messages that are in a stream and have not ended."""
        return self.acked.count - self.ended.count

    def begin(self) -> int:
        """A message is to be published; returns its number."""
        self._flags.append(0)
        self._begun_at.append(self._now())
        self._place.append(0)
        return len(self._flags) - 1

    def note_acked(self, number: int, *, duplicate: bool) -> None:
        """A stream has it."""
        self._flags[number] |= _ACKED
        self.acked.beat(self._now())
        self.duplicates += duplicate

    def note_publish_error(self, error: BaseException) -> None:
        """A publish has failed, and is tried again."""
        name = type(error).__name__
        self.publish_errors[name] = self.publish_errors.get(name, 0) + 1

    def note_handled(self, number: int, key: str | None, delivery: int, instance: str) -> bool:
        """It comes to a handler; without a key its order is nobody's here.

        Returns:
            Whether no later message of its key came there before it; of a first delivery.
        """
        self.handled += 1
        self.by_instance[instance] = self.by_instance.get(instance, 0) + 1
        if delivery > 1:
            self.again += 1
            if delivery > self._max_deliver:
                self.over_delivered += 1
                self._tell(f"message {number} came to its handler for the {delivery}th time")
            return True
        if key is None:
            return True
        last = self._last_of_key.get((instance, key), -1)
        self._last_of_key[instance, key] = number
        if number < last:
            self.out_of_order += 1
            self._tell(f"message {number} of key {key} first came to {instance} behind message {last}")
        return number >= last

    def note_told(self, number: int, told: str) -> None:
        """It came to a handler in another process, whose own books said this of it; see `tell_handled`."""
        delivery, instance, *behind = told.split(" ", 2)
        self.note_handled(number, None, int(delivery), instance)
        if behind:
            self.out_of_order += 1
            self._tell(f"message {number} first came to {instance} {behind[0]}")

    def note_done(self, number: int, place: int, region: str = "") -> None:
        """Its effect lies at this place of the stream of a region."""
        if not self._is_known(number):
            return
        if self._flags[number] & _DONE:
            if self._place[number] != place:
                self.stored_twice += 1
                self._tell(f"the effect of message {number} is stored at {self._place[number]} and at {place}")
            return
        self._place[number] = place
        self.done += 1
        self._end(number, _DONE, region)

    def note_dead(self, number: int, region: str = "") -> None:
        """It is a dead letter of a region."""
        if self._is_known(number) and not self._flags[number] & _DEAD:
            self.dead += 1
            self._end(number, _DEAD, region)

    def take_latencies(self) -> list[float]:
        """The latencies since the last call."""
        taken, self.latencies = self.latencies, []
        return taken

    def lost(self) -> list[int]:
        """Messages that a stream has acknowledged, and of which nothing was heard since."""
        return [number for number, flags in enumerate(self._flags) if flags & _ACKED and not flags & _ENDED]

    def unknown(self) -> list[int]:
        """Messages that were begun, and of which no stream has told that it has them."""
        return [number for number, flags in enumerate(self._flags) if not flags & _ACKED]

    def _end(self, number: int, how: int, region: str) -> None:
        if not self._flags[number] & _ENDED:
            now = self._now()
            self.ended.beat(now)
            self.regions.setdefault(region, Pulse()).beat(now)
            self.latencies.append(now - self._begun_at[number])
        self._flags[number] |= how

    def _is_known(self, number: int) -> bool:
        if 0 <= number < len(self._flags):
            return True
        self.unasked += 1
        self._tell(f"there is an effect of message {number}, and {len(self._flags)} were begun")
        return False

    def _tell(self, text: str) -> None:
        if len(self.examples) < _EXAMPLES_MAX:
            self.examples.append(f"{self._now():.3f} s: {text}")
