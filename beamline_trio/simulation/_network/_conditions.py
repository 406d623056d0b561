"""What a way from one host to another is like, and what a fault changes about it.

Must not know pipes or time.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

# Any: attrs' validators are typed for one type of field.
_POSITIVE: Final[Any] = attrs.validators.gt(0)
_POSITIVE_OR_NONE: Final[Any] = attrs.validators.optional(_POSITIVE)
_NOT_NEGATIVE: Final[Any] = attrs.validators.ge(0)

WINDOW_BYTES: Final = 262_144


@attrs.frozen(kw_only=True)
class Conditions:
    """One way from host to host.

    Attributes:
        latency_seconds: how long bytes are under way; the default is that of one data centre.
        jitter_seconds: up to so much more, drawn for each write; what comes later never overtakes.
        bandwidth_bytes_per_second: of each connection; None = no bound.
        window_bytes: how much of a connection may be under way or unread before its sender has to wait.
        chunk_bytes_max: no more than so many bytes arrive at once, cut at places that are drawn; None = as they come.
    """

    latency_seconds: float = attrs.field(default=0.0005, validator=_NOT_NEGATIVE)
    jitter_seconds: float = attrs.field(default=0.0, validator=_NOT_NEGATIVE)
    bandwidth_bytes_per_second: float | None = attrs.field(default=None, validator=_POSITIVE_OR_NONE)
    window_bytes: int = attrs.field(default=WINDOW_BYTES, validator=_POSITIVE)
    chunk_bytes_max: int | None = attrs.field(default=None, validator=_POSITIVE_OR_NONE)


@attrs.frozen(kw_only=True)
class Effect:
    """What one fault adds to one way. Of several, latencies add up and the smallest bound holds.

    Attributes:
        lost: nothing arrives.
        held: what arrives waits.
        close_seconds: so much later come FINs.
    """

    latency_seconds: float = attrs.field(default=0.0, validator=_NOT_NEGATIVE)
    jitter_seconds: float = attrs.field(default=0.0, validator=_NOT_NEGATIVE)
    bandwidth_bytes_per_second: float | None = attrs.field(default=None, validator=_POSITIVE_OR_NONE)
    chunk_bytes_max: int | None = attrs.field(default=None, validator=_POSITIVE_OR_NONE)
    close_seconds: float = attrs.field(default=0.0, validator=_NOT_NEGATIVE)
    lost: bool = False
    held: bool = False
