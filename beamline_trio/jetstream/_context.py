"""JetStream as users hold it: one object for a client and an API prefix, made without I/O. Every call lands elsewhere.

Must not decide anything.
"""

from __future__ import annotations

from ..client import Client
from ..protocol import HeadersInput, check_given, check_number
from . import _management as management
from ._account_records import AccountInfo
from ._api import API, api_prefix_of
from ._attachment import attachment_of
from ._consumer import Consumer
from ._consumer_records import ConsumerConfig, ConsumerInfo
from ._direct_get import read_message
from ._puback import PubAck, expectations_of
from ._publisher import Publisher
from ._publishing import Publishing
from ._retry import PublishRetry
from ._stored_message import StoredMessage, delete_message
from ._stream_records import StreamConfig, StreamInfo


class JetStream:
    """Streams, consumers and publishes with a PubAck, over a client.

    Every request waits through an outage and is bounded as `Client.request` is; cancelled after the write, its fate is
    unknown.

    Args:
        client: of `open_client`.
        domain: the JetStream domain, for servers behind leaf nodes.
        api_prefix: instead of `$JS.API`, where an account imports another's API.
        publish_retry: how publishes are tried again; None = not at all.

    Raises:
        ValueError: domain and api_prefix are both given.
        InvalidSubjectError: one of them cannot be part of a subject.
    """

    def __init__(
        self,
        client: Client,
        *,
        domain: str | None = None,
        api_prefix: str | None = None,
        publish_retry: PublishRetry | None = None,
    ) -> None:
        self._attachment = attachment_of(client)
        self._api = API(self._attachment, api_prefix_of(domain, api_prefix))
        self._retry = publish_retry
        self._publishing = Publishing(self._attachment, self._api)

    @property
    def client(self) -> Client:
        """The client that it works over."""
        return self._attachment.client

    @property
    def api_prefix(self) -> str:
        """The beginning of all subjects of the API, as `$JS.API`."""
        return self._api.prefix[:-1].decode()

    # The account

    async def account_info(self) -> AccountInfo:
        """What the account uses and may use, and the API level.

        Raises:
            JetStreamNotEnabledError: there is no JetStream.
            NatsError: what `Client.request` raises.
        """
        return await management.account_info(self._api)

    async def api_level(self) -> int:
        """What the server's JetStream can do (ADR-44): 0 before 2.11, 1 = 2.11, 2 = 2.12, 4 = 2.14, 5 = 2.15."""
        return (await self.account_info()).api.level

    # Streams

    async def create_stream(self, config: StreamConfig) -> StreamInfo:
        """Create a stream. One that exists with the same configuration is no error.

        Raises:
            InvalidSubjectError: its name or a subject breaks the rules; nothing was sent.
            StreamExistsError: there is one of the name with another configuration.
            APILevelError: the server is too old for what the configuration asks.
            APIError: the server refuses it for another reason.
        """
        return await management.change_stream(self._api, "CREATE", config)

    async def update_stream(self, config: StreamConfig) -> StreamInfo:
        """Give a stream another configuration; `attrs.evolve(info.config, ...)` keeps what this version does not know.

        Raises:
            StreamNotFoundError: there is none.
            APIError: the server refuses it.
        """
        return await management.change_stream(self._api, "UPDATE", config)

    async def stream_info(self, name: str) -> StreamInfo:
        """How a stream is and stands.

        Raises:
            StreamNotFoundError: there is none.
        """
        return await management.stream_info(self._api, name)

    async def delete_stream(self, name: str) -> None:
        """Delete a stream with its messages and consumers.

        Raises:
            StreamNotFoundError: there is none.
        """
        await management.delete_stream(self._api, name)

    async def purge_stream(
        self,
        name: str,
        *,
        subject: str | None = None,
        before_sequence: int | None = None,
        keep: int | None = None,
    ) -> int:
        """Remove messages from a stream; returns how many went.

        Args:
            name: of the stream.
            subject: only messages of this subject, which may have wildcards.
            before_sequence: only messages before this sequence.
            keep: all but so many of the last.

        Raises:
            StreamNotFoundError: there is none.
            ValueError: before_sequence and keep are both given.
        """
        return await management.purge_stream(self._api, name, subject, before_sequence, keep)

    async def stream_names(self, *, subject: str | None = None) -> list[str]:
        """The names of all streams, or of those that have messages of a subject."""
        return await management.stream_names(self._api, subject)

    # Messages in streams

    async def get_message(
        self, stream: str, *, sequence: int | None = None, subject: str | None = None, direct: bool = False
    ) -> StoredMessage:
        """A message that a stream holds: of a sequence, the last of a subject, or the first of it from there on.

        Args:
            stream: the stream's name.
            sequence: the place of the message; with `subject`, where to begin to look.
            subject: which may have wildcards; without `sequence` it is the last one.
            direct: ask past the API, where the stream allows it (`allow_direct`): faster, and any replica may answer,
                also one that has not yet seen what was stored last. A stream that does not allow it is asked through
                the API, whose answer is its leader's.

        Raises:
            ValueError: neither is given, or the sequence is less than 1.
            MessageNotFoundError: there is none.
            StreamNotFoundError: there is no such stream.
        """
        return await read_message(self._attachment, self._api, stream, sequence, subject, direct)

    async def delete_message(self, stream: str, sequence: int, *, erase: bool = False) -> None:
        """Take a message out of a stream.

        Args:
            stream: the stream's name.
            sequence: the place of the message.
            erase: overwrite its bytes too, which takes longer.

        Raises:
            ValueError: the sequence is less than 1.
            MessageNotFoundError: there is none.
            APIError: the stream refuses it (`deny_delete`, or it is sealed).
            StreamNotFoundError: there is no such stream.
        """
        await delete_message(self._api, stream, sequence, erase)

    # Consumers

    async def create_consumer(self, stream: str, config: ConsumerConfig) -> Consumer:
        """Create a pull consumer. One that exists with the same configuration is no error.

        Raises:
            InvalidSubjectError: a name or a filter breaks the rules; nothing was sent.
            ConsumerExistsError: there is one of the name with another configuration.
            StreamNotFoundError: there is no such stream.
            APIError: the server refuses it for another reason.
        """
        info = await management.change_consumer(self._api, stream, config, "create")
        return Consumer(self._attachment, self._api, info)

    async def consumer(self, stream: str, name: str) -> Consumer:
        """A consumer that is there.

        Raises:
            ConsumerNotFoundError: it is not.
            StreamNotFoundError: there is no such stream.
        """
        return Consumer(self._attachment, self._api, await management.consumer_info(self._api, stream, name))

    async def consumer_info(self, stream: str, name: str) -> ConsumerInfo:
        """How a consumer is and stands.

        Raises:
            ConsumerNotFoundError: there is none.
            StreamNotFoundError: there is no such stream.
        """
        return await management.consumer_info(self._api, stream, name)

    async def update_consumer(self, stream: str, config: ConsumerConfig) -> ConsumerInfo:
        """Give a consumer another configuration.

        Raises:
            ConsumerNotFoundError: there is none.
            APIError: the server refuses it.
        """
        return await management.change_consumer(self._api, stream, config, "update")

    async def delete_consumer(self, stream: str, name: str) -> None:
        """Delete a consumer.

        Raises:
            ConsumerNotFoundError: there is none.
        """
        await management.delete_consumer(self._api, stream, name)

    async def consumer_names(self, stream: str) -> list[str]:
        """The names of a stream's consumers.

        Raises:
            StreamNotFoundError: there is no such stream.
        """
        return await management.consumer_names(self._api, stream)

    # Publishing

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        headers: HeadersInput | None = None,
        message_id: str | None = None,
        expected_stream: str | None = None,
        expected_last_sequence: int | None = None,
        expected_last_subject_sequence: int | None = None,
        expected_last_message_id: str | None = None,
        ttl_seconds: float | None = None,
        retry: PublishRetry | None = None,
        raise_unmet: bool = False,
    ) -> PubAck:
        """Publish a message and wait until a stream has stored it.

        Without a connection it waits in the queue of pending operations. A subject that no stream takes is tried twice
        more, 250 ms apart (ADR-22). Where the client fails open, what fails on the way is returned as the outcome
        SKIPPED. Cancelled before the write the message is withdrawn; after it its fate is unknown: publish it again
        with the same `message_id`, and inside the stream's duplicate window it is stored once.

        Args:
            subject: without wildcards, of a stream.
            payload: bytes, bytearray or memoryview; copied.
            headers: names and values; a value may be a list.
            message_id: the stream stores one message of an id in its duplicate window.
            expected_stream: refused unless the subject is this stream's.
            expected_last_sequence: refused unless this is the stream's last sequence.
            expected_last_subject_sequence: refused unless this is the last sequence of the subject; 0 = none yet.
            expected_last_message_id: refused unless this is the id of the stream's last message.
            ttl_seconds: the message goes after so long, rounded up to whole seconds; `math.inf` = never. The stream
                needs `allow_msg_ttl`.
            retry: instead of the policy of this object.
            raise_unmet: an expected sequence or message id that is not the last one is an answer and no failure: raised
                also where the client fails open, counted in `publish_expectations_unmet`, and not logged. For those who
                race on purpose.

        Raises:
            TypeError, ValueError, InvalidSubjectError, InvalidHeaderError, PayloadTooLargeError: nothing was sent.
            NoStreamResponseError: no stream takes the subject; nothing was stored.
            WrongLastSequenceError, WrongLastMessageIdError, WrongStreamError: an expectation is not met.
            PublishInProcessError: an earlier attempt under the message id is being stored; the fate is unknown.
            APIError: the stream refuses it for another reason.
            OperationTimeoutError: no PubAck in time; the fate is unknown.
            ConnectionLostError: the link died under it (the fate is unknown), or the state is `exhausted`.
            PublishUnknownError: retries have failed, and an earlier attempt may have been stored.
            PendingTimeoutError: no connection for `pending_timeout_seconds`; nothing was sent.
            PendingFullError: no connection, a full queue, and the policy `error`.
            PermissionsError: the server refuses the subject.
            ClientClosedError: the client is closed.
        """
        expectations = expectations_of(
            message_id,
            expected_stream,
            expected_last_sequence,
            expected_last_subject_sequence,
            expected_last_message_id,
            ttl_seconds,
        )
        policy = retry if retry is not None else self._retry
        return await self._publishing.publish(subject, payload, headers, expectations, policy, raise_unmet)

    def publisher(self, max_in_flight: int = 1000, *, errors_max: int = 1000) -> Publisher:
        """A pipelined publisher: `async with js.publisher() as publisher: await publisher.publish("a", b"...")`.

        Leaving it waits for all PubAcks; what was not acknowledged by then is raised as one PublisherError, unless the
        client fails open. Left by an exception or a cancellation it waits for nothing: what was in flight is unknown.

        Args:
            max_in_flight: publishes whose PubAck has not come, at the most.
            errors_max: failed, and unknown, publishes that are kept one by one; beyond that they are counted.

        Raises:
            ValueError: a bound is less than 1.
        """
        for name, value in (("max_in_flight", max_in_flight), ("errors_max", errors_max)):
            check_given(**{name: value})
            check_number(name, value, least=1, whole=True)
        return Publisher(self._attachment, max_in_flight, errors_max)
