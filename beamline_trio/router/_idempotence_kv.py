"""Keys of what was done in a bucket: they survive restarts of the router and of its servers, and instances share them.

    claimed <owner>     with a time to live of claim_seconds: when its owner dies, the server lets the key go
    done                with a time to live of ttl_seconds

A claim is `create`, so of all instances one gets the key. What an instance finds under its own name and does not hold
is a claim of its own whose answer it never saw (cancelled, or the link died): it takes it up again at once, by its
revision. A release removes the claim by its revision, and so never another's; a confirmation needs none: it is done.
Most routers keep no keys in a bucket: kv is imported by what uses it.

Must not know messages, or where keys come from.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ..jetstream import JetStream
from ._idempotence import CLAIM_SECONDS, TTL_SECONDS, Claim, IdempotenceStatistics, check_key, check_limits

if TYPE_CHECKING:
    from ..kv import Bucket, Entry

_CLAIMED: Final = b"claimed "
_DONE: Final = b"done"
# Others were first so often in a row: the key is busy.
_ATTEMPTS: Final = 4
# Of a key that was released nothing has to stay; the server counts whole seconds.
_RELEASED_SECONDS: Final = 1
_UNWRITTEN_MAX: Final = 10_000
_NAME_CHARACTERS_MAX: Final = 200
_UNSAFE: Final = re.compile(rb"[^-_A-Za-z0-9]")


class KVIdempotence:
    """Keys of what was done, in a bucket. Made by `open`, or of a bucket with `history=1` and `limit_marker_seconds`.

    Every method waits through an outage as `Client.request` does, and raises what `Bucket.put` raises; what was being
    handled is then best delivered again. Cancelled, a claim is nobody's: this instance can claim the key again at once,
    others after `claim_seconds`. A confirmation that failed or was cancelled is made up for at this instance's next
    claim of the key; others may do the work again, so shield it. A release that was, lapses.

    Args:
        bucket: where the keys are.
        ttl_seconds: how long a confirmed key is remembered, rounded up to whole seconds.
        claim_seconds: after it a claim that was neither confirmed nor released lapses, rounded up to whole seconds; the
            server looks for it up to 1.25 s late. Longer than any work takes.

    Raises:
        ValueError: the bucket cannot hold them, or a limit is less than a second.
    """

    def __init__(
        self, bucket: Bucket, ttl_seconds: float = TTL_SECONDS, *, claim_seconds: float = CLAIM_SECONDS
    ) -> None:
        check_limits(ttl_seconds=ttl_seconds, claim_seconds=claim_seconds)
        _check_bucket(bucket, ttl_seconds, claim_seconds)
        self._bucket = bucket
        self._ttl_seconds = ttl_seconds
        self._claim_seconds = claim_seconds
        self._mine = _CLAIMED + bucket.js.client.connection.environment.new_identifier().encode()
        # Claims of this instance that the server has not answered, and those it has, by when they lapse.
        self._claiming: set[str] = set()
        self._held: OrderedDict[str, tuple[float, int]] = OrderedDict()
        # Keys that are done, and that the bucket may not know of, by when they may be forgotten.
        self._unwritten: OrderedDict[str, float] = OrderedDict()
        self._counts = dict.fromkeys(attrs.fields_dict(IdempotenceStatistics), 0)

    @classmethod
    async def open(
        cls,
        js: JetStream,
        bucket: str = "idempotence",
        *,
        ttl_seconds: float = TTL_SECONDS,
        claim_seconds: float = CLAIM_SECONDS,
        num_replicas: int | None = None,
    ) -> KVIdempotence:
        """Make the bucket, if it is not there, and use it.

        Raises:
            BucketExistsError: it is there with another configuration.
            ValueError: see the class.
            NatsError: what `create_bucket` raises.
        """
        from ..kv import BucketConfig, create_bucket

        config = BucketConfig(bucket=bucket, limit_marker_seconds=1, num_replicas=num_replicas)
        return cls(await create_bucket(js, config), ttl_seconds, claim_seconds=claim_seconds)

    @property
    def claim_seconds(self) -> float:
        """After it a claim that was neither confirmed nor released lapses, rounded up to whole seconds."""
        return self._claim_seconds

    async def claim(self, key: str) -> Claim:
        """Ask for a key; NEW makes it the caller's, to be confirmed or released.

        Raises:
            TypeError, ValueError: the key is no str, or empty.
            NatsError: what `Bucket.create` raises; the key is not the caller's.
        """
        try:
            check_key(key)
            self._forget(trio.current_time())
            held, unwritten = key in self._held or key in self._claiming, key in self._unwritten
        except (TypeError, ValueError):
            await trio.lowlevel.checkpoint()
            raise
        if unwritten:
            await self.confirm(key)
            claim = Claim.DONE
        elif held:
            await trio.lowlevel.checkpoint()
            claim = Claim.BUSY
        else:
            claim = await self._claim(key)
        self._counts["misses" if claim is Claim.NEW else "hits"] += 1
        return claim

    async def confirm(self, key: str) -> None:
        """The work of a key is done, whoever has it now.

        Raises:
            TypeError, ValueError: the key is no str, or empty.
            NatsError: what `Bucket.put` raises; this instance remembers it, others may not.
        """
        try:
            check_key(key)
        except (TypeError, ValueError):
            await trio.lowlevel.checkpoint()
            raise
        self._held.pop(key, None)
        self._unwritten[key] = trio.current_time() + self._ttl_seconds
        if len(self._unwritten) > _UNWRITTEN_MAX:
            self._unwritten.popitem(last=False)
            self._counts["evicted"] += 1
        await self._bucket.put(name_of(key), _DONE, ttl_seconds=self._ttl_seconds)
        self._unwritten.pop(key, None)

    async def release(self, key: str) -> None:
        """The work of a key was not done: the next one may claim it. What is confirmed, or another's by now, stays so.

        Raises:
            TypeError, ValueError: the key is no str, or empty.
            NatsError: what `Bucket.purge` raises; the claim lapses, and is this instance's before.
        """
        try:
            check_key(key)
        except (TypeError, ValueError):
            await trio.lowlevel.checkpoint()
            raise
        from ..kv import WrongRevisionError

        held = self._held.pop(key, None)
        if held is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._bucket.purge(name_of(key), revision=held[1], ttl_seconds=_RELEASED_SECONDS)
        except WrongRevisionError:
            self._counts["lapsed"] += 1

    def statistics(self) -> IdempotenceStatistics:
        """The counters of this instance at this moment."""
        return IdempotenceStatistics(**self._counts)

    async def _claim(self, key: str) -> Claim:
        self._claiming.add(key)
        try:
            claim, revision = await self._take(name_of(key))
        finally:
            self._claiming.remove(key)
        if claim is Claim.NEW:
            self._held[key] = (trio.current_time() + self._claim_seconds, revision)
            self._held.move_to_end(key)
        return claim

    async def _take(self, name: str) -> tuple[Claim, int]:
        """Create the key, or take up what is there and nobody's: which answer that is, and the revision."""
        from ..kv import KeyExistsError, WrongRevisionError

        for _ in range(_ATTEMPTS):
            try:
                return Claim.NEW, await self._bucket.create(name, self._mine, ttl_seconds=self._claim_seconds)
            except KeyExistsError as error:
                claim, revision = self._judge(error.entry), error.revision
            if claim is not Claim.NEW:
                return claim, 0
            try:
                return claim, await self._bucket.update(name, self._mine, revision, ttl_seconds=self._claim_seconds)
            except WrongRevisionError:
                continue
        return Claim.BUSY, 0

    def _judge(self, entry: Entry | None) -> Claim:
        """What lies under a key means; NEW = it is to be taken."""
        if entry is not None and entry.value == _DONE:
            return Claim.DONE
        if entry is not None and entry.value.startswith(_CLAIMED):
            return Claim.NEW if entry.value == self._mine else Claim.BUSY
        self._counts["skipped"] += 1
        return Claim.NEW

    def _forget(self, now: float) -> None:
        """Let go of what has lapsed, and of what others have forgotten too by now."""
        while self._held and next(iter(self._held.values()))[0] <= now:
            self._held.popitem(last=False)
            self._counts["lapsed"] += 1
        while self._unwritten and next(iter(self._unwritten.values())) <= now:
            self._unwritten.popitem(last=False)


