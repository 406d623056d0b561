"""A certificate authority of the tests' own, and what a server and a client need to know of it."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs
import trustme

_FILES = {"cert_file": "cert.pem", "key_file": "key.pem", "ca_file": "ca.pem"}


@attrs.frozen
class Certificates:
    """An authority, and the directory that has the server's files."""

    authority: trustme.CA
    directory: Path

    def server_config(self, *more: str) -> str:
        """The `tls` block of a server's configuration."""
        files = [f'{name}: "{self.directory}/{file}"' for name, file in _FILES.items()]
        return f"tls {{ {', '.join([*files, *more])} }}"

    def context(self) -> ssl.SSLContext:
        """A client's context that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


def write_certificates(directory: Path, *names: str, authority: trustme.CA | None = None) -> Certificates:
    """Issue a certificate for the names, by a new authority unless one is given, and write it down."""
    authority = authority if authority is not None else trustme.CA()
    certificate = authority.issue_cert(*names)
    certificate.cert_chain_pems[0].write_to_path(directory / _FILES["cert_file"])
    certificate.private_key_pem.write_to_path(directory / _FILES["key_file"])
    authority.cert_pem.write_to_path(directory / _FILES["ca_file"])
    return Certificates(authority, directory)
