"""`attrs.frozen` for the records of the path, whose classes are made in less than two thirds of its time.

attrs writes an `__eq__`, a `__hash__` and a `__repr__` for each class and compiles them when the class is made. Here
all records share one of each, which look up the fields of a class when it first needs them. They answer what attrs' own
would, and respect a field's `eq=False` and `repr=False`.

Must not be used for a class whose instances are compared, hashed or shown for each message: attrs' own are faster then.
"""

from __future__ import annotations

import functools
import operator
import reprlib
import typing
from collections.abc import Callable

import attrs

if typing.TYPE_CHECKING:
    # Under its own name: type checkers know what attrs' own does with a class.
    from attrs import frozen as frozen
else:

    def frozen(cls=None, *, kw_only=False):
        """A frozen record of a class, as `attrs.frozen` makes it; what the class defines itself stays."""
        if cls is None:
            return functools.partial(frozen, kw_only=kw_only)
        for name, method in _SHARED.items():
            if name not in vars(cls):
                setattr(cls, name, method)
        return attrs.frozen(cls, kw_only=kw_only)


@functools.cache
def _compared(cls: type[attrs.AttrsInstance]) -> Callable[[object], object]:
    """What reads from a record of this class all that makes it equal to another, its class included."""
    return operator.attrgetter("__class__", *(field.name for field in attrs.fields(cls) if field.eq))


@functools.cache
def _shown(cls: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(cls) if field.repr)


def _eq(self: attrs.AttrsInstance, other: object) -> object:
    if other.__class__ is not self.__class__:
        return NotImplemented
    values = _compared(self.__class__)
    return values(self) == values(other)


def _hash(self: attrs.AttrsInstance) -> int:
    return hash(_compared(self.__class__)(self))


@reprlib.recursive_repr("...")
def _repr(self: attrs.AttrsInstance) -> str:
    cls = self.__class__
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in _shown(cls))
    return f"{cls.__qualname__.rpartition('>.')[2]}({values})"


_SHARED: typing.Final = {"__eq__": _eq, "__hash__": _hash, "__repr__": _repr}
