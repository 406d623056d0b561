"""The README and docs/ as tests read them: tables, code blocks, names of tests.

Must not know what any page should say.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
# The pages that people write; what a build leaves behind is not among them.
PAGES = (
    README,
    *(page for part in (".", "decisions", "operation", "suites") for page in sorted((DOCS / part).glob("*.md"))),
)

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")
_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


def text_of(page: Path) -> str:
    """A page as it is written."""
    return page.read_text(encoding="utf-8")


def code_blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [code for name, code in _FENCE.findall(text_of(page)) if name == language]


def rows(page: Path, *header: str) -> list[tuple[str, ...]]:
    """The rows of all tables of a page that have exactly these column names, cells stripped."""
    found: list[tuple[str, ...]] = []
    inside = False
    for line in text_of(page).splitlines():
        cells = tuple(cell.strip() for cell in _CELL.split(line)[1:-1]) if line.startswith("|") else ()
        if not cells:
            inside = False
        elif cells == header:
            inside = True
        elif inside and not set("".join(cells)) <= set("-: "):
            found.append(cells)
    return found


def names_in(cell: str) -> list[str]:
    """The names in code font in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def named_tests(text: str) -> set[tuple[str, str]]:
    """(file, test) of every `tests/...py::test_...` in a text."""
    return set(_TEST.findall(text))
