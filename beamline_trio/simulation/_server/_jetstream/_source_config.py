"""Where a stream copies from: its mirror or its sources, read from a request and checked as nats-server checks them.

Must not copy (`_sourcing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .._subjects import is_valid
from ._errors import api_error, not_modelled
from ._golang import GoError, parse_time

SHAPE: Final[dict[str, Any]] = {
    "name": "string",
    "opt_start_seq": "uint64",
    "opt_start_time": "string",
    "filter_subject": "string",
    "subject_transforms": "any",
    "external": "any",
    "domain": "string",
    "consumer": "any",
}
_NOT_MODELLED: Final = ("subject_transforms", "external", "domain", "consumer")
_FIELDS: Final = ("name", "opt_start_seq", "opt_start_time", "filter_subject")


@attrs.frozen
class Origin:
    """A stream that another one copies.

    Attributes:
        name: of the stream.
        start_sequence: the first message that is copied; 0 = the first that there is.
        start_time: or the first that is not older, in nanoseconds since the epoch; 0 = however old it is.
        subject_filter: only messages on this subject, which may be a pattern; empty = all.
    """

    name: str
    start_sequence: int = 0
    start_time: int = 0
    subject_filter: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Origin:
        """From the fields of a configuration."""
        start = fields.get("opt_start_time", "")
        return cls(
            fields["name"],
            fields.get("opt_start_seq", 0),
            parse_time(start) if start else 0,
            fields.get("filter_subject", ""),
        )


def check_origins(given: dict[str, Any]) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """The mirror and the sources of a request, in the fields of the wire.

    Raises:
        APIError: as nats-server refuses them, or because the simulation does not model them.
    """
    mirror, sources = given.get("mirror"), tuple(given.get("sources") or ())
    if mirror is not None:
        _check_mirror(given, mirror, sources)
    _check_sources(given, sources)
    return ({} if mirror is None else _kept(mirror)), tuple(_kept(source) for source in sources)


def _check_mirror(given: dict[str, Any], mirror: dict[str, Any], sources: tuple[dict[str, Any], ...]) -> None:
    if given.get("first_seq"):
        raise api_error(10143)
    if given.get("subjects"):
        raise api_error(10034)
    if sources:
        raise api_error(10031)
    if not _is_stream_name(mirror.get("name", "")):
        raise api_error(10142)
    _check_origin(given, mirror, "mirror")


def _check_sources(given: dict[str, Any], sources: tuple[dict[str, Any], ...]) -> None:
    seen: list[tuple[str, str]] = []
    for source in sources:
        if not _is_stream_name(source.get("name", "")):
            raise api_error(10141)
        _check_origin(given, source, "sources")
        if (source["name"], source.get("filter_subject", "")) in seen:
            raise api_error(10140)
        seen.append((source["name"], source.get("filter_subject", "")))


def _check_origin(given: dict[str, Any], origin: dict[str, Any], field: str) -> None:
    for name in _NOT_MODELLED:
        if origin.get(name):
            raise not_modelled(f"{name} in {field} of a stream")
    if origin["name"] == given.get("name"):
        raise api_error(10052, "detected cycle")
    pattern = origin.get("filter_subject", "")
    if pattern and not is_valid(pattern.encode()):
        what = "mirror" if field == "mirror" else "source:"
        raise api_error(10049, f"subject filter '{pattern}' for the {what} invalid subject")
    try:
        Origin.of(origin)
    except GoError as error:
        raise api_error(10025, error) from None


def _is_stream_name(name: str) -> bool:
    return bool(name) and not any(char in " \t\r\n\f.*>\\/" for char in name)


def _kept(origin: dict[str, Any]) -> dict[str, Any]:
    return {name: origin[name] for name in _FIELDS if origin.get(name)}
