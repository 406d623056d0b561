"""Models of three libraries from JSON and back: attrs and dataclasses by cattrs, msgspec's Structs, pydantic's models.

None of them is imported before an annotation or a value needs it. Whoever has a Struct or a model has its library, so
only cattrs can be missing. As cattrs is generous by itself ("12" is an int to it, a dict is a str), the converter made
here takes of each type what JSON has of it and nothing else.

Must not know payloads of messages, handlers or routes.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import attrs

from ..protocol import MissingExtraError
from ._json import check_numbers, check_text, json_name, load_json

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

Loader: TypeAlias = Callable[[bytes], object]
Structure: TypeAlias = Callable[[Any, Any], object]

_DETAILS_MAX: Final = 3
# What is made of arrays by way of a list.
_GATHERED: Final[dict[Any, Callable[[Iterable[Any]], Collection[Any]]]] = {
    tuple: tuple,
    Sequence: tuple,
    Collection: tuple,
    Iterable: tuple,
    set: set,
    frozenset: frozenset,
    Set: frozenset,
    deque: deque,
}


class NoRuleError(TypeError):
    """A type that cannot be made of JSON; the text says which."""


def loader_of(annotation: Any) -> Loader:
    """A function that makes the annotated type of JSON bytes; it raises whatever its library does.

    Raises:
        NoRuleError: no library here can make it.
        MissingExtraError: cattrs is needed and not installed.
    """
    kinds = {_library(part) for part in _parts(annotation)}
    if "msgspec" in kinds:
        return _msgspec_loader(annotation)
    if "pydantic" in kinds:
        return _pydantic_loader(annotation)
    return _cattrs_loader(annotation)


def plain(value: object) -> object:
    """A model as values that the JSON encoder knows.

    Raises:
        TypeError: it is no model, and nothing else that JSON has.
        MissingExtraError: cattrs is needed and not installed.
    """
    kind: Any = type(value)
    library = _library(kind)
    if library == "msgspec":
        return sys.modules["msgspec"].to_builtins(value)
    if library == "pydantic":
        return _pydantic_adapter(kind).dump_python(value, mode="json")
    if attrs.has(kind) or dataclasses.is_dataclass(kind) or isinstance(value, _values()):
        return _converter().unstructure(value)
    raise TypeError(f"a value of {kind.__name__} is not JSON and no model; make bytes, str, a dict or a model of it")


def explain(error: BaseException) -> str:
    """What a loader's error says, without values of the payload as far as the library lets."""
    if _is_of(error, "pydantic", "ValidationError"):
        errors = error.errors(include_url=False, include_input=False, include_context=False)  # type: ignore[attr-defined]
        shown = [f"{one['msg']} at {'.'.join(map(str, one['loc'])) or '$'}" for one in errors[:_DETAILS_MAX]]
        return "; ".join(shown)
    if "cattrs" in sys.modules and _is_of(error, "cattrs", "BaseValidationError"):
        details: list[str] = sys.modules["cattrs"].transform_error(error, path="$")
        return "; ".join(details[:_DETAILS_MAX])
    return str(error) or type(error).__name__


# ---------------------------------------------------------------------------------------------------- which library


