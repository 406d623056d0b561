"""Ask a port whether a living NATS server answers there.

A TCP connection alone says nothing: the kernel accepts it within 2 ms for a server that is stopped (SIGSTOP)
or not yet serving. The first INFO line says it; for a server that wants TLS first, its answer to a handshake
does.

It speaks no more NATS than that, with no parser of the client's, and it sends nothing but a TLS hello.
"""

from __future__ import annotations

import contextlib
import ssl

import trio

# A server of a large cluster lists the addresses of all others in its INFO.
_INFO_BYTES_MAX = 1024 * 1024
# The first byte of an alert and of a handshake.
_TLS_RECORDS = (b"\x15", b"\x16")


async def answers(host: str, port: int, *, tls_first: bool) -> bool:
    """Connect, wait for the server's first word, and hang up.

    It waits for as long as the connection stands, so a stopped server is waited for until it is resumed or
    killed; callers bound it by a cancel scope.

    Returns:
        True after a whole INFO line (with `tls_first`: the first byte of an answer in TLS), False when the
        connection was refused or ended before.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        return False
    async with stream:
        try:
            return await (_shakes_hands(stream, host) if tls_first else _sends_info(stream))
        except trio.BrokenResourceError:
            return False


async def _sends_info(stream: trio.abc.Stream) -> bool:
    line = bytearray()
    while len(line) < _INFO_BYTES_MAX:
        chunk = await stream.receive_some()
        if not chunk:
            return False
        line += chunk
        if b"\r\n" in line:
            return line.startswith(b"INFO ")
    return False


async def _shakes_hands(stream: trio.abc.Stream, host: str) -> bool:
    # Nothing is trusted or told here: the certificate is for the clients to verify.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=host).do_handshake()
    await stream.send_all(hello.read())
    # A refusal in TLS (it may ask for a client certificate) is an answer too.
    return bytes(await stream.receive_some(1)) in _TLS_RECORDS
