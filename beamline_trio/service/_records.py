"""What a service is: its name and version, its endpoints, and what each has counted (ADR-32).

Must not send, and must not count: the numbers are read where the work happens, when somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..protocol import NatsError, encode_pattern, frozen

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+\Z")
_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_PRERELEASE: Final = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMANTIC_VERSION: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PRERELEASE}(?:\.{_PRERELEASE})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z"
)
_CHARACTERS_MAX: Final = 255


class ServiceError(NatsError, ValueError):
    """A service or an endpoint has a name, a version or a subject that discovery does not take."""


@frozen(kw_only=True)
class EndpointStatistics:
    """What an endpoint has counted.

    Attributes:
        requests: messages that it was given and has done with.
        errors: those of them that failed.
        seconds: how long they took, together.
        last_error: the last failure, in words; empty without one.
        data: anything more, as JSON; None = nothing.
    """

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    last_error: str = ""
    data: Mapping[str, Any] | None = None


def _checked_name(_: object, field: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or len(value) > _CHARACTERS_MAX or _NAME.match(value) is None:
        raise ServiceError(
            f"the {field.name} is {value!r}; it must be 1 to {_CHARACTERS_MAX} of letters, digits, - and _ (ADR-32)"
        )


def _checked_version(_: object, field: attrs.Attribute[str], value: str) -> None:
    too_long = isinstance(value, str) and len(value) > _CHARACTERS_MAX
    if not isinstance(value, str) or too_long or _SEMANTIC_VERSION.match(value) is None:
        raise ServiceError(f"the {field.name} is {value!r}; it must be a semantic version, as 1.2.3 (ADR-32)")


def _checked_subject(_: object, field: attrs.Attribute[str], value: str) -> None:
    encode_pattern(value)


@frozen(kw_only=True)
class Endpoint:
    """Something that answers requests.

    Attributes:
        name: letters, digits, - and _.
        subject: where it takes requests; may have wildcards.
        queue_group: of the instances of one group each request reaches one; None = each reaches all.
        metadata: names and texts, shown as they are.
        statistics: called when somebody asks for them.

    Raises:
        ServiceError: the name will not do.
        InvalidSubjectError: the subject cannot be subscribed to.
    """

    name: str = attrs.field(validator=_checked_name)
    subject: str = attrs.field(validator=_checked_subject)
    queue_group: str | None = None
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    statistics: Callable[[], EndpointStatistics] = EndpointStatistics


@frozen(kw_only=True)
class Service:
    """An instance of a service.

    Attributes:
        name: what kind of service; all instances have it. Letters, digits, - and _.
        version: a semantic version.
        description: for people.
        metadata: names and texts, shown as they are.
        endpoints: what answers its requests.

    Raises:
        ServiceError: the name or the version will not do.
    """

    name: str = attrs.field(validator=_checked_name)
    version: str = attrs.field(validator=_checked_version)
    description: str = ""
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    endpoints: tuple[Endpoint, ...] = ()
