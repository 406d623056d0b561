"""Bytes <-> meaning: subjects, headers, operations, parser, serializer, credentials, error classes of the wire.

Sans-IO: nothing here waits, reads a clock or opens a socket.
"""

from ._credentials import Credentials as Credentials
from ._credentials import credentials_of_url as credentials_of_url
from ._errors import AuthorizationError as AuthorizationError
from ._errors import InvalidHeaderError as InvalidHeaderError
from ._errors import InvalidSubjectError as InvalidSubjectError
from ._errors import NatsError as NatsError
from ._errors import PayloadTooLargeError as PayloadTooLargeError
from ._errors import PermissionsError as PermissionsError
from ._errors import ProtocolError as ProtocolError
from ._errors import ServerError as ServerError
from ._headers import Headers as Headers
from ._headers import HeadersInput as HeadersInput
from ._headers import decode_headers as decode_headers
from ._headers import encode_headers as encode_headers
from ._headers import is_header_block as is_header_block
from ._operations import LANGUAGE as LANGUAGE
from ._operations import ConnectOptions as ConnectOptions
from ._operations import ServerInfo as ServerInfo
from ._operations import decode_info as decode_info
from ._operations import encode_connect as encode_connect
from ._parser import Parser as Parser
from ._parser import Receiver as Receiver
from ._parser import Route as Route
from ._serializer import PING as PING
from ._serializer import PONG as PONG
from ._serializer import PUBLISH_FRAME as PUBLISH_FRAME
from ._serializer import control_line_size as control_line_size
from ._serializer import encode_publish as encode_publish
from ._serializer import encode_subscribe as encode_subscribe
from ._serializer import encode_unsubscribe as encode_unsubscribe
from ._serializer import payload_size as payload_size
from ._serializer import publish_prefix as publish_prefix
from ._server_errors import server_error as server_error
from ._subjects import check_inbox_prefix as check_inbox_prefix
from ._subjects import check_name as check_name
from ._subjects import decode_subject as decode_subject
from ._subjects import encode_pattern as encode_pattern
from ._subjects import encode_queue_group as encode_queue_group
from ._subjects import encode_subject as encode_subject