def _is_of(value: object, module: str, name: str) -> bool:
    """Whether it is an instance of a class of a library that may not be there."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(value, kind)


def _library(kind: object) -> str:
    """The library that makes instances of a class: "msgspec", "pydantic", else ""."""
    if not isinstance(kind, type):
        return ""
    msgspec, pydantic = sys.modules.get("msgspec"), sys.modules.get("pydantic")
    if msgspec is not None and issubclass(kind, msgspec.Struct):
        return "msgspec"
    if pydantic is not None and (issubclass(kind, pydantic.BaseModel) or hasattr(kind, "__pydantic_validator__")):
        return "pydantic"
    return ""


def _parts(annotation: Any) -> Iterator[Any]:
    """The annotation, and what it is generic over, at any depth."""
    yield annotation
    if typing.get_origin(annotation) is not typing.Literal:
        for part in typing.get_args(annotation):
            yield from _parts(part)


# ------------------------------------------------------------------------------------------------------- msgspec


def _msgspec_loader(annotation: Any) -> Loader:
    import msgspec

    def custom(kind: type) -> dict[str, Any]:
        raise NoRuleError(f"msgspec has no rule for {_name(kind)}")

    try:
        msgspec.json.schema(annotation, schema_hook=custom)
        decode = msgspec.json.Decoder(annotation).decode
    except NoRuleError:
        raise
    except Exception as error:  # an unresolved name, a type it does not take
        raise NoRuleError(f"msgspec cannot make it: {error}") from error

    def load(payload: bytes) -> object:
        check_text(payload)  # it skips what it has no field for, without a look at the text
        return decode(payload)

    return load


# ------------------------------------------------------------------------------------------------------ pydantic


@functools.cache
def _pydantic_adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def _pydantic_loader(annotation: Any) -> Loader:
    try:
        validate = _pydantic_adapter(annotation).validate_json
    except Exception as error:  # an unresolved name, a type it does not take
        raise NoRuleError(f"pydantic cannot make it: {str(error).partition(chr(10))[0]}") from error

    def load(payload: bytes) -> object:
        check_text(payload)
        check_numbers(payload)
        return validate(payload)

    return load


# -------------------------------------------------------------------------------------------------------- cattrs


def _cattrs_loader(annotation: Any) -> Loader:
    converter = _converter()
    try:
        for part in _reachable(annotation, set()):
            converter.get_structure_hook(part)
        structure = converter.get_structure_hook(annotation)
    except NoRuleError:
        raise
    except Exception as error:  # an unresolved name, a union it cannot tell apart
        raise NoRuleError(f"cattrs cannot make it: {error}") from error
    return lambda payload: structure(load_json(payload), annotation)


def _reachable(annotation: Any, seen: set[Any]) -> Iterator[Any]:
    """The annotation, what it is generic over, and the fields of its classes: what will have to be made."""
    if annotation in seen or annotation is Ellipsis:
        return
    seen.add(annotation)
    inner = _within(annotation)  # before the annotation itself, whose names in strings it resolves
    yield annotation
    for part in inner:
        yield from _reachable(part, seen)


def _within(annotation: Any) -> Collection[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        return ()
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)[:1]
    if isinstance(annotation, type) and attrs.has(annotation):
        return [field.type for field in attrs.fields(attrs.resolve_types(annotation)) if field.init and field.type]
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return typing.get_type_hints(annotation, include_extras=True).values()
    return typing.get_args(annotation)


@functools.cache
def _converter() -> JsonConverter:
    """The converter of all routes: strict, and without a rule for what it does not know."""
    try:
        from cattrs.preconf.json import make_converter
    except ImportError:
        raise MissingExtraError(
            "attrs classes, dataclasses and types made of them need cattrs: pip install 'beamline-trio[typed]'"
        ) from None
    converter = make_converter(structure_fallback_factory=_no_rule)
    for kind, (accepts, make) in _rules().items():
        converter.register_structure_hook(kind, _strictly(accepts, make))
    for kind, make in _texts().items():
        converter.register_unstructure_hook(kind, make)
    _hold_containers(converter)
    return converter


def _no_rule(kind: Any) -> Any:
    raise NoRuleError(f"there is no rule for {_name(kind)}")


@functools.cache
def _rules() -> dict[Any, tuple[tuple[type, ...], Callable[[Any], object]]]:
    """Type -> the JSON types that it is made of, and how."""
    import base64
    from decimal import Decimal
    from uuid import UUID  # noqa: TID251  # the type, of fields of models; none is made up

    return {
        int: ((int,), _same),
        float: ((float, int), float),
        str: ((str,), _same),
        bool: ((bool,), _same),
        type(None): ((type(None),), _same),
        bytes: ((str,), lambda text: base64.b64decode(text, validate=True)),
        UUID: ((str,), UUID),
        Decimal: ((str, int), Decimal),
    }


@functools.cache
def _texts() -> dict[Any, Callable[[Any], str]]:
    """Type -> the JSON string of its values, where cattrs has another or none."""
    import base64
    from decimal import Decimal
    from uuid import UUID  # noqa: TID251  # as above

    return {bytes: lambda value: base64.b64encode(value).decode(), UUID: str, Decimal: str}


@functools.cache
def _values() -> tuple[type, ...]:
    """What the converter makes JSON of, beside classes with fields."""
    from datetime import date
    from enum import Enum

    return (*_texts(), date, Enum, set, frozenset, deque)


def _same(value: Any) -> object:
    return value


def _strictly(accepts: tuple[type, ...], make: Callable[[Any], object]) -> Structure:
    def structure(value: Any, _: Any) -> object:
        if type(value) not in accepts:
            raise TypeError(f"expected {json_name(accepts[0])}, got {json_name(type(value))}")
        return make(value)

    return structure


def _hold_containers(converter: JsonConverter) -> None:
    """Arrays are made of lists and objects of dicts only: by itself cattrs takes whatever it can iterate or index."""
    from cattrs.cols import list_structure_factory

    def hold(matches: Callable[[Any], bool], kind: type, make: Callable[[Any], Structure]) -> None:
        def factory(annotation: Any) -> Structure:
            return _of(kind, make(annotation))

        converter.register_structure_hook_factory(matches, factory)

    def gathered(annotation: Any) -> Structure:
        elements: Any = types.GenericAlias(list, (*typing.get_args(annotation), Any)[:1])
        make, inner = _GATHERED[_origin(annotation)], converter.get_structure_hook(elements)
        return lambda value, _: make(inner(value, elements))

    def named(annotation: Any) -> Structure:
        shape: Any = types.GenericAlias(tuple, tuple(typing.get_type_hints(annotation).values()))
        inner = converter.get_structure_hook(shape)
        return lambda value, _: annotation._make(cast("tuple[Any, ...]", inner(value, shape)))

    hold(_is_named_tuple, list, named)
    hold(lambda kind: _origin(kind) is list, list, lambda kind: list_structure_factory(kind, converter))
    hold(lambda kind: _origin(kind) in _GATHERED, list, gathered)
    hold(_is_mixed_tuple, list, converter.gen_structure_hetero_tuple)
    hold(lambda kind: _origin(kind) in (dict, Mapping, MutableMapping), dict, converter.gen_structure_mapping)
    hold(typing.is_typeddict, dict, converter.gen_structure_typeddict)
    hold(_has_fields, dict, converter.gen_structure_attrs_fromdict)


def _of(kind: type, inner: Structure) -> Structure:
    def structure(value: Any, target: Any) -> object:
        if type(value) is not kind:
            raise TypeError(f"expected {json_name(kind)}, got {json_name(type(value))}")
        return inner(value, target)

    return structure


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_mixed_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[-1:] != (Ellipsis,)


def _has_fields(kind: Any) -> bool:
    return attrs.has(_origin(kind)) or (isinstance(_origin(kind), type) and dataclasses.is_dataclass(_origin(kind)))


def _name(kind: object) -> str:
    return getattr(kind, "__qualname__", None) or str(kind)