def name_of(key: str) -> str:
    """The key of a bucket for any text, another one for each: what ADR-8 does not know is written in hexadecimal."""
    raw = key.encode("utf-8", "surrogatepass")
    name = _UNSAFE.sub(lambda found: b"=%02X" % found[0][0], raw).decode()
    if len(name) <= _NAME_CHARACTERS_MAX and not name.startswith("_kv"):
        return name
    return f"=sha256={hashlib.sha256(raw).hexdigest()}"


def _check_bucket(bucket: Bucket, ttl_seconds: float, claim_seconds: float) -> None:
    status = bucket.status_when_opened
    if status.history != 1 or status.limit_marker_seconds is None:
        raise ValueError(
            f"the bucket {bucket.name!r} has history={status.history} and limit_marker_seconds="
            f"{status.limit_marker_seconds}; keys of what was done need history=1, and markers for their times: "
            "make it with KVIdempotence.open()"
        )
    if min(ttl_seconds, claim_seconds) < 1:
        raise ValueError(
            f"ttl_seconds is {ttl_seconds:g} and claim_seconds {claim_seconds:g}; the server takes at least 1"
        )
    if status.ttl_seconds is not None and status.ttl_seconds < ttl_seconds:
        raise ValueError(
            f"ttl_seconds is {ttl_seconds:g}, and the bucket {bucket.name!r} lets everything go after "
            f"{status.ttl_seconds:g} s; give it a longer ttl_seconds, or none"
        )
