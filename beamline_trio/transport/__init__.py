"""A server's address -> a byte stream: the seam that a simulated network or a fault dialer replaces."""

from ._address import DEFAULT_PORT as DEFAULT_PORT
from ._address import ServerAddress as ServerAddress
from ._address import parse_address as parse_address
from ._anyio import AnyioStream as AnyioStream
from ._anyio import from_anyio as from_anyio
from ._dialer import Dialer as Dialer
from ._dialer import TCPDialer as TCPDialer
from ._direct import direct_write as direct_write
from ._environment import Environment as Environment
from ._errors import AddressError as AddressError
from ._errors import ConnectError as ConnectError
from ._errors import NameResolutionError as NameResolutionError
from ._errors import ServerUnreachableError as ServerUnreachableError
from ._errors import TLSError as TLSError
from ._errors import TLSFilesError as TLSFilesError
from ._errors import TLSFilesNotFoundError as TLSFilesNotFoundError
from ._errors import WebSocketError as WebSocketError
from ._tls import TLSFiles as TLSFiles
from ._websocket import HeadersCallback as HeadersCallback
from ._websocket import WebSocketDialer as WebSocketDialer
from ._websocket import WebSocketHeaders as WebSocketHeaders
from ._websocket import WebSocketStream as WebSocketStream
from ._websocket import checked_headers as checked_headers
