"""The keys of options in the environment and in files, and how their text is read.

The keys follow from the fields of `ClientOptions`: a new option has its key at once. What is written down here is what
does not follow: the legacy names, their milliseconds, and the options that are no client's.

Must not check bounds; the options do that themselves.
"""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Final

import attrs

from ..connection import ClientOptions, OptionsError
from ..protocol import Secret

# Option -> its other key. In the environment it is in upper case.
_LEGACY: Final = {
    "servers": "nats_url",
    "reconnect_attempts": "nats_reconnect_attempts",
    "reconnect_delay_seconds": "nats_reconnect_delay_ms",
    "reconnect_delay_max_seconds": "nats_max_reconnect_delay_ms",
    "connect_timeout_seconds": "nats_connect_timeout_ms",
    "operation_timeout_seconds": "nats_timeout_ms",
    "pending_operations_max": "nats_max_pending_operations",
    "pending_timeout_seconds": "nats_pending_operation_timeout_ms",
    "fail_open": "nats_fail_open_mode",
    "tls": "nats_tls_enabled",
    "tls_cert_file": "nats_tls_cert_file",
    "tls_key_file": "nats_tls_key_file",
    "tls_ca_cert_file": "nats_tls_ca_cert_file",
    "tls_key_password": "nats_tls_key_password",
    "tls_verify": "nats_tls_verify",
    "metrics_port": "metrics_port",
}
_SECRETS: Final = frozenset({"user", "password", "token", "nkey", "tls_key_password"})
_NONE: Final = frozenset({"none", "null"})
_FLAGS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
# Options that are not the client's -> their kind.
TLS_OPTIONS: Final[dict[str, type]] = {
    "tls_cert_file": str,
    "tls_key_file": str,
    "tls_ca_cert_file": str,
    "tls_key_password": str,
    "tls_verify": bool,
}
OPERATION_OPTIONS: Final[dict[str, type]] = {
    "metrics_port": int,
    "metrics_host": str,
    "instance": str,
    "region": str,
    "watch_cluster": bool,
    **TLS_OPTIONS,
}


@attrs.frozen
class Key:
    """The keys of one option.

    Attributes:
        option: its name.
        kind: bool, int, float, str, or tuple for a list of str.
        optional: whether it may be None.
    """

    option: str
    kind: type
    optional: bool

    @property
    def environment_names(self) -> list[str]:
        """Its variables."""
        names = [
            f"NATS_{self.option}",
            _LEGACY.get(self.option, ""),
            f"NATS_{self.option}_FILE" if self.is_secret else "",
        ]
        return list(dict.fromkeys(name.upper() for name in names if name))

    @property
    def file_names(self) -> list[str]:
        """Its keys in a file."""
        names = [self.option, _LEGACY.get(self.option, ""), f"{self.option}_file" if self.is_secret else ""]
        return list(dict.fromkeys(name for name in names if name))

    @property
    def is_secret(self) -> bool:
        """Whether its value may come from a file of its own."""
        return self.option in _SECRETS

    def read(self, name: str, given: Any) -> Any:
        """The value of a key; what cannot be read stays as it is, for the option to refuse it.

        A text comes as a Secret, and only that of an option that is none is opened.

        Raises:
            OptionsError: the file of a secret cannot be read, or servers are no list.
        """
        names_file = name.lower().endswith("_file")
        if self.kind is tuple:
            return _read_list(name, given)
        if self.is_secret and not names_file:
            return given
        raw = given.reveal() if isinstance(given, Secret) else given
        if self.is_secret:
            # That of an nkey is read by the client, anew for each attempt to connect.
            return Path(raw) if self.option == "nkey" and isinstance(raw, str) else _read_secret(name, raw)
        value = self._parse(raw) if isinstance(raw, str) else raw
        if name.lower().endswith("_ms") and isinstance(value, (int, float)) and not isinstance(value, bool):
            return value / 1000
        return value

    def _parse(self, text: str) -> Any:
        if self.kind is str:
            return text
        word = text.strip().lower()
        if self.optional and word in _NONE:
            return None
        if self.kind is bool:
            return _FLAGS.get(word, text)
        try:
            return int(word) if self.kind is int else float(word)
        except ValueError:
            return text


def _read_list(name: str, given: Any) -> tuple[Secret, ...]:
    parts = _split(given) if isinstance(given, Secret) else given
    if not isinstance(parts, list) or not all(isinstance(part, Secret) for part in parts):
        raise OptionsError(f"{name} is no list of server URLs; give nats://host:port, or several parted by commas")
    return tuple(part for part in parts if part)


def _split(text: Secret) -> list[Secret]:
    return [Secret(part.strip()) for part in text.reveal().split(",")]


def _read_secret(name: str, path: Any) -> Secret:
    try:
        with open(path, encoding="utf-8") as file:
            return Secret(file.read().rstrip("\r\n"))
    except (OSError, TypeError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it must be the path of a text file in UTF-8"
        raise OptionsError(f"{name} is {path!r}: {reason}") from None


def _kind_of(annotation: Any) -> tuple[type, bool]:
    """The kind of an option by its annotation, and whether it may be None."""
    parts = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    optional = types.NoneType in parts
    for kind in (bool, int, float):
        if kind in parts:
            return kind, optional
    return (tuple if typing.get_origin(annotation) is tuple else str), optional


def _keys() -> tuple[Key, ...]:
    hints = typing.get_type_hints(ClientOptions)
    client = [Key(field.name, *_kind_of(hints[field.name])) for field in attrs.fields(ClientOptions)]
    return (*client, *(Key(option, kind, optional=False) for option, kind in OPERATION_OPTIONS.items()))


KEYS: Final = _keys()
