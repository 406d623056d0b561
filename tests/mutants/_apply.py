"""Unified diffs: read, and applied to a tree. A machine that runs the tests may have neither git nor patch.

A hunk is looked for by its text, near the line that it names: a mutant survives changes elsewhere in its file, and is
refused when the lines that it changes are gone or stand there twice.

Must not touch anything but the files that a diff names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import attrs

_MUTANTS: Final = Path(__file__).parent
_HUNK: Final = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
_BREAKS: Final = "# breaks: "
_UNDER: Final = "# under: "
_SEED: Final = "# seed: "


class DiffError(Exception):
    """A diff cannot be read, or does not apply. The text says which file and line."""


@attrs.frozen
class Hunk:
    """One place of a file: what stands there, what is to stand there, and at which line (from 0)."""

    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]


@attrs.frozen
class Mutant:
    """A change of the client's source.

    Attributes:
        name: of its file, without the ending.
        breaks: which law it breaks, and how; empty for one that was drawn.
        scenario: the file of the scenario that it is tried under, below the root; empty = the workload of the mutants.
        seed: one under which it was caught, which is tried first; 0 = one of the first few.
        files: path below the root -> hunks.
        text: the diff.
    """

    name: str
    breaks: str
    scenario: str
    seed: int
    files: dict[str, tuple[Hunk, ...]]
    text: str


def fixed_mutants() -> list[Mutant]:
    """The mutants that are kept as files, by name."""
    return [parse_diff(path.stem, path.read_text(encoding="utf-8")) for path in sorted(_MUTANTS.glob("*.diff"))]


def parse_diff(name: str, text: str) -> Mutant:
    """Read a unified diff with optional lines `# breaks: ...`, `# under: ...` and `# seed: ...` above it.

    Raises:
        DiffError: it is none.
    """
    files: dict[str, tuple[Hunk, ...]] = {}
    path, breaks, scenario, seed = "", "", "", 0
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if line.startswith(_BREAKS):
            breaks = line.removeprefix(_BREAKS)
        elif line.startswith(_UNDER):
            scenario = line.removeprefix(_UNDER)
        elif line.startswith(_SEED):
            seed = int(line.removeprefix(_SEED))
        elif line.startswith("+++ "):
            path = line.removeprefix("+++ ").split("\t")[0].removeprefix("b/")
        elif found := _HUNK.match(line):
            body: list[str] = []
            while index < len(lines) and lines[index][:1] in (" ", "+", "-", "") and not _is_header(lines, index):
                body.append(lines[index])
                index += 1
            files[path] = (*files.get(path, ()), _hunk(int(found[1]) - 1, body))
    if not files or "" in files:
        raise DiffError(f"{name} is no unified diff: it has no file, or no hunk")
    return Mutant(name, breaks, scenario, seed, files, text)


def apply_mutant(mutant: Mutant, root: Path) -> None:
    """Change the tree below `root`; nothing is written when one hunk does not apply.

    Raises:
        DiffError: a file is missing, or a hunk's lines are not there, or are there twice.
    """
    changed: dict[Path, str] = {}
    for path, hunks in mutant.files.items():
        file = root / path
        if not file.is_file():
            raise DiffError(f"{mutant.name}: {path} is not there")
        lines = file.read_text(encoding="utf-8").splitlines()
        for hunk in reversed(hunks):  # from the end, so that the line numbers of the others stay
            at = _place(mutant, path, lines, hunk)
            lines[at : at + len(hunk.before)] = hunk.after
        changed[file] = "\n".join(lines) + "\n"
    for file, text in changed.items():
        file.write_text(text, encoding="utf-8")


def _is_header(lines: list[str], index: int) -> bool:
    return lines[index].startswith("--- ") and index + 1 < len(lines) and lines[index + 1].startswith("+++ ")


def _hunk(line: int, body: list[str]) -> Hunk:
    before = tuple(text[1:] for text in body if text[:1] != "+")
    after = tuple(text[1:] for text in body if text[:1] != "-")
    return Hunk(line, before, after)


def _place(mutant: Mutant, path: str, lines: list[str], hunk: Hunk) -> int:
    size = len(hunk.before)
    places = [at for at in range(len(lines) - size + 1) if tuple(lines[at : at + size]) == hunk.before]
    if hunk.line in places:
        return hunk.line
    if len(places) != 1:
        what = "is not there any more" if not places else f"stands there {len(places)} times"
        raise DiffError(
            f"{mutant.name}: what it changes in {path} near line {hunk.line + 1} {what}; write the mutant anew"
        )
    return places[0]
