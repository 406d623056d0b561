"""/jsz and /healthz: what a server has of JetStream, and whether it is well.

Must not change anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._jetstream._golang import SECOND

if TYPE_CHECKING:
    from .._jetstream import JetStream
    from .._process import Process
    from ._monitor import Monitor, Options

# The simulation has no limits of its own.
_MEMORY_MAX: Final = 2**40
_STORAGE_MAX: Final = 2**40
_LIMITS: Final = {"default_max_consumers": 1000}
_TRUE: Final = (True, "1", "true")


def jetstream_fields(process: Process, *, pinged: bool) -> dict[str, Any]:
    """What other documents say of it.

    Args:
        process: of the server.
        pinged: for the statistics that answer a ping, which say less of the meta group unless this server leads it.
    """
    jetstream = process.jetstream
    if jetstream is None:
        return {"stats": {"memory": 0, "storage": 0, "accounts": 0, "api": {"level": 0, "total": 0, "errors": 0}}}
    fields: dict[str, Any] = {"config": _config(process, with_place=not pinged), "stats": _usage(jetstream)}
    meta = jetstream.meta_fields()
    if meta is not None:
        if pinged:
            meta["name"] = "_meta_"
            if meta.get("leader") != process.host:
                meta.pop("replicas", None)
        fields["meta"] = meta
    return fields | {"limits": _LIMITS}


def jsz(monitor: Monitor, options: Options) -> dict[str, Any]:
    """As /jsz has it; with `accounts`, `streams`, `consumers` and `config` in detail."""
    process = monitor.process
    jetstream = process.jetstream
    if jetstream is None:
        head = {"server_id": process.identity.server_id, "now": monitor.text_now()}
        return {**head, "disabled": True}
    streams = jetstream.streams.values()
    fields: dict[str, Any] = {
        **_usage(jetstream),
        "server_id": process.identity.server_id,
        "now": monitor.text_now(),
        "config": _config(process, with_place=True),
        "limits": _LIMITS,
        "streams": len(streams),
        "consumers": sum(len(stream.consumers) for stream in streams),
        "messages": sum(len(stream.messages) for stream in streams),
        "bytes": sum(stream.messages.bytes for stream in streams),
    }
    meta = jetstream.meta_fields()
    if meta is not None:
        fields["meta_cluster"] = meta
    if any(_wants(options, name) for name in ("accounts", "acc", "streams", "consumer", "consumers", "config")):
        fields["account_details"] = [_account(jetstream, options)]
    return fields | {"total": 1}


def healthz(monitor: Monitor, options: Options) -> dict[str, Any]:
    """As /healthz has it; without an error it is well."""
    jetstream = monitor.process.jetstream
    error = "" if jetstream is None else jetstream.health()
    return (
        {"status": "unavailable", "status_code": 503, "error": error} if error else {"status": "ok", "status_code": 200}
    )


def _wants(options: Options, name: str) -> bool:
    value = options.get(name)
    return bool(value) if name == "acc" else value in _TRUE


def account_jsz(monitor: Monitor, options: Options) -> dict[str, Any]:
    """What the users' account has of it here."""
    jetstream = monitor.process.jetstream
    return {"name": "$G", "id": "$G", "disabled": True} if jetstream is None else _account(jetstream, options)


def _account(jetstream: JetStream, options: Options) -> dict[str, Any]:
    # The server counts neither accounts nor groups in an account.
    account: dict[str, Any] = {"name": "$G", "id": "$G", **_usage(jetstream), "accounts": 0, "ha_assets": 0}
    if any(_wants(options, name) for name in ("streams", "consumer", "consumers", "config")):
        account["stream_detail"] = [_stream(jetstream, name, options) for name in sorted(jetstream.streams)]
    return account


def _stream(jetstream: JetStream, name: str, options: Options) -> dict[str, Any]:
    stream = jetstream.streams[name]
    info = stream.info(served=False, leader=jetstream.server_name)
    fields: dict[str, Any] = {"name": name, "created": info["created"], "cluster": info["cluster"]}
    if _wants(options, "config"):
        fields["config"] = info["config"]
    fields["state"] = info["state"]
    if _wants(options, "consumer") or _wants(options, "consumers"):
        fields["consumer_detail"] = [consumer.info(served=False) for _, consumer in sorted(stream.consumers.items())]
    for copied in ("mirror", "sources"):
        if copied in info:
            fields[copied] = info[copied]
    return fields


def _usage(jetstream: JetStream) -> dict[str, Any]:
    streams = jetstream.streams.values()
    used = {"memory": 0, "file": 0}
    for stream in streams:
        used[stream.config.storage] += stream.messages.bytes
    return {
        "memory": used["memory"],
        "storage": used["file"],
        "reserved_memory": 0,
        "reserved_storage": 0,
        "accounts": 1,
        "ha_assets": jetstream.group_count(),
        "api": jetstream.api_counts(),
    }


def _config(process: Process, *, with_place: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"max_memory": _MEMORY_MAX, "max_storage": _STORAGE_MAX}
    if with_place:
        config["store_dir"] = "/data/jetstream"
    if process.identity.domain:
        config["domain"] = process.identity.domain
    interval = process.config.jetstream_sync_interval_seconds
    config["sync_interval"] = round(interval * SECOND)
    if not interval:
        config["sync_always"] = True
    return config | {"strict": True}
