"""Services as NATS tools see them (ADR-32): `$SRV` discovery, information and statistics of what answers requests.

_records -> _answers -> _discovery      what a service is; what it says of itself; saying it
"""

from ._discovery import serve_discovery as serve_discovery
from ._records import Endpoint as Endpoint
from ._records import EndpointStatistics as EndpointStatistics
from ._records import Service as Service
from ._records import ServiceError as ServiceError
