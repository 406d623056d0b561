"""What a way through a proxy is like: an immutable record, checked when it is made."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Conditions:
    """What becomes of the bytes that go one way; as it is made, nothing.

    Attributes:
        latency_seconds: each chunk comes so much later.
        jitter_seconds: and up to so much later still, by chance; never before what was sent earlier.
        bandwidth_bytes_per_second: bytes leave at this rate; None = at once.
        slice_bytes_max: no piece is larger than this, so that the receiver sees what it was sent in pieces; None =
            as it comes.
    """

    latency_seconds: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    jitter_seconds: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    bandwidth_bytes_per_second: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.gt(0))
    )
    slice_bytes_max: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(1)))
