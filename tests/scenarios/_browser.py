"""The headless browser of the machine, if it has one, and what it shows of a page.

Must not know reports.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
WINDOW = (1280, 1000)
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")


def find_browser() -> str | None:
    """The first of them that is on PATH."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def take_picture(browser: str, page: Path, image: Path, *flags: str, window: tuple[int, int] = WINDOW) -> None:
    """Write what a browser shows of a page, at its top, as a PNG.

    Raises:
        RuntimeError: it made none; the text is what it said.
    """
    size = f"--window-size={window[0]},{window[1]}"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size, *flags]
    done = subprocess.run(
        [*command, f"--screenshot={image}", page.resolve().as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if not image.exists():
        raise RuntimeError(f"{browser} made no picture of {page}: {done.stderr.strip()}")
