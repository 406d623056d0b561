"""Every option of a client, also one that is new: argument > environment > file > profile, under each of its keys.

What an option takes is found out by trying: a whole number, a number, a word of a choice, a flag, a text.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import attrs
import pytest

from beamline_trio import ClientOptions, OptionsError
from beamline_trio.operation import load_options
from beamline_trio.operation._keys import _LEGACY, KEYS, Key

# Those that a text in the environment cannot give, or that have no four different values.
ELSEWHERE = frozenset({"servers", "tls", "tls_first", "user", "password", "token", "nkey", "creds"})
CANDIDATES: tuple[Any, ...] = (
    *(True, False),
    *("full", "none", "upper_half", "drop_new", "drop_oldest", "error", "block"),
    *(3, 70, 5_000, 7_000),
    *(0.25, 2.5),
    *("_INBOX.a", "_INBOX.b"),
)


def values_of(option: str) -> list[Any]:
    """What of the candidates the option takes, of the kind of its default where that is a flag or a number."""
    taken: list[Any] = []
    for candidate in CANDIDATES:
        try:
            options: Any = ClientOptions(**{option: candidate})
        except OptionsError:
            continue
        if type(getattr(options, option)) is type(candidate):
            taken.append(candidate)
    return taken


CLIENT_KEYS = [key for key in KEYS if key.option in {field.name for field in attrs.fields(ClientOptions)}]
TRIED = [key for key in CLIENT_KEYS if key.option not in ELSEWHERE and len(values_of(key.option)) > 1]


def written(value: Any, *, milliseconds: bool, toml: bool) -> str:
    """A value as the environment or a file gives it."""
    if milliseconds:
        value = value * 1_000
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if toml and isinstance(value, str) else str(value)


def test_all_options_are_tried_but_those_that_no_text_gives() -> None:
    """A new option is tried by itself, unless only a program can give it."""
    untried = {key.option for key in CLIENT_KEYS} - {key.option for key in TRIED} - ELSEWHERE
    assert untried <= {"reconnect_delay_callback", "choose_server", "websocket_headers"}
    assert {key.option for key in CLIENT_KEYS} & set(_LEGACY) - ELSEWHERE <= {key.option for key in TRIED}


@pytest.mark.parametrize("key", TRIED, ids=lambda key: key.option)
def test_the_order_of_the_places(key: Key, tmp_path: Path) -> None:
    """Whatever the keys: an argument wins over a variable, that over the file, that over the profile."""
    values = itertools.cycle(values_of(key.option))
    of_profile, in_file, in_environment, as_argument = (next(values) for _ in range(4))
    profile: ClientOptions = attrs.evolve(ClientOptions(), **{key.option: of_profile})
    path = tmp_path / "beamline.toml"
    for file_name, variable in itertools.product(key.file_names, key.environment_names):
        text = written(in_file, milliseconds=file_name.endswith("_ms"), toml=True)
        path.write_text(f"{file_name} = {text}\n", encoding="utf-8")
        text = written(in_environment, milliseconds=variable.endswith("_MS"), toml=False)
        environment = {variable: text}

        def loaded(option: str = key.option, **given: Any) -> Any:
            return getattr(load_options(profile=profile, **given).client, option)

        assert loaded(environment={}) == of_profile
        assert loaded(environment={}, file=path) == in_file
        assert loaded(environment=environment, file=path) == in_environment
        assert loaded(environment=environment, file=path, **{key.option: as_argument}) == as_argument


@pytest.mark.parametrize(
    "key", [key for key in CLIENT_KEYS if len(key.environment_names) > 1], ids=lambda key: key.option
)
def test_both_variables_of_an_option_are_an_error(key: Key) -> None:
    """It names both, and the option that both mean."""
    names = key.environment_names[:2]
    with pytest.raises(OptionsError, match=rf"{names[0]} and {names[1]} are both given and mean {key.option};"):
        load_options(environment=dict.fromkeys(names, "1"))


@pytest.mark.parametrize("key", TRIED, ids=lambda key: key.option)
def test_a_bad_value_names_key_and_bound(key: Key) -> None:
    """Under whichever key it came."""
    if key.kind is str and key.option in ("name", "inbox_prefix"):
        return
    for variable in key.environment_names:
        with pytest.raises(OptionsError, match=rf"{variable}: {key.option} .*must be") as caught:
            load_options(environment={variable: "-7.5 apples"})
        assert "apples" in str(caught.value)
