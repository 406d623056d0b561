"""From what a router needs and what a server has to findings: what to change, and where.

Pure: everything it looks at is in its two arguments.

Must not ask a server; see `_survey`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from ...jetstream import ConsumerConfig, StreamConfig, StreamInfo
from ._patterns import covers, overlap
from ._permission_plan import permission_findings
from ._records import Finding, RouteNeeds, Severity, Survey

# What the server counts with when a configuration does not say (nats-server 2.15).
_DUPLICATE_WINDOW_SECONDS: Final = 120.0
# What the server never changes in a consumer that is there.
_FIXED: Final = ("deliver_policy", "opt_start_seq", "opt_start_time", "ack_policy", "replay_policy", "max_waiting")
_OWN: Final = ("name", "durable_name", "description", "metadata", "extra")


def find_problems(needs: Sequence[RouteNeeds], survey: Survey) -> tuple[Finding, ...]:
    """Everything that is wrong between what routes need and what a server has, errors first.

    Args:
        needs: of each route.
        survey: what was found.
    """
    found = [*_between(needs), *_unanswered(survey)]
    for route in needs:
        found += _of_route(route, survey)
        found += permission_findings(route, survey)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: one.severity is not Severity.ERROR))


def _of_route(route: RouteNeeds, survey: Survey) -> Iterator[Finding]:
    if survey.jetstream is not None:
        if route.stream is not None or route.stored_subjects:
            yield _error(
                route, f"it needs JetStream, and {survey.jetstream}", "enable it for the server and the account"
            )
        return
    if route.stream is not None:
        yield from _source(route, route.stream, survey)
        if route.dead_letter is None:
            yield _warning(
                route, "it has no dead letter: what is given up is terminated, and gone", "give it dead_letter="
            )
    for subject in route.stored_subjects:
        yield from _taken(route, subject, survey)


def _source(route: RouteNeeds, stream: str, survey: Survey) -> Iterator[Finding]:
    info = survey.streams.get(stream)
    if info is None:
        if f"STREAM.INFO.{stream}" not in survey.unanswered:
            config = f"StreamConfig(name={stream!r}, subjects=({route.subject!r},))"
            yield _error(route, f"there is no stream {stream!r}", f"create it, as create_stream({config})")
        return
    subjects = _subjects(info.config)
    if not any(overlap(one, route.subject) for one in subjects):
        yield _error(
            route,
            f"the stream {stream!r} takes {_list(subjects)}, and so nothing that {route.subject!r} matches",
            "correct the subject of the route, or of the stream",
        )
    elif not any(covers(one, route.subject) for one in subjects) and not _mirrors(info):
        yield _warning(
            route,
            f"the stream {stream!r} takes {_list(subjects)}, which is only a part of {route.subject!r}",
            "add the rest to the stream, or narrow the route",
        )
    if route.consumer is not None:
        yield from _durable(route, stream, route.consumer, survey)


def _durable(route: RouteNeeds, stream: str, wanted: ConsumerConfig, survey: Survey) -> Iterator[Finding]:
    name = wanted.durable_name or wanted.name or ""
    info = survey.consumers.get((stream, name))
    if info is None:
        return  # the router makes it
    has = info.config
    if has.backoff_seconds:
        yield _error(
            route,
            f"the durable {name!r} has a backoff, whose first value of {has.backoff_seconds[0]:g} s replaces its ack "
            "wait: every slower handler would run twice",
            "take the backoff out of the consumer; the delays of retry= take its place",
        )
    if info.paused:
        yield _warning(route, f"the durable {name!r} is paused", "resume it")
    for field, value, present in _differences(wanted, has):
        fixed = field in _FIXED
        yield (_error if fixed else _warning)(
            route,
            f"the durable {name!r} has {field} {present!r}, and the route wants {value!r}",
            "the server cannot change it: delete the consumer, or give the route another durable"
            if fixed
            else "the router changes it when it starts; change one of them if that is not meant",
        )


def _differences(wanted: ConsumerConfig, has: ConsumerConfig) -> Iterator[tuple[str, Any, Any]]:
    for field in attrs.fields(ConsumerConfig):
        value, present = getattr(wanted, field.name), getattr(has, field.name)
        if field.name not in _OWN and value is not None and value != present:
            yield field.name, value, present


def _taken(route: RouteNeeds, subject: str, survey: Survey) -> Iterator[Finding]:
    """A stream has to take what goes to a subject."""
    names = survey.takers.get(subject)
    if names is None:
        return  # it could not be asked
    what = "dead letters" if subject == route.dead_letter else "what it publishes"
    if not names:
        yield _error(
            route,
            f"no stream takes {what} to {subject!r}: none could be confirmed, and its messages would come again",
            f"create a stream with the subject {subject!r}",
        )
        return
    streams = {name: survey.streams[name] for name in names if name in survey.streams}
    if not any(covers(one, subject) for info in streams.values() for one in _subjects(info.config)):
        yield _warning(
            route,
            f"{_list(names)} take only a part of {what} to {subject!r}: the rest could not be confirmed",
            f"let one stream take {subject!r}",
        )
    for name, info in streams.items():
        if name == route.stream and overlap(subject, route.subject):
            yield _error(
                route, f"{what} to {subject!r} would come back to it from {name!r}", "let them go to another subject"
            )
        yield from _keeps(route, subject, name, info.config)


def _keeps(route: RouteNeeds, subject: str, name: str, config: StreamConfig) -> Iterator[Finding]:
    if config.sealed:
        yield _error(route, f"the stream {name!r} of {subject!r} is sealed", "take another stream")
    if subject == route.dead_letter:
        bounds = [field for field in ("max_msgs", "max_bytes") if (getattr(config, field) or 0) > 0]
        if bounds and config.discard in (None, "old"):
            yield _warning(
                route,
                f"the stream {name!r} of dead letters drops its oldest ones at its {' and '.join(bounds)}",
                'set its discard to "new": the router then keeps the messages until there is room',
            )
        if config.retention == "interest":
            yield _error(
                route,
                f"the stream {name!r} of dead letters has the retention interest: without a consumer it keeps nothing",
                "take the retention limits",
            )
    window = config.duplicate_window_seconds or _DUPLICATE_WINDOW_SECONDS
    if window < route.redelivery_seconds:
        yield _warning(
            route,
            f"the stream {name!r} remembers message ids for {window:g} s, and a message may come again for "
            f"{route.redelivery_seconds:g} s: what it publishes to {subject!r} may be stored twice",
            f"set duplicate_window_seconds of the stream to at least {route.redelivery_seconds:g}",
        )


def _between(needs: Sequence[RouteNeeds]) -> Iterator[Finding]:
    """What routes are to each other."""
    durables: dict[tuple[str, str], str] = {}
    for route in needs:
        if route.stream is None or route.consumer is None:
            continue
        key = (route.stream, route.consumer.durable_name or "")
        first = durables.setdefault(key, route.name)
        if first != route.name:
            yield _error(
                route,
                f"it has the durable {key[1]!r} of {route.stream!r}, which is that of the route {first!r} too: they "
                "would take each other's messages",
                "give each route a durable of its own",
            )


def _unanswered(survey: Survey) -> Iterator[Finding]:
    for asked, why in survey.unanswered.items():
        yield Finding(
            severity=Severity.WARNING,
            route="",
            what=f"{asked} could not be asked: {why}",
            change="allow it to the user of this check, or check with another one",
        )


def _subjects(config: StreamConfig) -> tuple[str, ...]:
    return tuple(config.subjects) if config.subjects else (config.name,)


def _mirrors(info: StreamInfo) -> bool:
    """Whether it has messages of other streams, whose subjects are not its own."""
    return info.config.mirror is not None or bool(info.config.sources)


def _list(subjects: Sequence[str]) -> str:
    return ", ".join(map(repr, subjects))


def _error(route: RouteNeeds, what: str, change: str) -> Finding:
    return Finding(severity=Severity.ERROR, route=route.name, what=what, change=change)


def _warning(route: RouteNeeds, what: str, change: str) -> Finding:
    return Finding(severity=Severity.WARNING, route=route.name, what=what, change=change)
