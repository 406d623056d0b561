"""TLS by the names of files: what the keys `tls_...` and `nats_tls_...` mean for the client.

Must not decide whether TLS is used against the option `tls`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from ..connection import OptionsError
from ..protocol import Secret
from ..transport import TLSFiles, TLSFilesError

# Option -> (the key that gave it, the value).
Given = Mapping[str, tuple[str, Any]]

# Option -> its field of TLSFiles.
_FIELDS: Final = {
    "tls_ca_cert_file": "ca_file",
    "tls_cert_file": "cert_file",
    "tls_key_file": "key_file",
    "tls_key_password": "key_password",
    "tls_verify": "verify",
}
_OPTIONS: Final = {field: option for option, field in _FIELDS.items()}


def tls_option(tls: ssl.SSLContext | TLSFiles | bool | None, given: Given) -> ssl.SSLContext | TLSFiles | bool | None:
    """The option `tls` with what `tls_cert_file`, `tls_key_file`, `tls_ca_cert_file`, `tls_verify` and the like add.

    A context or files that were given, and TLS that was switched off, stay as they are.

    Raises:
        OptionsError: a file cannot be loaded, or an option has a value of another kind.
    """
    for option, (key, value) in given.items():
        if option == "tls_verify" and not isinstance(value, bool):
            raise OptionsError(f"{key} is {value!r}; it must be true or false")
        if option == "tls_key_password" and not isinstance(value, (str, Secret)):
            raise OptionsError(f"{key} must be a text, not {type(value).__name__}")
        if option.endswith("_file") and not isinstance(value, str):
            raise OptionsError(f"{key} is {value!r}; it must be a path")
    if tls is False or isinstance(tls, (ssl.SSLContext, TLSFiles)) or not given:
        return tls
    files = TLSFiles(**{_FIELDS[option]: value for option, (_, value) in given.items()})
    try:
        files.context()
    except TLSFilesError as error:
        key = given[_OPTIONS[error.field]][0]
        raise OptionsError(str(error).replace(error.field, key, 1)) from None
    return files
