"""The configuration of a program: where each option's value comes from, and what is said when it will not do.

argument > environment > file > default. An option may have several keys in one place (`_keys`); two that are given
there are an error, not a choice.

Must not print or log a value: it may be a secret.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs

from ..connection import OPTION_NAMES, ClientOptions, OptionsError, hide_in_place
from ..protocol import Secret
from ..transport import AddressError, parse_address
from ._keys import KEYS, OPERATION_OPTIONS, TLS_OPTIONS, Key
from ._tls import tls_option

# The key that gave it, and the value.
_Found: TypeAlias = tuple[str, Any]

_NAME_CHARACTERS_MAX: Final = 128
CLIENT_PROFILE: Final = ClientOptions()
ROUTER_PROFILE: Final = ClientOptions(
    reconnect_attempts=10,
    reconnect_delay_seconds=1.0,
    reconnect_delay_max_seconds=30.0,
    reconnect_jitter="full",
)


def _is_port(_: object, field: attrs.Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65_535:
        raise OptionsError(
            f"{field.name} is {value!r}; it must be a whole number from 1 to 65535, or 0 for any free port"
        )


def _is_host(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise OptionsError(f"{field.name} is {value!r}; it must be an address of this machine, as 127.0.0.1 or 0.0.0.0")


def _is_printable(_: object, field: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.isprintable() or len(value) > _NAME_CHARACTERS_MAX:
        raise OptionsError(
            f"{field.name} is {value!r}; it must be printable, of at most {_NAME_CHARACTERS_MAX} characters"
        )


def _is_flag(_: object, field: attrs.Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise OptionsError(f"{field.name} is {value!r}; it must be True or False")


@attrs.frozen(kw_only=True)
class Configuration:
    """What `load_options` gives.

    Attributes:
        client: the options for `open_client`.
        metrics_port: where the HTTP server listens; 0 = any free port.
        metrics_host: on which address.
        instance: the name of this instance in metrics, the same over restarts; empty = the client's.
        region: that it runs in; empty = that of the server that it connects to.
        watch_cluster: whether the servers that carry the streams of the routes are watched, and readiness is theirs
            too.
        servers_given: whether any of argument, environment and file names servers.
    """

    client: ClientOptions
    metrics_port: int = attrs.field(default=9001, validator=_is_port)
    metrics_host: str = attrs.field(default="127.0.0.1", validator=_is_host)
    instance: str = attrs.field(default="", validator=_is_printable)
    region: str = attrs.field(default="", validator=_is_printable)
    watch_cluster: bool = attrs.field(default=False, validator=_is_flag)
    servers_given: bool = False


def load_options(
    *,
    profile: ClientOptions = CLIENT_PROFILE,
    file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    **arguments: Any,
) -> Configuration:
    """The configuration of a program from arguments, environment, a TOML file and defaults, in this order.

    In the environment an option is `NATS_<OPTION>`, as NATS_PING_INTERVAL_SECONDS, or its legacy key in upper case, as
    NATS_RECONNECT_DELAY_MS; in the file it is a key of the top level, under either name. Durations are seconds, those
    of `..._ms` keys milliseconds. `none` is None, lists are parted by commas, an empty variable is none. User,
    password, token and nkey may be files: NATS_PASSWORD_FILE names one. Variables that are no option are other
    programs'; a key of the file that is no option is an error.

    Args:
        profile: the defaults: CLIENT_PROFILE are those of `open_client`, ROUTER_PROFILE those of `beamline run`.
        file: a TOML file.
        environment: variables; None = those of this process.
        **arguments: options that win over everything.

    Raises:
        TypeError: an argument is no option.
        OptionsError: a value is out of bounds, two keys of one option are given in one place, or the file cannot be
            read. The text names key, value and bound, but for secrets.
    """
    hide_in_place(arguments, OPTION_NAMES | set(OPERATION_OPTIONS) - {"tls_key_password"})
    environment_names = {name for key in KEYS for name in key.environment_names}
    unknown = sorted(set(arguments) - OPTION_NAMES - set(OPERATION_OPTIONS))
    if unknown:
        raise TypeError(f"unknown option {', '.join(unknown)}; see ClientOptions and Configuration")
    variables = _hidden(environment if environment is not None else os.environ, environment_names)
    environment = None  # from here on no frame has a secret in plain
    found: dict[str, _Found] = {}
    if file is not None:
        found |= _in_place(_read_file(file), {key: key.file_names for key in KEYS}, f" in {os.fspath(file)}")
    found |= _in_place(variables, {key: key.environment_names for key in KEYS}, "")
    found |= {option: (option, value) for option, value in arguments.items()}
    return _configuration(profile, found)


def _read_file(file: str | os.PathLike[str]) -> dict[str, Any]:
    path = os.fspath(file)
    table = _load_toml(path)
    if isinstance(table, str):
        raise OptionsError(table)
    known = {name for key in KEYS for name in key.file_names}
    unknown = sorted(set(table) - known)
    if unknown:
        raise OptionsError(f"unknown key {', '.join(unknown)} in {path}; the keys are {', '.join(sorted(known))}")
    return table


def _load_toml(path: str) -> dict[str, Any] | str:
    """The table of a file, its texts hidden, or what is wrong. Raises nothing: the file stands here in plain."""
    try:
        with open(path, "rb") as stream:
            table = tomllib.load(stream)
    except OSError as error:
        return f"cannot read the configuration {path}: {error.strerror}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return f"the configuration {path} is no TOML: {error}"
    return _hidden(table, set(table))


def _hidden(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """The values of some names, those that are texts behind a repr that does not show them."""
    return {name: _hide(value) for name, value in values.items() if name in names}


def _hide(value: Any) -> Any:
    if isinstance(value, list):
        return [_hide(one) for one in value]
    return Secret(value) if isinstance(value, str) else value


def _in_place(values: Mapping[str, Any], keys: Mapping[Key, list[str]], where: str) -> dict[str, _Found]:
    """What one place gives; an empty variable gives nothing."""
    found: dict[str, _Found] = {}
    for key, names in keys.items():
        given = [name for name in names if values.get(name, "") != ""]
        if len(given) > 1:
            raise OptionsError(f"{' and '.join(given)} are both given{where} and mean {key.option}; give one of them")
        for name in given:
            found[key.option] = (f"{name}{where}", key.read(name, values[name]))
    return found


def _configuration(profile: ClientOptions, found: dict[str, _Found]) -> Configuration:
    """The defaults with what was found, option by option, so that an error can name the key."""
    client = profile
    configuration = Configuration(client=client, servers_given="servers" in found)
    files = {option: one for option, one in found.items() if option in TLS_OPTIONS}
    for option, (key, value) in found.items():
        try:
            if option in OPTION_NAMES:
                client = attrs.evolve(client, **{option: value})
            elif option not in files:
                configuration = attrs.evolve(configuration, **{option: value})
            if option == "servers":
                for url in client.servers:
                    parse_address(url)
        except (OptionsError, AddressError) as error:
            raise OptionsError(str(error) if key == option else f"{key}: {error}") from None
    client = attrs.evolve(client, tls=tls_option(client.tls, files))
    return attrs.evolve(configuration, client=client)
