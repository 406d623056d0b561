"""Pictures of reports, for the documentation: `python -m tests.scenarios.pictures DIRECTORY PAGE.html ...`.

Each is what a headless browser shows at the top of the page: the timeline and the first criteria.

Must not run scenarios.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ._browser import BROWSERS, find_browser, take_picture

WINDOW = (1000, 1000)


def main() -> int:
    """Take them."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.pictures")
    parser.add_argument("directory", type=Path)
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE.html")
    options = parser.parse_args()
    browser = find_browser()
    if browser is None:
        parser.error(f"no browser: none of {', '.join(BROWSERS)} is on PATH")
    options.directory.mkdir(parents=True, exist_ok=True)
    for page in options.pages:
        image = options.directory / f"{page.name.partition('-seed-')[0]}.png"
        take_picture(browser, page, image.resolve(), window=WINDOW)
        print(f"{image}: {image.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
