"""What can go wrong with a run besides its account."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot run; the text says why and what to do."""
