"""Runs the same seeds in two processes that hash differently, and compares what they trace.

On a difference both run that seed again with their traces as files, and the first line that differs is shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

from beamline_trio.simulation import first_difference

HASH_SEEDS = ("1", "4242")


@attrs.frozen
class Traced:
    """One seed in one process."""

    seed: int
    digest: str
    entries: int
    had_plan: bool


def start(target: str, first: int, last: int, hash_seed: str, directory: Path | None = None) -> subprocess.Popen[str]:
    """A fresh process that traces the seeds."""
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.determinism._digests", target, str(first), str(last)]
    if directory is not None:
        command.append(str(directory))
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> list[Traced]:
    """What the process traced; an error if it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the process that traces ended with {process.returncode}")
    traced = []
    for line in output.splitlines():
        seed, digest, entries, had_plan = line.split()
        traced.append(Traced(int(seed), digest, int(entries), had_plan == "True"))
    return traced


def compare(target: str, first: int, last: int) -> tuple[list[Traced], list[str]]:
    """The traces of the first process, and a text for each seed whose traces differ."""
    processes = [start(target, first, last, hash_seed) for hash_seed in HASH_SEEDS]
    ours, theirs = (result(process) for process in processes)
    differences = [
        _show(target, one.seed) for one, other in zip(ours, theirs, strict=True) if one.digest != other.digest
    ]
    return ours, differences


def _show(target: str, seed: int) -> str:
    """Both traces of a seed again, as files: where they part."""
    with tempfile.TemporaryDirectory() as name:
        files = []
        for hash_seed in HASH_SEEDS:
            directory = Path(name) / hash_seed
            directory.mkdir()
            result(start(target, seed, seed, hash_seed, directory))
            files.append(directory / f"{seed}.jsonl")
        with files[0].open() as one, files[1].open() as other:
            difference = first_difference(one, other)
    if difference is None:
        return f"seed {seed}: the traces differ, and did not when they were made again"
    line, a, b = difference
    return f"seed {seed}, line {line}:\n  {(a or '(ended)').rstrip()}\n  {(b or '(ended)').rstrip()}"
