"""TLS by the names of files: an SSLContext for the client.

Must not decide whether TLS is used against the option `tls`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from ..connection import OptionsError

# Option -> (the key that gave it, the value).
Given = Mapping[str, tuple[str, Any]]


def tls_option(tls: ssl.SSLContext | bool | None, given: Given) -> ssl.SSLContext | bool | None:
    """The option `tls` with what the options `tls_cert_file`, `tls_key_file`, `tls_ca_cert_file`, `tls_verify` add.

    A context that was given, and TLS that was switched off, stay as they are.

    Raises:
        OptionsError: a file cannot be loaded, or an option has a value of another kind.
    """
    for option, (key, value) in given.items():
        kind = bool if option == "tls_verify" else str
        if not isinstance(value, kind):
            raise OptionsError(f"{key} is {value!r}; it must be {'true or false' if kind is bool else 'a path'}")
    if tls is False or isinstance(tls, ssl.SSLContext) or not given:
        return tls
    context = _context_of_authority(given)
    _load_certificate(context, given)
    if given.get("tls_verify", ("", True))[1] is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _context_of_authority(given: Given) -> ssl.SSLContext:
    """A context that trusts the given authority alone, or those of the platform."""
    if "tls_ca_cert_file" not in given:
        return ssl.create_default_context()
    key, path = given["tls_ca_cert_file"]
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise OptionsError(f"{key} is {path!r}: {_reason(error)}; it must be a file of PEM certificates") from None


def _load_certificate(context: ssl.SSLContext, given: Given) -> None:
    _, private_key = given.get("tls_key_file", ("", None))
    if "tls_cert_file" not in given:
        if private_key is not None:
            key = given["tls_key_file"][0]
            raise OptionsError(f"{key} is given without a certificate; give tls_cert_file too")
        return
    key, path = given["tls_cert_file"]
    try:
        # The empty password keeps OpenSSL from asking at the terminal for that of an encrypted key.
        context.load_cert_chain(path, private_key, password="")
    except OSError as error:
        files = f"{path!r} with the private key {private_key!r}" if private_key is not None else repr(path)
        raise OptionsError(
            f"{key} is {files}: {_reason(error)}; it must be PEM, certificate and key of a pair"
        ) from None


def _reason(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or str(error)
