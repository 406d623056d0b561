"""What a run has compared, for its last lines: how many cases and scripts, and how many of them differ."""

from __future__ import annotations

import attrs


@attrs.define
class Figures:
    """Counted by the tests, printed behind them.

    Attributes:
        same: cases with the same record on both servers.
        excepted: cases that differ and are listed.
        scripts: drawn scripts that were played on both.
        suspects: those that differed.
        again: cases and scripts that did not hold of the first play on the real server.
    """

    same: int = 0
    excepted: int = 0
    scripts: int = 0
    suspects: int = 0
    again: int = 0

    def lines(self) -> list[str]:
        """For the summary; nothing of what did not run."""
        lines = []
        if self.same + self.excepted:
            listed = f"{self.excepted} listed exceptions"
            lines.append(f"fidelity: {self.same} cases with the same bytes from both servers, {listed}")
        if self.scripts:
            lines.append(f"fuzz: {self.scripts} scripts on both servers, {self.suspects} differ")
        if self.again:
            lines.append(f"played more than once on the real server: {self.again}")
        return lines
