"""What is wrong with a scenario that was asked for.

Must not be raised for what a scenario finds: that is in its report.
"""

from __future__ import annotations


class ScenarioError(Exception):
    """A scenario cannot be run as it was asked for; the text says why and what to do."""
