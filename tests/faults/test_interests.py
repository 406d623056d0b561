"""Laws of the book of subscriptions: whom an answer would reach, as a server would know it."""

from __future__ import annotations

import pytest

from beamline_trio.faults import _interests
from beamline_trio.faults._interests import Interests
from beamline_trio.faults._splitter import split_to_server


def interests(*lines: bytes) -> Interests:
    """After these lines of a client."""
    book = Interests()
    for line in lines:
        for piece in split_to_server().feed(line + b"\r\n"):
            assert piece.frame is not None
            book.passed(piece.frame)
    return book


@pytest.mark.parametrize(
    "lines,sids",
    [
        ([], []),
        ([b"SUB _INBOX.a.* 7"], [b"7"]),
        ([b"SUB _INBOX.b.* 7", b"SUB _INBOX.a 8", b"SUB _INBOX.a.1.* 9"], []),
        ([b"SUB _INBOX.> 7", b"SUB _INBOX.a.1 8"], [b"7", b"8"]),
        ([b"SUB > q 7", b"SUB _INBOX.a.* q 8", b"SUB > r 9"], [b"7", b"9"]),
        ([b"SUB _INBOX.a.* 7", b"SUB b 7"], [b"7"]),
        ([b"SUB _INBOX.a.* 7", b"UNSUB 7", b"SUB _INBOX.a.1 8", b"UNSUB 9"], [b"8"]),
        ([b"SUB _INBOX.a.1 7", b"UNSUB 7 1", b"UNSUB 8 1"], [b"7"]),
        ([b"SUB _INBOX.a.1 7", b"UNSUB 7 1", b"UNSUB 7"], []),
    ],
)
def test_whom_an_answer_reaches(lines: list[bytes], sids: list[bytes]) -> None:
    """Every subscription whose pattern covers the subject, one of each queue group; what ended is none."""
    assert interests(*lines).of(b"_INBOX.a.1") == sids


def test_what_ends_by_itself_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of subscriptions with a limit the oldest are forgotten, the others never."""
    monkeypatch.setattr(_interests, "ENDING_MAX", 3)
    lines = [line % sid for sid in range(10) for line in (b"SUB a %d", b"UNSUB %d 1")]
    assert interests(b"SUB a mux", *lines).of(b"a") == [b"mux", b"7", b"8", b"9"]
