"""Hosts, ways, connections and their faults: TCP as an application sees it, in virtual time."""

from ._conditions import Conditions as Conditions
from ._connect import DialRecord as DialRecord
from ._connection import ConnectionRecord as ConnectionRecord
from ._dialer import SimulatedDialer as SimulatedDialer
from ._faults import NetworkFault as NetworkFault
from ._host import Host as Host
from ._machine import LinkHandler as LinkHandler
from ._machine import Machine as Machine
from ._machine import MachineLink as MachineLink
from ._network import Network as Network
from ._sink import TraceSink as TraceSink
from ._stream import SimulatedStream as SimulatedStream
