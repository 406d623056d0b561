"""Buckets made, opened, deleted and listed. Must not read or write keys."""

from __future__ import annotations

from typing import Final

from ..jetstream import JetStream, StreamExistsError, StreamNotFoundError
from ..jetstream._management import check_record, checkpoints
from ._bucket import Bucket, bucket_not_found
from ._configuration import BucketConfig, bucket_status, stream_config
from ._errors import BucketExistsError
from ._names import STREAM_PREFIX, check_bucket, stream_of

_ALL_BUCKETS: Final = "$KV.>"


@checkpoints
async def create_bucket(js: JetStream, config: BucketConfig) -> Bucket:
    """Make a bucket. One that exists with the same configuration is no error, so instances may all do it.

    Raises:
        BucketExistsError: there is one of the name with another configuration.
        APILevelError: the server is too old for `limit_marker_seconds`.
        APIError: the server refuses it for another reason.
        NatsError: what `Client.request` raises.
    """
    check_record(config, BucketConfig)
    try:
        info = await js.create_stream(stream_config(config))
    except StreamExistsError as error:
        raise BucketExistsError(
            f"there is a bucket {config.bucket!r} with another configuration; open it with open_bucket(), or take "
            "another name"
        ) from error
    return Bucket(js, bucket_status(info))


@checkpoints
async def open_bucket(js: JetStream, bucket: str) -> Bucket:
    """A bucket that is there.

    Raises:
        InvalidKeyError: the name breaks the rule; nothing was sent.
        BucketNotFoundError: there is none.
        NotABucketError: the stream of that name is something else.
        NatsError: what `Client.request` raises.
    """
    try:
        return Bucket(js, bucket_status(await js.stream_info(stream_of(check_bucket(bucket)))))
    except StreamNotFoundError as error:
        raise bucket_not_found(bucket) from error


@checkpoints
async def delete_bucket(js: JetStream, bucket: str) -> None:
    """Delete a bucket with all its keys.

    Raises:
        InvalidKeyError: the name breaks the rule; nothing was sent.
        BucketNotFoundError: there is none.
        NatsError: what `Client.request` raises.
    """
    try:
        await js.delete_stream(stream_of(check_bucket(bucket)))
    except StreamNotFoundError as error:
        raise bucket_not_found(bucket) from error


async def bucket_names(js: JetStream) -> list[str]:
    """The names of all buckets.

    Raises:
        NatsError: what `Client.request` raises.
    """
    names = await js.stream_names(subject=_ALL_BUCKETS)
    return [name.removeprefix(STREAM_PREFIX) for name in names if name.startswith(STREAM_PREFIX)]
