"""A server's address -> a byte stream: the seam that a simulated network or a fault dialer replaces."""

from ._address import DEFAULT_PORT as DEFAULT_PORT
from ._address import ServerAddress as ServerAddress
from ._address import parse_address as parse_address
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
from ._tls import TLSFiles as TLSFiles
