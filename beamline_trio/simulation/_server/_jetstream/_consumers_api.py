"""Requests about consumers.

Must not know subjects or bytes of a request (`_api`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from .._subjects import is_subset
from ._api import Operation, Request
from ._consumer import Consumer
from ._consumer_config import SHAPE, ConsumerConfig, check_update, read_config
from ._errors import api_error
from ._stream_config import StreamConfig
from ._streams_api import find_stream, page

_LISTED_MAX: Final = 256
_NAMED_MAX: Final = 1024
_FILTER_TOKENS_MAX: Final = 64
PAGE: Final = {"total": 0, "offset": 0, "limit": 0, "consumers": []}
_LIST_SHAPE: Final = {"offset": "int"}


# Makes or changes a consumer: the request, its fields, and those of the configuration.
Make: TypeAlias = Callable[[Request, dict[str, Any], dict[str, Any]], dict[str, Any] | None]


def operations(make: Make) -> dict[str, Operation]:
    """By the name in the subject; `make` is what is done when a consumer is to be made or changed."""
    return {
        "CONSUMER.CREATE": Operation(
            "consumer_create", (1, _FILTER_TOKENS_MAX), lambda request: _create(request, make)
        ),
        "CONSUMER.DURABLE.CREATE": Operation("consumer_create", (2, 2), lambda request: _create_durable(request, make)),
        "CONSUMER.INFO": Operation("consumer_info", (2, 2), _info),
        "CONSUMER.DELETE": Operation("consumer_delete", (2, 2), _delete),
        "CONSUMER.NAMES": Operation("consumer_names", (1, 1), _names, PAGE),
        "CONSUMER.LIST": Operation("consumer_list", (1, 1), _list, PAGE),
    }


def _create(request: Request, make: Make) -> dict[str, Any] | None:
    given = request.read(SHAPE, "CreateConsumerRequest")
    config = dict(given.get("config", {}))
    if request.names[0] != given.get("stream_name", ""):
        raise api_error(10056)
    durable = config.get("durable_name", "")
    if len(request.names) == 1:
        if durable:
            raise api_error(10020)
    else:
        name = request.names[1]
        _check_path(name)
        if durable and durable != name:
            raise api_error(10017)
        config["name"] = name
    _check_filter_token(".".join(request.names[2:]), config)
    return make(request, given, config)


def _create_durable(request: Request, make: Make) -> dict[str, Any] | None:
    given = request.read(SHAPE, "CreateConsumerRequest")
    config = dict(given.get("config", {}))
    if request.names[0] != given.get("stream_name", ""):
        raise api_error(10056)
    _check_path(request.names[1])
    durable = config.get("durable_name", "")
    if not durable:
        raise api_error(10018)
    if durable != request.names[1]:
        raise api_error(10017)
    config["name"] = durable
    return make(request, given, config)


def _check_path(name: str) -> None:
    if "/" in name or "\\" in name:
        raise api_error(10127)


def _check_filter_token(token: str, config: dict[str, Any]) -> None:
    if token and config.get("filter_subjects"):
        raise api_error(10137)
    if token and config.get("filter_subject", "") != token:
        raise api_error(10131)


def make_consumer(request: Request, given: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Make or change a consumer of a server of its own."""
    if fields.get("num_replicas", 0) > 1:
        raise api_error(10074)
    stream = find_stream(request)
    config = read_config(fields, stream.config, pedantic=given.get("pedantic", False))
    action = read_action(given)
    name = config.durable_name or config.name or request.jetstream.draw_name()
    consumer = stream.consumers.get(name)
    if consumer is not None:
        _change(consumer, config, action)
        return consumer.info()
    if action == "update":
        raise api_error(10149)
    check_room(stream.config, [consumer.config for consumer in stream.consumers.values()], config)
    return stream.add_consumer(config, name).info()


def read_action(given: dict[str, Any]) -> str:
    """What a request wants done: "create", "update" or, empty, either.

    Raises:
        APIError: something else.
    """
    action = str(given.get("action", ""))
    if action not in ("", "create", "update"):
        raise api_error(10025, f'unknown consumer action: "{action}"')
    return action


def _change(consumer: Consumer, config: ConsumerConfig, action: str) -> None:
    if action == "create" and config != consumer.config:
        raise api_error(10148)
    if config != consumer.config:
        check_update(consumer.config, config)
        consumer.update(config)
        consumer.changed()


def check_room(stream: StreamConfig, others: Sequence[ConsumerConfig], config: ConsumerConfig) -> None:
    """Refuse a consumer that a stream has no room for beside the others.

    Raises:
        APIError: it has none.
    """
    if 0 < stream.max_consumers <= len(others):
        raise api_error(10026)
    if stream.retention != "workqueue":
        return
    if config.ack_policy != "explicit":
        raise api_error(10098)
    if config.deliver_policy != "all":
        raise api_error(10101)
    if not others:
        return
    if not config.filters:
        raise api_error(10099)
    taken = [one for other in others for one in other.filters or (b">",)]
    if any(is_subset(one, other) or is_subset(other, one) for one in config.filters for other in taken):
        raise api_error(10100)


def _find(request: Request) -> Consumer:
    consumer = find_stream(request).consumers.get(request.names[1])
    if consumer is None:
        raise api_error(10014)
    return consumer


def _info(request: Request) -> dict[str, Any]:
    request.expect_empty()
    return _find(request).info()


def _delete(request: Request) -> dict[str, Any]:
    request.expect_empty()
    consumer = _find(request)
    consumer.stream.delete_consumer(consumer)
    return {"success": True}


def _chosen(request: Request) -> list[Consumer]:
    return sorted(find_stream(request).consumers.values(), key=lambda consumer: consumer.name)


def _names(request: Request) -> dict[str, Any]:
    given = request.read(_LIST_SHAPE, "JSApiConsumersRequest", optional=True)
    fields = page([consumer.name for consumer in _chosen(request)], given, _NAMED_MAX, "consumers")
    fields["consumers"] = fields["consumers"] or []
    return fields


def _list(request: Request) -> dict[str, Any]:
    given = request.read(_LIST_SHAPE, "JSApiConsumersRequest", optional=True)
    fields = page(_chosen(request), given, _LISTED_MAX, "consumers")
    fields["consumers"] = [consumer.info(served=False) for consumer in fields["consumers"] or ()]
    return fields
