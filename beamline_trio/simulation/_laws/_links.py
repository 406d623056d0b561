"""Laws about links: a client lets go of one that is dead, as soon as it can know.

What it can know: the end of a stream or a reset has reached its host, or nothing has come for longer than it waits for
the answer to a keep-alive.

Must not know the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...faults import Fault, FaultKind
from .._network import ConnectionRecord
from ._evidence import Evidence, Finding, Law, named

# What leaves a client without a word, for as long as it lasts.
_SILENT: Final = (FaultKind.PARTITION, FaultKind.BLACK_HOLE, FaultKind.PAUSE, FaultKind.POWER_OFF)


def notices_end(within_seconds: float = 1.0) -> Law:
    """A client whose link was ended or broken lets go of it at once.

    Args:
        within_seconds: from the moment in which its host was told; long enough to hear a server's last words.
    """

    def notices_end_(evidence: Evidence) -> Iterator[Finding]:
        for link in _client_links(evidence):
            if link.told_at is None:
                continue
            left_at = link.left_at if link.left_at is not None else evidence.ended_at
            if left_at - link.told_at > within_seconds:
                kept = left_at - link.told_at
                yield link.told_at, f"{link.source} was told the end of link {link.number}, and kept it {kept:.1f} s"

    return named(notices_end_, "notices_end")


def notices_silence(within_seconds: float) -> Law:
    """A client lets go of a link on which its server has been silent for too long, and tries elsewhere.

    Judged by the faults of the plan that keep one silent: partition, black hole, pause, power off.

    Args:
        within_seconds: `ping_interval_seconds` twice, since a PING may just have been answered and publishes may wait
            for theirs, and `pong_timeout_seconds`, of the clients.
    """

    def notices_silence_(evidence: Evidence) -> Iterator[Finding]:
        if evidence.plan is None:
            return
        began_at = evidence.faults_end_at - evidence.plan.end_seconds
        for fault in evidence.plan.faults:
            since, until = began_at + fault.at_seconds, began_at + fault.end_seconds
            if fault.kind not in _SILENT or until - since <= within_seconds:
                continue
            for link in _client_links(evidence):
                left_at = link.left_at if link.left_at is not None else evidence.ended_at
                if _meets(fault, link) and link.opened_at <= since and left_at > since + within_seconds:
                    kept = min(left_at, until) - since
                    yield since, f"{link.source} kept link {link.number} for {kept:.1f} s of silence ({fault.kind})"

    return named(notices_silence_, "notices_silence")


def told_at_loss(within_seconds: float = 1.0) -> Law:
    """Who waits for an answer over a link is told when the client lets go of it, and not left to wait.

    Unless the client moved from it to another one, by which the answer may still come.

    Args:
        within_seconds: from that moment.
    """

    def told_at_loss_(evidence: Evidence) -> Iterator[Finding]:
        journal = evidence.journal
        for note in journal.publications.values():
            links = [evidence.link(number).left_at for number in journal.written.get(note.identity, [])]
            left = [left_at for left_at in links if left_at is not None]
            if note.fate not in ("unknown", "cancelled", "open") or not left or len(left) < len(links):
                continue
            if any(evidence.moved_from(number) for number in journal.written[note.identity]):
                continue
            waited = (evidence.ended_at if note.fate == "open" else note.ended_at) - max(left)
            if waited > within_seconds:
                yield max(left), f"who waits for {note.identity} waited {waited:.1f} s after its link was given up"

    return named(told_at_loss_, "told_at_loss")


def settles(within_seconds: float = 30.0) -> Law:
    """So long behind the last fault no server hangs up on a client any more.

    Args:
        within_seconds: as for `recovers`.
    """

    def settles_(evidence: Evidence) -> Iterator[Finding]:
        well_at = evidence.faults_end_at + within_seconds
        for link in _client_links(evidence):
            if link.ended_at is None or link.told_at is None or link.ended_at < well_at:
                continue
            if link.told_at > link.ended_at:  # the other end was the first
                text = f"{link.target} ended link {link.number} of {link.source} in a system without faults"
                yield link.ended_at, f"{text} ({link.how})"

    return named(settles_, "settles")


def _client_links(evidence: Evidence) -> list[ConnectionRecord]:
    """The links that clients opened: those that the tap saw, since machines do not write by it."""
    return [evidence.link(number) for number in evidence.journal.links]


def _meets(fault: Fault, link: ConnectionRecord) -> bool:
    if fault.kind.host_count == 1:
        return fault.hosts[0] == link.target
    return set(fault.hosts) == {link.source, link.target}
