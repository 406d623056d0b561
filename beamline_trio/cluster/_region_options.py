"""Where messages of a region are at home, and what becomes of them while it is cut off.

Must not send.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..connection import OptionsError, number
from ..protocol import encode_pattern, encode_subject, frozen

# Where a message was stored: in its home region, or in the local stream that keeps it for there.
Place: TypeAlias = Literal["home", "local"]

# What is longer is no time of a publish, and no date so long ago can be asked for.
_SECONDS_MAX: Final = 7 * 86_400.0


def _named(_: Any, field: Any, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise OptionsError(f"{field.name} is {value!r}; it must be a name")


def _subject(_: Any, field: Any, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise OptionsError(f"{field.name} is {value!r}; it must be a subject of the stream that keeps messages")
    encode_subject(value)


def _several(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise OptionsError(f"subjects is {value!r}; it must be a list, as [{value!r}]")
    return tuple(value)


def _patterns(_: Any, field: Any, value: tuple[str, ...]) -> None:
    for subject in value:
        encode_pattern(subject)


@frozen(kw_only=True)
class LocalStream:
    """A stream of one's own region that keeps messages of another one while that is cut off.

    Attributes:
        stream: its name; it is there already, a work queue on file with as many replicas as messages are worth. It may
            be shared by publishers of several regions. When it is full it refuses, and drops nothing by age.
        subject: one of its subjects, without wildcards, that this publisher has for itself, over restarts too: as
            `kept.west.orders-1`, with the name of the instance. A second publisher at the same one would mix the order.
        after_seconds: for so long publishes try their home before they are kept here; an election and its pause take no
            longer. At once, where a watch says that the region is cut off.
        batch: messages that are drained together.
    """

    stream: str = attrs.field(validator=_named)
    subject: str = attrs.field(validator=_subject)
    after_seconds: float = attrs.field(default=10.0, validator=number(least=0))
    batch: int = attrs.field(default=256, validator=number(least=1, whole=True))


@frozen(kw_only=True)
class Home:
    """Where the messages of a `RegionPublisher` are at home.

    Attributes:
        region: the name of its cluster, as a watch knows it.
        stream: the stream there.
        subjects: of that stream, for `route_by_region`; may have wildcards.
        local: keeps messages while the region is cut off; None = publishes wait, in memory.
        waiting_messages_max: publishes that may wait; beyond that they are refused.
        waiting_bytes_max: the same in bytes, with subjects and headers.
        waiting_timeout_seconds: of a publish that waits; None = as long as its caller does.
        attempt_timeout_seconds: without a PubAck for so long an attempt has failed; less than `margin_seconds`, since
            an attempt that is begun before that may be sent as late as this.
        pause_seconds: before the first attempt of who finds out whether the home answers again; doubled each time.
        pause_max_seconds: the longest.
        margin_seconds: of the duplicate window of the home stream, before whose end a publish of unknown fate is looked
            up there and not sent again blindly; of what clocks may differ by; and of how long what that stream said of
            its window is relied on.
    """

    region: str = attrs.field(validator=_named)
    stream: str = attrs.field(validator=_named)
    subjects: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_patterns)
    local: LocalStream | None = None
    waiting_messages_max: int = attrs.field(default=50_000, validator=number(least=1, whole=True))
    waiting_bytes_max: int = attrs.field(default=64 * 1024 * 1024, validator=number(least=1, whole=True))
    waiting_timeout_seconds: float | None = attrs.field(default=None, validator=number(least=0.001, optional=True))
    attempt_timeout_seconds: float = attrs.field(default=2.0, validator=number(least=0.01, most=_SECONDS_MAX))
    pause_seconds: float = attrs.field(default=0.25, validator=number(least=0.001))
    pause_max_seconds: float = attrs.field(default=2.0, validator=number(least=0.001))
    margin_seconds: float = attrs.field(default=10.0, validator=number(least=0, most=_SECONDS_MAX))

    def __attrs_post_init__(self) -> None:
        if 0 < self.margin_seconds <= self.attempt_timeout_seconds:
            raise OptionsError(
                f"attempt_timeout_seconds is {self.attempt_timeout_seconds:g}; it must be less than margin_seconds, "
                f"{self.margin_seconds:g}: an attempt could be sent when the home has forgotten its id"
            )
