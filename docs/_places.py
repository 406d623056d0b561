"""The places of pages that a script fills: what stands between a line that begins one and a line that ends it.

Must not know what is written there.
"""

from __future__ import annotations

from pathlib import Path


def parted(page: Path, begin: str, end: str) -> tuple[str, str, str]:
    """A page before, at and behind its place; the place with both lines.

    Raises:
        SystemExit: the page has no such place.
    """
    before, begins, rest = page.read_text(encoding="utf-8").partition(begin)
    inside, ends, behind = rest.partition(end)
    if not begins or not ends:
        raise SystemExit(f"{page} has no place for the tables: the lines {begin} and {end}")
    return before, begins + inside + ends, behind
