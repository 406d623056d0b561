"""Cases: what buckets of keys and values are made of: direct gets, markers of deleted subjects, roll-ups by subject."""

from __future__ import annotations

from typing import Any

from ._cases_js_streams import js_case
from ._jetstream_steps import SECOND, ask, post, request, store, stream
from ._script import Case, Step, Wait, quiet


def direct(what: str, body: Any = b"", **fields: Any) -> list[Step]:
    """A direct get, and its answer."""
    return ask(f"DIRECT.GET.{what}", body, **fields)


def every(name: str, count: int) -> list[Step]:
    """The first so many sequences of a stream, each read directly."""
    return [step for sequence in range(1, count + 1) for step in direct(name, {"seq": sequence})]


def counts(name: str) -> list[Step]:
    """What a stream has, by subject."""
    return ask(f"STREAM.INFO.{name}", {"subjects_filter": ">", "deleted_details": True})


MARKED: tuple[dict[str, Any], ...] = (
    {"subject_delete_marker_ttl": SECOND},
    {"subject_delete_marker_ttl": SECOND, "max_age": SECOND // 2},
    {"subject_delete_marker_ttl": SECOND, "deny_purge": True},
    {"subject_delete_marker_ttl": SECOND, "pedantic": True},
    {"subject_delete_marker_ttl": SECOND, "allow_msg_ttl": True, "pedantic": True},
    {"subject_delete_marker_ttl": SECOND // 2},
    {"subject_delete_marker_ttl": SECOND // 2, "duplicate_window": 1},
    {"subject_delete_marker_ttl": -1},
    {"subject_delete_marker_ttl": -1, "max_age": -1},
    {"subject_delete_marker_ttl": -1, "discard_new_per_subject": True},
)
UPDATES: tuple[dict[str, Any], ...] = ({"subject_delete_marker_ttl": SECOND}, {}, {"allow_msg_ttl": True})

CASES: tuple[Case, ...] = (
    js_case(
        "js direct gets",
        stream("S", allow_direct=True),
        request(b"S.1", b"m1"),
        request(b"S.2", b"m2", A_B="v"),
        request(b"S.1", b"", X=1),
        *(
            direct("S", body)
            for body in (
                {"seq": 1},
                {"seq": 2},
                {"seq": 3},
                {"seq": 9},
                {"last_by_subj": "S.1"},
                {"last_by_subj": "S.*"},
                {"last_by_subj": "S.9"},
                {"next_by_subj": "S.1"},
                {"next_by_subj": "S.1", "seq": 2},
                {"next_by_subj": "S.1", "seq": 4},
                {"next_by_subj": "S.1", "start_time": "2001-01-01T00:00:00Z"},
                {"start_time": "2001-01-01T00:00:00Z"},
                {"start_time": "2101-01-01T00:00:00Z"},
                {"seq": 2, "no_hdr": True},
                {"seq": 3, "no_hdr": True},
                {"seq": 1, "batch": 0, "unknown": 1},
            )
        ),
        *(direct(f"S.{subject}") for subject in ("S.1", "S.2", "S.9")),
        direct("S.S.1", b"{}"),
        ask("INFO"),
        shows=[b"Nats-Subject: S.2\r\nNats-Sequence: 2\r\n", b"404 Message Not Found"],
    ),
    js_case(
        "js direct gets that are refused",
        stream("S", allow_direct=True),
        store("S", 1),
        *(
            direct("S", body)
            for body in (
                b"",
                b" ",
                b"xx",
                b"[]",
                {},
                {"seq": 0},
                {"seq": -1},
                {"seq": "x"},
                {"last_by_subj": ""},
                {"start_time": "xx"},
                {"up_to_seq": 1},
                {"seq": 1, "last_by_subj": "S.1"},
                {"seq": 1, "start_time": "2001-01-01T00:00:00Z"},
                {"last_by_subj": "S.1", "next_by_subj": "S.1"},
                {"last_by_subj": "S.1", "start_time": "2001-01-01T00:00:00Z"},
            )
        ),
        direct("S.S.1", {"seq": 1}),
        direct("S", {"seq": 1}, Nats_Required_Api_Level=99),
        direct("S.S.1", Nats_Required_Api_Level=99),
        direct("NONE", {"seq": 1}),
        ask("DIRECT.GET"),
        stream("T"),
        direct("T", {"seq": 1}),
        direct("T.T.1"),
        post(b"$JS.API.DIRECT.GET.S", {"seq": 1}, tag=""),
        quiet(),
        shows=[b"408 Empty Request", b"408 Malformed Request", b"408 Bad Request", b"412 Required Api Level", b"503"],
    ),
    js_case(
        "js streams with markers",
        *(step for config in MARKED for step in (*stream("K", **config), *ask("STREAM.DELETE.K"))),
        stream("K"),
        *(ask("STREAM.UPDATE.K", {"name": "K", "subjects": ["K.>"], **config}) for config in UPDATES),
        shows=[
            b"if roll-ups are disabled",
            b"must be at least 1 second",
            b"must not be negative",
            b"can not be disabled",
        ],
    ),
    js_case(
        "js markers of what has expired",
        stream("K", subject_delete_marker_ttl=3 * SECOND, allow_direct=True, max_msgs_per_subject=1, discard="new"),
        request(b"K.1", b"a", Nats_TTL=1),
        request(b"K.2", b"", KV_Operation="DEL", Nats_TTL=1),
        request(b"K.3", b"", KV_Operation="PURGE", Nats_TTL=1),
        request(b"K.4", b"z"),
        request(b"K.5", b"z"),
        request(b"K.6", b"", Nats_Marker_Reason="Foo", Nats_TTL=1),
        ask("STREAM.MSG.DELETE.K", {"seq": 4}),
        ask("STREAM.PURGE.K", {"filter": "K.5"}),
        Wait(2.0),
        counts("K"),
        every("K", 8),
        request(b"K.1", b"new", Nats_Expected_Last_Subject_Sequence=0),
        request(b"K.1", b"new", Nats_Expected_Last_Subject_Sequence=7),
        Wait(3.5),
        counts("K"),
        shows=[b"Nats-Marker-Reason: MaxAge\r\nNats-TTL: 3s\r\nNats-Rollup: sub\r\n", b"wrong last sequence: 7"],
    ),
    js_case(
        "js markers and older messages of a subject",
        stream("K", subject_delete_marker_ttl=2500_000_000, allow_direct=True, max_msgs_per_subject=5),
        request(b"K.1", b"old"),
        request(b"K.1", b"new", A=1, Nats_TTL="1s", B=2),
        request(b"K.2", b"a", A=1, Nats_TTL="2500ms", B=2),
        request(b"K.3", b"a", A=1, Nats_TTL="never", B=2),
        request(b"K.4", b"", KV_Operation="PURGE", Nats_TTL=1, Nats_Rollup="sub"),
        every("K", 5),
        Wait(3.4),
        counts("K"),
        every("K", 6),
        shows=[b"A: 1\r\nB: 2\r\nNats-TTL: 2\r\n", b"Nats-TTL: 2s"],
    ),
    js_case(
        "js markers of what is too old",
        stream("A", subject_delete_marker_ttl=90 * SECOND, allow_direct=True, max_msgs_per_subject=3, max_age=SECOND),
        request(b"A.1", b"a"),
        request(b"A.1", b"b"),
        request(b"A.2", b"c", Nats_TTL=300),
        request(b"A.3", b"d", Nats_TTL="never"),
        request(b"A.4", b"", KV_Operation="PURGE"),
        request(b"A.5", b"", KV_Operation="DEL"),
        Wait(1.6),
        counts("A"),
        every("A", 9),
        Wait(2.0),
        counts("A"),
        shows=[b"Nats-TTL: 1m30s"],
    ),
    js_case(
        "js markers that there is no room for",
        stream(
            "F",
            subject_delete_marker_ttl=10 * SECOND,
            allow_direct=True,
            max_bytes=110,
            max_msgs_per_subject=1,
            discard="new",
        ),
        request(b"F.1", b"a", Nats_TTL=1),
        Wait(2.0),
        counts("F"),
        ask(
            "STREAM.UPDATE.F",
            {
                "name": "F",
                "subjects": ["F.>"],
                "max_msgs_per_subject": 1,
                "subject_delete_marker_ttl": 10 * SECOND,
                "allow_direct": True,
                "discard": "new",
            },
        ),
        Wait(8.0),
        counts("F"),
        shows=b'"last_seq":2',
    ),
)
