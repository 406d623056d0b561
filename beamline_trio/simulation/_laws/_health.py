"""Laws about liveness: after the last fault the system becomes well again, and meanwhile it does not run wild."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from ._evidence import Evidence, Finding, Law, named

_STAMPEDE: Final = 25
# So many that a member of a queue group of two is left out by chance in one of 500,000 runs.
_ENOUGH: Final = 20
# What is published right before the end may still be on its way.
_ON_THE_WAY_SECONDS: Final = 1.0


def recovers(within_seconds: float = 30.0, *, publishers: Sequence[str] = ()) -> Law:
    """So long after the last fault, everything that is begun succeeds; and something is begun by every publisher.

    Args:
        within_seconds: longer than the longest delay between two attempts, and the time that one takes.
        publishers: who must be among them; others are judged only if they ever published anything.
    """

    def recovers_(evidence: Evidence) -> Iterator[Finding]:
        well_at = evidence.faults_end_at + within_seconds
        seen: dict[str, bool] = dict.fromkeys(publishers, False)
        for note in evidence.journal.publications.values():
            seen.setdefault(note.publisher, False)
            if note.began_at < well_at:
                continue
            seen[note.publisher] = True
            if note.fate not in ("confirmed", "sent", "cancelled"):
                yield note.began_at, f"{note.identity} is {note.fate} in a system without faults ({note.reason})"
        for publisher, began in seen.items():
            if not began:
                after = f"after {well_at:g} s, {within_seconds:g} s behind the last fault"
                yield evidence.ended_at, f"{publisher} began nothing {after}"
        yield from _unheard(evidence, well_at)

    return named(recovers_, "recovers")


def every_call_ends(evidence: Evidence) -> Iterator[Finding]:
    """No call of the application is still waiting when the run ends."""
    for note in evidence.journal.publications.values():
        if note.fate == "open":
            yield note.began_at, f"the call for {note.identity} never ended"


def bounded_calls(within_seconds: float) -> Law:
    """No call of the application lasts longer than that, whatever happens and whatever comes of it.

    Args:
        within_seconds: the sum of the clients' `pending_timeout_seconds` and `operation_timeout_seconds`, and of what
            they need to find out that a link is dead.
    """

    def bounded_calls_(evidence: Evidence) -> Iterator[Finding]:
        for note in evidence.journal.publications.values():
            lasted = (evidence.ended_at if note.fate == "open" else note.ended_at) - note.began_at
            if lasted > within_seconds:
                text = f"the call for {note.identity} lasted {lasted:.1f} s ({note.fate})"
                yield note.began_at + within_seconds, text

    return named(bounded_calls_, "bounded_calls")


def paced_dials(longest_seconds: float = 5.0, attempt_seconds: float = 5.0, first_seconds: float | None = None) -> Law:
    """While it is down a client tries again: at once, never so long apart as to oversleep, never in a stampede.

    Args:
        longest_seconds: `reconnect_delay_max_seconds` of the clients.
        attempt_seconds: `connect_timeout_seconds` of the clients.
        first_seconds: how soon the first attempt comes when a link was lost that had lived for a while. Only where each
            host has one client from beginning to end: the dials of one cannot be told from those of another.
    """

    def paced_dials_(evidence: Evidence) -> Iterator[Finding]:
        for host, dials in evidence.network.dials().items():
            for before, dial in itertools.pairwise(dials):
                waited = dial.at - (before.ended_at if before.ended_at is not None else before.at)
                if not before.succeeded and waited > longest_seconds + attempt_seconds + 1.0:
                    yield dial.at, f"{host} waited {waited:.1f} s before it dialled again"
            for first, last in zip(dials, dials[_STAMPEDE:], strict=False):
                if last.at - first.at < 1.0:
                    yield last.at, f"{host} dialled {_STAMPEDE + 1} times within a second"
                    break
        if first_seconds is not None:
            # Longer than an attempt may take: it was established, and has lived for long enough to be a fresh start.
            yield from _first_dials(evidence, attempt_seconds + longest_seconds, first_seconds)

    return named(paced_dials_, "paced_dials")


def _first_dials(evidence: Evidence, lived_seconds: float, first_seconds: float) -> Iterator[Finding]:
    dials = evidence.network.dials()
    for number in evidence.journal.links:
        link = evidence.link(number)
        if link.left_at is None or link.left_at - link.opened_at < lived_seconds or evidence.moved_from(number):
            continue
        # A dial that was under way (to leave a server that shuts down) is the first one.
        under_way = (dial.ended_at for dial in dials.get(link.source, ()) if dial.at < link.left_at)
        free_at = max((end for end in under_way if end is not None and end > link.left_at), default=link.left_at)
        following = next((dial.at for dial in dials.get(link.source, ()) if dial.at >= free_at), free_at)
        waited = following - free_at
        if waited > first_seconds:
            yield following, f"{link.source} waited {waited:.1f} s before it dialled for the first time"


def _unheard(evidence: Evidence, well_at: float) -> Iterator[Finding]:
    """Who was ever given anything is given something of what is published in the healthy system.

    Judged only where enough is published for each member of a queue group to have its share, and not for receivers
    whose end the application noted.
    """
    journal = evidence.journal
    audience: dict[str, dict[str, None]] = {}
    hears: set[str] = set()
    for delivery in journal.deliveries:
        audience.setdefault(delivery.subject, {})[delivery.who] = None
        note = journal.publications.get(delivery.identity)
        if note is not None and note.began_at >= well_at:
            hears.add(delivery.who)
    published: dict[str, int] = {}
    for note in journal.publications.values():
        if well_at <= note.began_at <= evidence.ended_at - _ON_THE_WAY_SECONDS and note.fate in ("confirmed", "sent"):
            published[note.subject] = published.get(note.subject, 0) + 1
    for subject, count in published.items():
        for who in audience.get(subject, {}):
            if count >= _ENOUGH and who not in hears and who not in journal.ended:
                yield well_at, f"{who} was given none of {count} messages on {subject} in a system without faults"
