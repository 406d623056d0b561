"""Conversations drawn from a seed: legal and illegal bytes of one to three raw clients.

A grammar of operations with mutations (verbs, sizes off by one, whitespace, wrong trailers, headers, single bytes), cut
into pieces at drawn positions.

Scripts keep to subjects below a prefix of their own, so that many may be played at once on one server. Members of queue
groups have sids with a "q" and are never unsubscribed: else the number of messages would depend on whom the group
chooses.

Must not know what servers answer.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Mapping

import attrs

from ._script import connect_line
from ._server import Rule, ServerConfig, User

# Limits that are reached by scripts of a few hundred bytes.
OPEN = ServerConfig(max_payload=200, max_control_line=256, max_subscriptions=12)
_NOBODY = User(
    "u",
    "p",
    publish=Rule(deny=("*.b", "*.a.b", "*.c.>")),
    subscribe=Rule(allow=("*.>", "*.b g"), deny=("*.b", "*.a.*", "*.c.c", "*.d.> h")),
)
GUARDED = attrs.evolve(OPEN, users=(_NOBODY,), no_auth_user="u")
# Few words, so that many messages meet a subscription; then some that are odd.
_WORDS = "aaabbbccd"
_PATTERN_WORDS = "aaabbc***"
_ODD_TOKENS = ("*", ">", "", "a*", "é", "x" * 40)
_GROUPS = ("g", "h")
_HEADERS = (
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0\r\nA: b\r\n\r\n",
    b"NATS/1.0 503 No\r\n\r\n",
    b"NATS/1.0\r\nA:b\r\nA: c\r\n",
    b"nonsense",
    b"\r\n",
    b"",
)
# What a client should not say, or not in this place.
_ODD_OPERATIONS = (
    b"\r\n",
    b"FOO\r\n",
    b"INFO {}\r\n",
    b"+OK\r\n",
    b"-ERR 'x'\r\n",
    b"MSG a 1 0\r\n\r\n",
    b"HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    b"PUB\r\n",
    b"SUB " + b"s" * 300 + b" 1\r\n",
    b"SUB " + b"s" * 250 + b" 1\r\n",
    b"PING x\r\n",
)
# `%` is a size that is nearly right.
_WRONG_SIZES = (
    b"%",
    b"%",
    b"%",
    b"0%",
    b"-%",
    b"+%",
    b"x",
    b"%.0",
    b"% %",
    b"999",
    b"9999999999",
    b"9" * 20,
    b"0000000002",
)
_CONNECT_FIELDS = (
    b"verbose",
    b"Pedantic",
    b"echo",
    b"protocol",
    b"name",
    b"lang",
    b"tls_required",
    b"user",
    b"pass",
    b"auth_token",
    b"jwt",
    b"account",
    b"other",
)
_CONNECT_VALUES = (b"true", b"false", b"null", b"0", b"1", b"2", b"1.0", b'""', b'"x"', b"[]", b"{}", b"-1", b"x")
_BYTES = b" \t\r\n\x00.*>0123459abqgPSUHz'\"\xff-+"


class Setting(enum.StrEnum):
    """What the clients of a script are connected to."""

    OPEN = "a server"
    GUARDED = "a server with permissions"
    CLUSTER = "two servers"


CONFIGS = {Setting.OPEN: OPEN, Setting.GUARDED: GUARDED}


@attrs.frozen
class Chunk:
    """What one client sends in one step; `last` = it says no more, and reads to the end."""

    client: str
    data: bytes
    cuts: tuple[int, ...] = ()
    last: bool = False


@attrs.frozen
class FuzzScript:
    """A drawn conversation.

    Attributes:
        seed: it was drawn from.
        setting: what it is played on. In a cluster every other client is on the other server.
        connects: the first words of each client.
        chunks: the steps.
    """

    seed: int
    setting: Setting
    connects: Mapping[str, bytes]
    chunks: tuple[Chunk, ...]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.setting}"]
        lines += [f"  {client} > {data!r}" for client, data in self.connects.items()]
        lines += [
            f"  {chunk.client} > {chunk.data!r} cut at {list(chunk.cuts)}{' and ends' * chunk.last}"
            for chunk in self.chunks
        ]
        return "\n".join(lines)

    def smaller(self) -> Iterator[FuzzScript]:
        """The same without some steps, lines, cuts or clients; the smallest first."""
        count = len(self.chunks)
        for size in (count // 2, count // 4, 1):
            if size:
                for start in range(0, count, size):
                    yield attrs.evolve(self, chunks=self.chunks[:start] + self.chunks[start + size :])
        for index, chunk in enumerate(self.chunks):
            for data in _fewer_lines(chunk.data):
                yield self._with(index, Chunk(chunk.client, data, last=chunk.last))
            if chunk.cuts:
                yield self._with(index, Chunk(chunk.client, chunk.data, last=chunk.last))
        used = {chunk.client for chunk in self.chunks}
        if set(self.connects) - used:
            yield attrs.evolve(self, connects={name: line for name, line in self.connects.items() if name in used})

    def _with(self, index: int, chunk: Chunk) -> FuzzScript:
        return attrs.evolve(self, chunks=(*self.chunks[:index], chunk, *self.chunks[index + 1 :]))


def _fewer_lines(data: bytes) -> Iterator[bytes]:
    lines = data.splitlines(keepends=True)
    for index in range(len(lines)):
        if len(lines) > 1:
            yield b"".join(lines[:index] + lines[index + 1 :])


# --------------------------------------------------------------------------------------------------------- draw


class _Author:
    """Writes one script."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._prefix = "".join(self._random.choices("KMTVWXYZ", k=6)) + f"{seed:05d}"
        self._payloads = 0
        self._queues = True
        # Many scripts are legal to the last byte; the others go wrong at some point.
        self._mischief = self._random.choice((0.0, 0.0, 0.0, 0.01, 0.05, 0.2))

    def script(self, seed: int) -> FuzzScript:
        names = "abc"[: self._random.choice((1, 2, 2, 2, 3))]
        # Where only some clients take headers there is no queue group: its choice would show in the message.
        self._queues = self._random.random() < 0.75
        headers = dict.fromkeys(names, self._random.random() < 0.85)
        if not self._queues:
            headers = {name: self._random.random() < 0.6 for name in names}
        connects = {name: self._connect(headers[name]) + b"PING\r\n" for name in names}
        speakers = self._random.choices(names, k=self._random.randint(3, 12))
        chunks = [self._chunk(name, headers[name]) for name in speakers]
        setting = Setting.GUARDED if self._random.random() < 0.4 else Setting.OPEN
        if len(names) > 1 and self._random.random() < 0.2:
            # What crosses does so in pieces of its own; with cuts it would be a race between the servers.
            setting = Setting.CLUSTER
            chunks = [attrs.evolve(chunk, cuts=()) for chunk in chunks]
        return FuzzScript(seed, setting, connects, tuple(chunks))

    def _connect(self, headers: bool) -> bytes:
        likely, rare = self._likely, self._rare
        return connect_line(
            name=None,
            lang=None,
            version=None,
            tls_required=None,
            verbose=rare(),
            pedantic=rare(),
            echo=likely(),
            protocol=int(likely()),
            headers=headers,
            no_responders=headers and likely(),
        )

    def _likely(self) -> bool:
        return self._random.random() < 0.8

    def _rare(self) -> bool:
        return self._random.random() < 0.15

    def _chunk(self, client: str, headers: bool) -> Chunk:
        data = b"".join(self._operation(headers) for _ in range(self._random.randint(1, 5)))
        if self._random.random() < self._mischief:
            data = self._bitten(data)
        if self._random.random() < 0.85:
            data += b"PING\r\n"
        cuts: list[int] = []
        if self._rare() and len(data) > 1:
            cuts = sorted({self._random.randrange(1, len(data)) for _ in range(self._random.randint(1, 3))})
        return Chunk(client, data, tuple(cuts), self._random.random() < 0.04)

    def _operation(self, headers: bool) -> bytes:
        draw = self._random.random()
        if draw < 0.28:
            return self._publish()
        if draw < 0.45:
            return self._publish_with_headers() if headers or self._mischief else self._publish()
        if draw < 0.72:
            return self._subscribe()
        if draw < 0.85:
            return self._line(b"UNSUB", self._sid(), *([b"%d" % self._random.randint(0, 4)] if self._likely() else []))
        if draw < 0.9:
            return self._line(self._random.choice((b"PING", b"PONG")))
        if draw < 0.92:
            return self._connect(headers)
        if self._random.random() < self._mischief:
            return self._odd_connect()
        if self._random.random() < self._mischief:
            return self._random.choice(_ODD_OPERATIONS)
        return self._publish()

    def _odd_connect(self) -> bytes:
        """Fields with values that may be of a wrong type; not those that decide what other clients get."""
        names = self._random.sample(_CONNECT_FIELDS, self._random.randint(0, 3))
        fields = [b'"%b":%b' % (name, self._random.choice(_CONNECT_VALUES)) for name in names]
        return self._line(b"CONNECT", b"{" + b",".join(fields) + b"}")

    def _publish(self) -> bytes:
        payload = self._payload()
        fields = [self._subject(), *self._reply(), self._size(len(payload))]
        return self._line(b"PUB", *fields) + payload + self._trailer()

    def _publish_with_headers(self) -> bytes:
        payload, block = self._payload(), self._random.choice(_HEADERS)
        fields = [self._subject(), *self._reply()]
        sizes = (self._size(len(block)), self._size(len(block) + len(payload)))
        return self._line(b"HPUB", *fields, *sizes) + block + payload + self._trailer()

    def _reply(self) -> list[bytes]:
        return [self._subject()] if self._random.random() < 0.35 else []

    def _subscribe(self) -> bytes:
        subject = self._subject(_PATTERN_WORDS)
        if self._queues and self._random.random() < 0.25:
            return self._line(b"SUB", subject, self._random.choice(_GROUPS).encode(), b"qqq" + self._sid())
        return self._line(b"SUB", subject, self._sid())

    def _line(self, *fields: bytes) -> bytes:
        verb, *rest = fields
        if self._rare():
            verb = self._random.choice((verb.lower(), verb.title(), verb.swapcase()))
        gap = self._random.choice((b"  ", b"\t", b" \t ")) if self._rare() else b" "
        end = b"\r\n"
        if self._random.random() < self._mischief:
            end = self._random.choice((b"\n", b" \r\n", b"\t\r\n", b"\r\r\n", b" x\r\n"))
        return gap.join((verb, *rest)) + end

    def _subject(self, words: str = _WORDS) -> bytes:
        depth = self._random.choice((1, 1, 1, 2, 2, 3))
        tokens = [self._random.choice(words) for _ in range(depth)]
        if words is _PATTERN_WORDS and self._random.random() < 0.3:
            tokens[-1] = ">"
        if self._rare():
            tokens[self._random.randrange(depth)] = self._random.choice(_ODD_TOKENS)
        return ".".join((self._prefix, *tokens)).encode()

    def _sid(self) -> bytes:
        return b"%d" % self._random.randint(1, 5)

    def _payload(self) -> bytes:
        self._payloads += 1
        # Too large ones end the link, so they are seldom.
        sizes = (0, 1, 2, 3, 10, 40) if self._random.random() < 0.97 else (120, 178, 182, 195, 200, 201)
        size = self._random.choice(sizes)
        return (b"%d," % self._payloads * 80)[:size]

    def _size(self, size: int) -> bytes:
        if self._random.random() >= self._mischief:
            return b"%d" % size
        wrong = self._random.choice(_WRONG_SIZES)
        return wrong if b"%" not in wrong else wrong.replace(b"%", b"%d" % max(size + self._random.randint(-1, 2), 0))

    def _trailer(self) -> bytes:
        if self._random.random() >= self._mischief / 2:
            return b"\r\n"
        return self._random.choice((b"\n", b"\r", b"", b"\n\r", b"xx", b"\r\n\r\n", b" \r\n"))

    def _bitten(self, data: bytes) -> bytes:
        position = self._random.randrange(len(data))
        byte = bytes([self._random.choice(_BYTES)])
        how = self._random.randrange(4)
        if how == 0:
            return data[:position] + data[position + 1 :]
        if how == 1:
            return data[:position] + byte + data[position:]
        if how == 2:
            return data[:position]
        return data[:position] + byte + data[position + 1 :]


def draw_script(seed: int) -> FuzzScript:
    """The script of a seed, always the same."""
    return _Author(seed).script(seed)
