"""The names of the cells, and what each of them proves.

Must not import the package: pytest has to see it first.
"""

from __future__ import annotations

import enum
from typing import Final

OPERATIONS: Final = ("connect", "publish", "publish_with_ack", "ack", "nak", "subscribe")
FAULTS: Final = ("error", "timeout", "close", "delay", "intermittent")
NAMES: Final = tuple(f"{operation}_{fault}" for operation in OPERATIONS for fault in FAULTS)
# Of the simulation; the real server is asked once.
SEEDS: Final = (1, 2, 3)


class Proven(enum.StrEnum):
    """What a cell proves.

    Attributes:
        RESILIENCE: the client lives, in the same process with the same tasks, and everything works again.
        SEMANTICS: each call ended as documented, and nothing was lost without a word.
        OBSERVABILITY: log, counters and gauge have told it, and nothing else, and are silent when it is over.
    """

    RESILIENCE = enum.auto()
    SEMANTICS = enum.auto()
    OBSERVABILITY = enum.auto()
