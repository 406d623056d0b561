"""Faults: plans of what happens to a network, and a dialer that injects faults into single operations on the wire.

    _fields, _kinds -> _plan                                       a plan: data, drawn, printed, shrunk
    _splitter -> _operations, _faults -> _interests, _refusals, _incoming -> _stream -> _dialer    the fault dialer

Both work before a simulated and a real server; the client knows nothing of them.
"""

from ._dialer import FaultDialer as FaultDialer
from ._dialer import Injection as Injection
from ._errors import FaultPlanError as FaultPlanError
from ._errors import InjectionError as InjectionError
from ._faults import OperationFault as OperationFault
from ._faults import close_connection as close_connection
from ._faults import delay as delay
from ._faults import error as error
from ._faults import intermittent as intermittent
from ._faults import timeout as timeout
from ._kinds import Fault as Fault
from ._kinds import FaultKind as FaultKind
from ._operations import OperationKind as OperationKind
from ._plan import Draw as Draw
from ._plan import Plan as Plan
from ._plan import shrink as shrink
