"""Records: what classes of `frozen` answer is what attrs' own would answer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamline_trio.protocol import Credentials, ServerInfo, frozen

_Maker = Callable[[type], type]


def _made_by(maker: _Maker) -> type[Any]:
    class Record:
        """A field that counts, one that is not compared, one that is not shown."""

        name: Any
        note: Any = attrs.field(default=0, eq=False)
        key: Any = attrs.field(default=0, repr=False)

    Record.__qualname__ = "_made_by.<locals>.Record"
    return maker(Record)


_Ours = _made_by(frozen)
_Theirs = _made_by(attrs.frozen)
_values = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.text("a'", max_size=2), st.just(("a",)))
_fields = st.tuples(_values, _values, _values)


@given(_fields, _fields)
def test_records_are_equal_where_those_of_attrs_are(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Equal are records of one class whose compared fields are equal, and then their hashes are."""
    equal = _Ours(*one) == _Ours(*other)
    assert equal is (_Theirs(*one) == _Theirs(*other))
    assert (_Ours(*one) != _Ours(*other)) is not equal
    assert not equal or hash(_Ours(*one)) == hash(_Ours(*other))


@given(_fields)
def test_a_record_shows_what_one_of_attrs_shows(fields: tuple[Any, ...]) -> None:
    """The text is that of attrs, less the fields that are not to be seen."""
    assert repr(_Ours(*fields)) == repr(_Theirs(*fields))


def test_a_record_equals_none_of_another_class() -> None:
    """A subclass, or a record with the same fields, is something else; so is their hash."""

    @frozen
    class Whole:
        size: int

    @frozen
    class Part(Whole):
        pass

    class Undecorated(Whole):
        pass

    records = [Whole(1), Part(1), Undecorated(1), 1]
    assert [[one == other for other in records] for one in records] == [
        [one is other for other in records] for one in records
    ]
    assert len({hash(record) for record in records[:3]}) == 3
    assert Undecorated(1) == Undecorated(1)


def test_a_record_without_fields_is_like_every_other() -> None:
    """Records of a class that says all by its name are equal."""

    @frozen
    class Ended:
        pass

    assert Ended() == Ended()
    assert hash(Ended()) == hash(Ended())
    assert repr(Ended()) == "Ended()"


def test_a_record_that_holds_itself_can_be_shown() -> None:
    """Where a record comes back to itself its text says so, and ends."""
    held: list[object] = []
    record = _Ours(held)
    held.append(record)
    assert repr(record) == "Record(name=[...], note=0)"


def test_what_a_class_defines_itself_stays() -> None:
    """A record's own text and equality are not replaced."""

    @frozen(kw_only=True)
    class Named:
        name: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Named)

        def __hash__(self) -> int:
            return 1

        def __repr__(self) -> str:
            return self.name

    assert Named(name="a") == Named(name="b")
    assert hash(Named(name="a")) == 1
    assert repr(Named(name="a")) == "a"


def test_a_record_is_one_of_attrs() -> None:
    """It has slots and is frozen, and what attrs offers for its classes works on it."""
    info = ServerInfo(server_id="a", version="2.12.0")
    assert attrs.evolve(info, server_id="b").server_id == "b"
    assert not hasattr(info, "__dict__")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        info.server_id = "b"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(info)) == copy.deepcopy(info) == info
    assert attrs.asdict(Credentials(user="u"))["user"] == "u"
