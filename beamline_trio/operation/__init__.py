"""What surrounds a client in production: configuration, HTTP for metrics and health, signals."""

from ..protocol import MissingExtraError as MissingExtraError
from ._application import OperationApplication as OperationApplication
from ._application import streams_of as streams_of
from ._configuration import CLIENT_PROFILE as CLIENT_PROFILE
from ._configuration import ROUTER_PROFILE as ROUTER_PROFILE
from ._configuration import Configuration as Configuration
from ._configuration import load_options as load_options
from ._discovery import service_of as service_of
from ._errors import ListenError as ListenError
from ._errors import OperationError as OperationError
from ._errors import PortInUseError as PortInUseError
from ._http import Application as Application
from ._http import HTTPLimits as HTTPLimits
from ._http import Response as Response
from ._listen import LOOPBACK as LOOPBACK
from ._listen import serve_http as serve_http
from ._signals import Stop as Stop
from ._signals import stop_on_signals as stop_on_signals
