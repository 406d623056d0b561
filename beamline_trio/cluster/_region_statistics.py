"""What a publisher of a region has counted: plain integers where it happens, a frozen snapshot for readers.

Must not know why.
"""

from __future__ import annotations

from ..protocol import frozen


@frozen(kw_only=True)
class RegionStatistics:
    """The counters of a `RegionPublisher` at one moment.

    Attributes:
        home: messages that their home has confirmed when they were published.
        local: messages that the local stream has confirmed instead.
        drained: of those, the ones that their home has confirmed since.
        found: messages that were at home already when they were looked up.
        unchecked: messages of unknown fate that were sent again past the duplicate window of a stream that cannot be
            asked.
        forgotten: ids of unknown fate that are not remembered any longer, being more than `waiting_messages_max`; what
            is published again under one of them past the duplicate window may be stored twice.
        refused: publishes that found too many waiting.
        failures: attempts that failed.
        waiting: publishes that wait now, or are on their way.
        kept: messages that the local stream keeps now, as far as is known.
    """

    home: int = 0
    local: int = 0
    drained: int = 0
    found: int = 0
    unchecked: int = 0
    forgotten: int = 0
    refused: int = 0
    failures: int = 0
    waiting: int = 0
    kept: int = 0
