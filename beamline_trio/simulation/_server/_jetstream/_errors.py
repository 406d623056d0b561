"""What the JetStream API refuses, with nats-server's codes and words (its errors.json).

Must not know who asks.
"""

from __future__ import annotations

from typing import Any, Final


class APIError(Exception):
    """A refusal.

    Attributes:
        code: as in HTTP.
        err_code: which one.
        description: the words.
    """

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.err_code = err_code
        self.description = description

    def fields(self) -> dict[str, Any]:
        """As it stands in a reply."""
        return {"code": self.code, "err_code": self.err_code, "description": self.description}


_TEXTS: Final = {
    10003: (400, "bad request"),
    10008: (503, "JetStream system temporarily unavailable"),
    10012: (500, "{}"),
    10013: (400, "consumer name already in use"),
    10014: (404, "consumer not found"),
    10016: (400, "consumer expected to be durable but no durable name set in subject"),
    10017: (400, "consumer name in subject does not match durable name in request"),
    10018: (400, "consumer expected to be durable but a durable name was not set"),
    10019: (400, "consumer expected to be ephemeral but detected a durable name set in subject"),
    10020: (400, "consumer expected to be ephemeral but a durable name was set in request"),
    10023: (503, "insufficient resources"),
    10025: (400, "invalid JSON: {}"),
    10026: (400, "maximum consumers limit reached"),
    10027: (400, "maximum number of streams reached"),
    10031: (400, "stream mirrors can not also contain other sources"),
    10034: (400, "stream mirrors can not contain subjects"),
    10037: (404, "no message found"),
    10038: (400, "expected an empty request payload"),
    10043: (400, "sequence {} not found"),
    10048: (500, "{}"),
    10049: (500, "{}"),
    10051: (500, "{}"),
    10052: (500, "{}"),
    10053: (500, "{}"),
    10054: (400, "message size exceeds maximum allowed"),
    10055: (400, "stream mirror configuration can not be updated"),
    10056: (400, "stream name in subject does not match request"),
    10057: (500, "{}"),
    10058: (400, "stream name already in use with a different configuration"),
    10059: (404, "stream not found"),
    10060: (400, "expected stream does not match"),
    10065: (400, "subjects overlap with an existing stream"),
    10069: (500, "{}"),
    10070: (400, "wrong last msg ID: {}"),
    10071: (400, "wrong last sequence: {}"),
    10074: (500, "replicas > 1 not supported in non-clustered mode"),
    10077: (503, "{}"),
    10084: (400, "consumer in pull mode requires explicit ack policy on workqueue stream"),
    10086: (400, "consumer in pull mode can not have rate limit set"),
    10088: (400, "consumer idle heartbeat requires a push based consumer"),
    10089: (400, "consumer flow control requires a push based consumer"),
    10093: (400, "consumer filter subject is not a valid subset of the interest subjects"),
    10094: (400, "{}"),
    10095: (400, "failed to parse consumer sampling configuration: {}"),
    10097: (400, "header size exceeds maximum allowed of 64k"),
    10098: (400, "workqueue stream requires explicit ack"),
    10099: (400, "multiple non-filtered consumers not allowed on workqueue stream"),
    10100: (400, "filtered consumer not unique on workqueue stream"),
    10101: (400, "consumer must be deliver all on workqueue stream"),
    10102: (400, "consumer name is too long, maximum allowed is {}"),
    10107: (400, "consumer description is too long, maximum allowed is {}"),
    10109: (400, "invalid operation on sealed stream"),
    10110: (500, "{}"),
    10111: (500, "{}"),
    10114: (400, "consumer max request batch needs to be > 0"),
    10115: (400, "consumer max request expires needs to be >= 1ms"),
    10118: (500, "stream is offline"),
    10119: (500, "consumer is offline"),
    10116: (400, "max deliver is required to be > length of backoff values"),
    10121: (400, "consumer max ack pending exceeds system limit of {}"),
    10126: (400, "consumer config replica count exceeds parent stream"),
    10127: (400, "Consumer name can not contain path separators"),
    10128: (400, "Stream name can not contain path separators"),
    10131: (400, "Consumer create request did not match filtered subject from create subject"),
    10132: (400, "Consumer Durable and Name have to be equal if both are provided"),
    10133: (400, "replicas count cannot be negative"),
    10134: (400, "consumer config replicas must match interest retention stream's replicas"),
    10135: (400, "consumer metadata exceeds maximum size of {}"),
    10136: (400, "consumer cannot have both FilterSubject and FilterSubjects specified"),
    10137: (400, "consumer with multiple subject filters cannot use subject based API"),
    10138: (400, "consumer subject filters cannot overlap"),
    10139: (400, "consumer filter in FilterSubjects cannot be empty"),
    10140: (400, "duplicate source configuration detected"),
    10141: (400, "sourced stream name is invalid"),
    10142: (400, "mirrored stream name is invalid"),
    10143: (400, "stream mirrors can not have first sequence configured"),
    10148: (400, "consumer already exists"),
    10149: (400, "consumer does not exist"),
    10153: (400, "consumer inactive threshold exceeds system limit of {}"),
    10157: (400, "pedantic mode: {}"),
    10158: (409, "duplicate message id is in process"),
    10165: (400, "invalid per-message TTL"),
    10166: (400, "per-message TTL is disabled"),
    10181: (400, "consumer ack policy invalid"),
    10182: (400, "consumer replay policy invalid"),
    10183: (400, "consumer ack wait needs to be positive"),
    10184: (400, "consumer backoff needs to be positive"),
    10185: (412, "JetStream minimum api level required"),
    10193: (400, "missing sequence for expected last sequence per subject"),
    10227: (400, "message stream source header is not allowed"),
}
NOT_MODELLED: Final = 501


def api_error(err_code: int, text: object = "") -> APIError:
    """The refusal of this code; `text` fills the gap in its words."""
    code, description = _TEXTS[err_code]
    return APIError(code, err_code, description.format(text))


def not_modelled(what: str) -> APIError:
    """What the real server does and the simulation does not: never passed over in silence."""
    return APIError(NOT_MODELLED, 0, f"{what} is not modelled by the simulation; use a real nats-server for this test")
