"""Which permissions a route needs, and which of them its user has not.

The subjects are those of JetStream's API and of ADR-31; domains and API prefixes are not the router's.

Must not ask a server.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._records import Finding, RouteNeeds, Severity, Survey


def permission_findings(route: RouteNeeds, survey: Survey) -> Iterator[Finding]:
    """What the user may not do, and the route has to."""
    permissions = survey.permissions
    if permissions is None:
        return
    user = f"the user {permissions.user!r}" if permissions.user else "the user"
    for pattern, why in _subscribed(route, survey):
        queue = route.queue_group if pattern == route.subject else None
        if not permissions.subscribe.allows(pattern, queue):
            shown = f"{pattern} {queue}" if queue else pattern
            yield Finding(
                severity=Severity.ERROR,
                route=route.name,
                what=f"{user} may not subscribe to {shown!r}, {why}",
                change=f"allow it: subscribe {shown!r}",
            )
    for pattern, why in _published(route):
        if not permissions.publish.allows(pattern):
            yield Finding(
                severity=Severity.ERROR,
                route=route.name,
                what=f"{user} may not publish to {pattern!r}, {why}",
                change=f"allow it: publish {pattern!r}",
            )
    for pattern in _advised(route):
        if not permissions.publish.allows(pattern):
            yield Finding(
                severity=Severity.WARNING,
                route=route.name,
                what=f"{user} may not publish to {pattern!r}: what the server gives up on becomes no dead letter",
                change=f"allow it: publish {pattern!r}",
            )
    if route.stream is None and not permissions.responses and not permissions.publish.allows("_INBOX.>"):
        yield Finding(
            severity=Severity.WARNING,
            route=route.name,
            what=f"{user} may not publish to '_INBOX.>': requests would get no reply",
            change="set allow_responses for the user, or allow: publish '_INBOX.>'",
        )


def _subscribed(route: RouteNeeds, survey: Survey) -> Iterator[tuple[str, str]]:
    if route.stream is None:
        yield route.subject, "where its messages come from"
    if route.stream is not None or route.stored_subjects:
        yield f"{survey.inbox_prefix}.>", "where the answers of JetStream come"


def _published(route: RouteNeeds) -> Iterator[tuple[str, str]]:
    if route.stream is not None and route.consumer is not None:
        of = f"{route.stream}.{route.consumer.durable_name or route.consumer.name}"
        # As the client asks it: with a filter that can be published to in the subject.
        end = "" if {"*", ">"} & set(route.subject.split(".")) else f".{route.subject}"
        yield f"$JS.API.CONSUMER.CREATE.{of}{end}", "to make its durable"
        yield f"$JS.API.CONSUMER.INFO.{of}", "to look at its durable"
        yield f"$JS.API.CONSUMER.MSG.NEXT.{of}", "to pull its messages"
        yield f"$JS.ACK.{of}.>", "to acknowledge them"
        if route.holds:
            yield f"$JS.API.STREAM.MSG.GET.{route.stream}", "to read what it holds of a tenant"
    if route.dead_letter is not None:
        yield route.dead_letter, "where its dead letters go"
    for target in route.targets:
        yield target.pattern, "where it publishes"


def _advised(route: RouteNeeds) -> Iterator[str]:
    """To find the stream of the server's advisories, and the messages that they are about."""
    if route.stream is not None and route.dead_letter is not None:
        yield "$JS.API.STREAM.NAMES"
        yield f"$JS.API.STREAM.MSG.GET.{route.stream}"
