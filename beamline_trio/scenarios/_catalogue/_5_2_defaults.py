"""5.2d: as 5.2, with the clients' own defaults: 1,000 operations are kept, for at most a minute.

What cannot be kept is told to its publisher, who publishes it again under the same id: every expiry is counted by its
error in the report, and nothing is lost.
"""

from __future__ import annotations

from typing import Final

import attrs

from . import _5_2_region_partition as full

SCENARIO: Final = attrs.evolve(
    full.SCENARIO,
    number="5.2d",
    title="Cross-region partition, default options",
    about="What a client cannot keep is told to its publisher, and is published again: nothing is lost.",
    client={},
)
