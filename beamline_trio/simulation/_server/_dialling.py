"""One attempt of a server to reach another one: it opens, fails, or is given up after a second.

Must not decide what comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._process import Process
    from ._surroundings import Link, LinkHandler, Network, Timer

_DIAL_SECONDS: Final = 1.0


def dial(
    process: Process,
    network: Network,
    address: tuple[str, int],
    opened: Callable[[Link], LinkHandler | None],
    failed: Callable[[], None],
) -> None:
    """Dial another server.

    Args:
        process: that dials.
        network: in which.
        address: host and port.
        opened: takes the link; None = hang up.
        failed: it was refused, or has taken too long.
    """
    over = False
    timer: Timer | None = None

    def take(link: Link) -> LinkHandler | None:
        return opened(link) if finish() else None

    def refused(reason: str) -> None:
        if finish():
            process.run(failed)

    def finish() -> bool:
        nonlocal over
        first, over = not over, True
        if timer is not None:
            timer.cancel()
        return first

    def too_late() -> None:
        if finish():
            if cancel is not None:
                cancel()
            failed()

    cancel = network.open_link(process.host, *address, take, refused)
    if not over:
        timer = process.call_later(_DIAL_SECONDS, too_late)
