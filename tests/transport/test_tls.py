"""TLS by files: read anew for each handshake, and each refusal names its file."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import memory_stream_pair

from beamline_trio import TLSFiles, TLSFilesError, open_client
from beamline_trio.transport import TCPDialer, TLSError


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """An authority whose certificate is written down, and a client's certificate and key."""
    authority = trustme.CA()
    write(tmp_path, authority)
    return authority


def write(directory: Path, authority: trustme.CA) -> None:
    client = authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    client.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    client.private_key_pem.write_to_path(directory / "key.pem")


async def handshake(
    authority: trustme.CA, files: TLSFiles, *, name: str = "nats.example", mutual: bool = False
) -> None:
    """A dialer with these files against a server of an authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("nats.example").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
    ours, theirs = memory_stream_pair()
    server = trio.SSLStream(theirs, context, server_side=True)

    async def serve() -> None:
        try:
            await server.send_all(b"hello")
        except trio.BrokenResourceError:
            await theirs.aclose()

    failure: TLSError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            secured = await TCPDialer(ssl_context=files).start_tls(ours, name)
            assert bytes(await secured.receive_some()) == b"hello"
        except TLSError as error:
            failure = error
        await ours.aclose()
    if failure is not None:
        raise failure


async def test_files_make_a_handshake(authority: trustme.CA, tmp_path: Path) -> None:
    """The authority's file is enough for a server's certificate; certificate and key where they are wanted."""
    await handshake(authority, TLSFiles(ca_file=str(tmp_path / "ca.pem")))
    ca, cert, key = (str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key"))
    await handshake(authority, TLSFiles(ca_file=ca, cert_file=cert, key_file=key), mutual=True)


async def test_who_the_server_is_is_checked(authority: trustme.CA, tmp_path: Path) -> None:
    """Another authority's server, and another host's certificate, are refused; without verify they are not."""
    files = TLSFiles(ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(TLSError, match=r"TLS handshake with nats.example failed"):
        await handshake(trustme.CA(), files)
    with pytest.raises(TLSError, match=r"other.example"):
        await handshake(authority, files, name="other.example")
    await handshake(trustme.CA(), TLSFiles(verify=False), name="other.example")


async def test_files_are_read_anew(authority: trustme.CA, tmp_path: Path) -> None:
    """An authority that was replaced on disk counts from the next handshake on; one that is gone is named."""
    files = TLSFiles(ca_file=str(tmp_path / "ca.pem"))
    await handshake(authority, files)
    fresh = trustme.CA()
    write(tmp_path, fresh)
    await handshake(fresh, files)
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(TLSError, match=r"ca.pem': No such file"):
        await handshake(fresh, files)


@pytest.mark.parametrize(
    "ca, cert, key, field",
    [
        ("missing.pem", None, None, "ca_file"),
        ("key.pem", None, None, "ca_file"),
        (None, "missing.pem", None, "cert_file"),
        (None, "cert.pem", "missing.pem", "key_file"),
        (None, "cert.pem", None, "cert_file"),
        (None, None, "key.pem", "key_file"),
    ],
)
def test_what_cannot_be_used_is_named(
    ca: str | None, cert: str | None, key: str | None, field: str, authority: trustme.CA, tmp_path: Path
) -> None:
    """Field, file and reason; open_client says so before anything is dialled."""

    def at(name: str | None) -> str | None:
        return None if name is None else str(tmp_path / name)

    files = TLSFiles(ca_file=at(ca), cert_file=at(cert), key_file=at(key), key_password="s3cret")
    for attempt in (files.context, lambda: open_client("nats://nowhere.invalid", tls=files)):
        with pytest.raises(TLSFilesError, match=field) as caught:
            attempt()
        assert caught.value.field == field
        assert str(tmp_path) in str(caught.value)
        assert "s3cret" not in str(caught.value) + repr(files)
