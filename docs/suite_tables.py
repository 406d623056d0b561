"""Write the tables of docs/suites/*.md from the suites themselves: each test with the law in its docstring.

`python docs/suite_tables.py`; with `--check` nothing is written, and exit code 1 says that a page is not what its
suite is. Everything outside of the two comments stays as it is.

Must not import the suites: it reads them.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Final

from _places import parted

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = ROOT / "docs" / "suites"
SUITES: Final = ROOT / "tests" / "integration" / "suites"
BEGIN: Final = "<!-- suite tables: filled by docs/suite_tables.py -->"
END: Final = "<!-- end of suite tables -->"


def cases(suite: Path) -> list[tuple[str, str]]:
    """The tests of a suite, each with the first paragraph of its docstring on one line."""
    found = [
        node
        for node in ast.parse(suite.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_")
    ]
    return [(node.name, " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())) for node in found]


def suite_of(page: Path) -> Path:
    """The suite that a page is about: the file that it names first."""
    (name, *_) = re.findall(r"tests/integration/suites/(\w+)\.py", page.read_text(encoding="utf-8"))
    return SUITES / f"{name}.py"


def text(suite: Path) -> str:
    """What stands between the comments."""
    lines = [BEGIN, "", "| case | law |", "|---|---|"]
    lines += [f"| `{case}` | {law.replace('|', '&#124;')} |" for case, law in cases(suite)]
    return "\n".join([*lines, "", END])


def filled(page: Path) -> str:
    """A page with its table as it must be."""
    before, _, behind = parted(page, BEGIN, END)
    return before + text(suite_of(page)) + behind


def main() -> int:
    """Fill the pages, or compare them."""
    pages = {page: filled(page) for page in sorted(PAGES.glob("*.md"))}
    if "--check" in sys.argv[1:]:
        return int(any(page.read_text(encoding="utf-8") != wanted for page, wanted in pages.items()))
    for page, wanted in pages.items():
        page.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
