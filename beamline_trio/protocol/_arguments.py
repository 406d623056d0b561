"""What arguments of calls are checked with, before a byte is sent: the name, the value, the bound.

A value of the wrong type is a TypeError, one out of bounds a ValueError. None passes: it is what is not given.

Must not know any call, and must not be given a secret: the value is in the text.
"""

from __future__ import annotations


def check_number(
    name: str, value: object, *, least: float | None = None, above: float | None = None, most: float | None = None,
    whole: bool = False, note: str = "",
) -> None:  # fmt: skip
    """A number within bounds.

    Args:
        name: of the argument.
        value: what was given.
        least: it may be no less.
        above: it must be more.
        most: it may be no more.
        whole: an int, and no float.
        note: what the upper bound is, in words.

    Raises:
        TypeError: it is no number, or not a whole one.
        ValueError: it is out of bounds.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        bound = _bound(least, above, most, note)
        kind = "a whole number" if whole else "a number"
        raise TypeError(f"{name} is {value!r}; it must be {kind}{',' if bound else ''}{bound}")
    low = (least is None or value >= least) and (above is None or value > above)
    if not (low and (most is None or value <= most)):
        raise ValueError(f"{name} is {value!r}; it must be{_bound(least, above, most, note)}")


def check_given(**arguments: object) -> None:
    """Arguments that must be there: their default is no None.

    Raises:
        TypeError: one is None.
    """
    for name, value in arguments.items():
        if value is None:
            raise TypeError(f"{name} is None; give a value, or leave it out for its default")


def check_text(name: str, value: object) -> None:
    """A str that can be sent.

    Raises:
        TypeError: it is no str.
        ValueError: it has half of a surrogate pair, which UTF-8 cannot say.
    """
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; it must be a str")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is {value!r}; position {error.start} cannot be sent as UTF-8") from None


def check_flag(name: str, value: object) -> None:
    """True or False, and nothing that looks like them.

    Raises:
        TypeError: it is something else.
    """
    if not (value is None or isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}; it must be True or False")


def check_function(name: str, value: object) -> None:
    """What can be called.

    Raises:
        TypeError: it is something else.
    """
    if not (value is None or callable(value)):
        raise TypeError(f"{name} is {value!r}; it must be a function, or None")


def _bound(least: float | None, above: float | None, most: float | None, note: str) -> str:
    parts = [f"at least {least:g}"] if least is not None else []
    parts += [f"above {above:g}"] if above is not None else []
    parts += [f"at most {most:.10g}{f' ({note})' if note else ''}"] if most is not None else []
    return " " + " and ".join(parts) if parts else ""
