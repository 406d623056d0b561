"""The mapping of one route: a message in, a publish or a reply out, or nothing where the filter leaves it out.

Pure: the same message becomes the same effect, so that a redelivery publishes what the first delivery did.

Must not publish.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import attrs

from ...protocol import Headers, InvalidHeaderError, InvalidSubjectError
from ...router import Publish, Reply
from ._conditions import Condition
from ._errors import MappingError
from ._paths import Input, Path
from ._templates import Template, TextTemplate, fill, slots_of

PayloadKind: TypeAlias = Literal["json", "text", "bytes"]
Confirm: TypeAlias = Literal["route", "stream", "server", "none"]

# Headers that act on a stream, or that the router writes itself, are never passed on.
_NOT_KEPT: Final = ("nats-", "beamline-")


@attrs.frozen(kw_only=True)
class Mapping:
    """What a route of a file does with a message.

    Attributes:
        filter: all of these must hold; else the message is done with, and has no effect.
        transform: what the payload becomes; None = it stays as it is.
        subject: where the message goes; None = it is the reply to its sender.
        headers: of what goes out.
        keep_headers: whether the message's own headers go out too, but for those of NATS and of the router.
        confirm: as of `Publish`; "none" is None.
        payload: what the payload is read as.
    """

    filter: tuple[Condition, ...] = ()
    transform: Template | None = None
    subject: TextTemplate | None = None
    headers: tuple[tuple[str, TextTemplate], ...] = ()
    keep_headers: bool = False
    confirm: Confirm = "route"
    payload: PayloadKind = "bytes"

    @property
    def paths(self) -> Iterator[Path]:
        """Every path in it."""
        yield from (condition.path for condition in self.filter)
        templates: list[Template | None] = [self.transform, self.subject, *(value for _, value in self.headers)]
        for template in templates:
            if template is not None:
                yield from (slot.path for slot in slots_of(template))

    def apply(self, source: Input, raw: bytes) -> Publish | Reply | None:
        """The effect of a message; None when the filter leaves it out.

        Args:
            source: the message.
            raw: its payload as it came.

        Raises:
            MappingError: the message lacks what the mapping needs, or would go where nothing can.
        """
        if not all(condition.holds(source) for condition in self.filter):
            return None
        payload = raw if self.transform is None else fill(self.transform, source)
        try:
            headers = self._headers(source)
            if self.subject is None:
                return Reply(payload, headers=headers)
            subject = self.subject.subject(source)
            confirm = None if self.confirm == "none" else self.confirm
            return Publish(subject, payload, headers=headers, confirm=confirm)
        except (InvalidHeaderError, InvalidSubjectError) as error:
            raise MappingError(str(error)) from None

    def _headers(self, source: Input) -> Headers | None:
        headers = Headers()
        if self.keep_headers:
            for name, value in source.headers.items():
                if not name.lower().startswith(_NOT_KEPT):
                    headers.add(name, value)
        for name, template in self.headers:
            value = template.text(source)
            if value:
                headers[name] = value
        return headers if len(headers) else None


def payload_kind(mapping: Mapping) -> PayloadKind:
    """What the payload has to be read as: JSON as soon as a path looks at it, else it is not looked at."""
    return "json" if any(path.root == "payload" for path in mapping.paths) else "bytes"
