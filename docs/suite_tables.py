"""Write the tables of docs/suites.md from the suites themselves: each test with the law in its docstring.

`python docs/suite_tables.py`; with `--check` nothing is written, and exit code 1 says that the page is not what the
suites are. Everything outside of the two comments stays as it is.

Must not import the suites: it reads them.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "suites.md"
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


def listed() -> list[str]:
    """The suites in the order in which the page's first table lists them."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    listed = (line.split("|") for line in lines[: lines.index("## Running them")] if line.startswith("| `test_"))
    return [cells[1].strip(" `") for cells in listed]


def text() -> str:
    """What stands between the comments."""
    lines = [BEGIN, ""]
    for name in listed():
        suite = SUITES / f"{name}.py"
        if suite.exists():
            lines += [f"### `{name}`", "", "| case | law |", "|---|---|"]
            lines += [f"| `{case}` | {law.replace('|', '&#124;')} |" for case, law in cases(suite)]
            lines.append("")
    return "\n".join([*lines, END])


def main() -> int:
    """Fill the page, or compare it."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no place for the tables: the lines {BEGIN} and {END}")
    filled = before + text() + behind
    if "--check" in sys.argv[1:]:
        return int(filled != page)
    PAGE.write_text(filled, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
