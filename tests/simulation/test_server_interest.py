"""Who a message meets: the trie of subscriptions against the definition, and the rules for subjects."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beamline_trio.simulation._server._interest import Interest, Subscription
from beamline_trio.simulation._server._subjects import collide, has_wildcard, is_literal, is_subset, is_valid
from beamline_trio.simulation._server._texts import quote

TOKENS = st.sampled_from([b"a", b"b", b"*", b">", b"a*", b""])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(b".".join)


def meets(subject: bytes, pattern: bytes) -> bool:
    """The definition: `*` is one token, `>` at the end at least one; the subject's tokens are literal."""
    tokens, wanted = subject.split(b"."), pattern.split(b".")
    if b"" in tokens:
        return False
    if wanted[-1] == b">":
        if len(tokens) < len(wanted):
            return False
        tokens, wanted = tokens[: len(wanted) - 1], wanted[:-1]
    if len(tokens) != len(wanted):
        return False
    # A literal `*` or `>` of a published subject is never equal to a literal token: no subscription can have one.
    return all(want in (b"*", token) for token, want in zip(tokens, wanted, strict=True))


@given(
    patterns=st.lists(st.tuples(SUBJECTS, st.sampled_from([None, b"q", b"r"])), max_size=8),
    gone=st.sets(st.integers(0, 7)),
    subjects=st.lists(SUBJECTS, min_size=1, max_size=6),
)
@settings(max_examples=300, deadline=None)
def test_matches_are_those_of_the_definition(
    patterns: list[tuple[bytes, bytes | None]], gone: set[int], subjects: list[bytes]
) -> None:
    """Before and after some are taken out, a subject meets exactly the patterns that the definition says."""
    interest = Interest()
    subs = [Subscription(pattern, queue, b"%d" % sid) for sid, (pattern, queue) in enumerate(patterns)]
    subs = [sub for sub in subs if interest.insert(sub)]
    assert all(is_valid(sub.subject) for sub in subs)
    for left in (subs, [sub for index, sub in enumerate(subs) if index not in gone]):
        for sub in subs:
            if sub not in left:
                interest.remove(sub)
        for subject in subjects:
            wanted = [sub for sub in left if meets(subject, sub.subject)]
            for matches in (interest.match(subject), interest.match(subject)):
                assert {sub.sid for sub in matches.plain} == {sub.sid for sub in wanted if sub.queue is None}
                groups = {group[0].queue: {sub.sid for sub in group} for group in matches.queues}
                assert groups == {
                    queue: sids for queue in (b"q", b"r") if (sids := {sub.sid for sub in wanted if sub.queue == queue})
                }


def test_the_order_of_matches() -> None:
    """`>` of a level first, then what `*` leads to, then the token; at the last level the token before `*`."""
    interest = Interest()
    for pattern in (b"a.b.c", b"a.*.c", b"a.b.*", b"a.>", b"a.b.>", b"a.*.*", b">", b"*.b.c"):
        interest.insert(Subscription(pattern))
    assert b" ".join(sub.subject for sub in interest.match(b"a.b.c").plain) == (
        b"> *.b.c a.> a.*.c a.*.* a.b.> a.b.c a.b.*"
    )


@given(
    one=SUBJECTS,
    other=SUBJECTS,
    subject=st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=5).map(b".".join),
)
@settings(max_examples=300, deadline=None)
def test_what_meets_both_lies_in_their_collision(one: bytes, other: bytes, subject: bytes) -> None:
    """Two patterns that one subject meets collide, and a subset's subjects all meet the pattern."""
    if not (is_valid(one) and is_valid(other)):
        return
    if meets(subject, one) and meets(subject, other):
        assert collide(one, other)
        assert collide(other, one)
    if is_subset(one, other) and meets(subject, one):
        assert meets(subject, other) or b"a*" in one


@pytest.mark.parametrize("subject", [b"", b".", b"a.", b".a", b"a..b", b">.a", b"a.>.b"])
def test_invalid_subjects_are_refused(subject: bytes) -> None:
    """No empty token, and `>` only at the end."""
    assert not is_valid(subject)
    assert not Interest().insert(Subscription(subject))


def test_wildcards_are_whole_tokens() -> None:
    """A star within a token is a letter."""
    assert [is_literal(subject) for subject in (b"a.b", b"a*.b", b"*.b", b"a.>", b"a..b")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [has_wildcard(subject) for subject in (b"a.b", b"a*.b", b"*.b", b"a.>", b"a>")] == [
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "data, text",
    [
        (b"a.b", '"a.b"'),
        (b'a"\\', '"a\\"\\\\"'),
        (b"\x07\x08\x0c\x0b\x01\x7f", '"\\a\\b\\f\\v\\x01\\x7f"'),
        (b"\xff\xc3", '"\\xff\\xc3"'),
        ("größe".encode(), '"größe"'),
        ("\u200b\U0010ffff\ufffd".encode(), '"\\u200b\\U0010ffff\ufffd"'),
    ],
)
def test_subjects_are_quoted_as_go_does(data: bytes, text: str) -> None:
    """%q: escapes for quotes, backslashes, control and invisible characters, and bytes that are no UTF-8."""
    assert quote(data).decode() == text
