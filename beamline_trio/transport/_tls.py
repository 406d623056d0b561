"""TLS of a stream: a context made of files, and the handshake.

Files are read anew for each handshake, so that a certificate that was renewed counts from the next connect on.

Must not decide whether TLS is used.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

import attrs
import trio

from ..protocol import Secret, check_flag, check_given, frozen, hidden_or_none
from ._errors import TLSError, TLSFilesError, TLSFilesNotFoundError


def _path(_: Any, field: Any, value: Any) -> None:
    if not (value is None or isinstance(value, (str, os.PathLike))):
        raise TypeError(f"{field.name} is {value!r}; it must be the path of a file in PEM, or None")


def _flag(_: Any, field: Any, value: Any) -> None:
    check_given(**{field.name: value})
    check_flag(field.name, value)


def _secret(_: Any, field: Any, value: Secret | None) -> None:
    if not (value is None or isinstance(value.reveal(), str)):
        raise TypeError(f"{field.name} must be a str, not {type(value.reveal()).__name__}")


@frozen(kw_only=True)
class TLSFiles:
    """What TLS needs, as files in PEM.

    Attributes:
        ca_file: the authorities that are trusted; None = those of the platform.
        cert_file: the client's own certificate with its chain, for servers that ask for one.
        key_file: its key; None = it is in cert_file.
        key_password: of an encrypted key; never shown.
        verify: whether the server's certificate and host name are checked. False leaves the connection open to whoever
            stands in between.
    """

    ca_file: str | os.PathLike[str] | None = attrs.field(default=None, validator=_path)
    cert_file: str | os.PathLike[str] | None = attrs.field(default=None, validator=_path)
    key_file: str | os.PathLike[str] | None = attrs.field(default=None, validator=_path)
    key_password: Secret | None = attrs.field(default=None, converter=hidden_or_none, validator=_secret, repr=False)
    verify: bool = attrs.field(default=True, validator=_flag)

    def context(self) -> ssl.SSLContext:
        """Read the files.

        Raises:
            TLSFilesError: one is missing, unreadable or no PEM, or certificate and key are no pair.
        """
        if self.key_file is not None and self.cert_file is None:
            raise TLSFilesError("key_file", self.key_file, "it is given without a certificate; give cert_file too")
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            kind = TLSFilesNotFoundError if isinstance(error, FileNotFoundError) else TLSFilesError
            raise kind("ca_file", self.ca_file, f"{_reason(error)}; it must be a file of PEM certificates") from None
        if self.cert_file is not None:
            self._load_certificate(context, self.cert_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _load_certificate(self, context: ssl.SSLContext, cert_file: str | os.PathLike[str]) -> None:
        for field, name in (("cert_file", cert_file), ("key_file", self.key_file)):
            if name is not None and not os.path.exists(name):
                raise TLSFilesNotFoundError(field, name, "no such file; check the path")
        # An empty password keeps OpenSSL from asking at the terminal for that of an encrypted key.
        password = self.key_password if self.key_password is not None else Secret("")
        try:
            context.load_cert_chain(cert_file, self.key_file, password=password.reveal)
        except (OSError, ValueError) as error:
            key = f" with the private key {self.key_file!r}" if self.key_file is not None else ""
            text = f"{_reason(error)}; it must be PEM, certificate and key of a pair, and key_password that of the key"
            raise TLSFilesError("cert_file", cert_file, text, beside=key) from None


async def upgrade(stream: trio.abc.Stream, host: str, tls: ssl.SSLContext | TLSFiles | None) -> trio.abc.Stream:
    """TLS over a stream, with the host's name checked.

    Raises:
        TLSError: the handshake failed, or a file cannot be used.
    """
    trusted = tls if tls is not None else ssl.create_default_context()
    context = trusted.context() if isinstance(trusted, TLSFiles) else trusted
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as exc:
        reason = exc.__cause__ if exc.__cause__ is not None else exc
        raise TLSError(
            f"TLS handshake with {host} failed: {reason}; check the certificate, its host name and the CA given "
            "as tls=ssl.SSLContext or tls=TLSFiles, and whether the server wants tls_first",
            address=host,
        ) from exc
    return secured


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
