"""A virtual network and a model of NATS on trio's mock clock: outages of hours in seconds, and one seed is one run.

    run -> World -> { network, servers, journal, trace } ; scenario -> laws -> verdict

Imports of the protocol only its vocabulary, never the client's parser, and nothing of the client: or it would share
their mistakes. `import beamline_trio` does not import it.
"""

from ..faults import Draw as Draw
from ..faults import Fault as Fault
from ..faults import FaultKind as FaultKind
from ..faults import Plan as Plan
from ._errors import EndlessError as EndlessError
from ._errors import ForbiddenError as ForbiddenError
from ._errors import SimulationError as SimulationError
from ._errors import UnknownTrioError as UnknownTrioError
from ._events import Events as Events
from ._events import Timer as Timer
from ._facts import Delivery as Delivery
from ._facts import Publication as Publication
from ._journal import Journal as Journal
from ._laws import Evidence as Evidence
from ._laws import Law as Law
from ._laws import Violation as Violation
from ._laws import account as account
from ._laws import acked_for_good as acked_for_good
from ._laws import at_least_once as at_least_once
from ._laws import at_most as at_most
from ._laws import books_balance as books_balance
from ._laws import bounded_calls as bounded_calls
from ._laws import delivered_until_acked as delivered_until_acked
from ._laws import each_input_ends as each_input_ends
from ._laws import every_call_ends as every_call_ends
from ._laws import fails_only_by as fails_only_by
from ._laws import honest_unknown as honest_unknown
from ._laws import keeps_what_it_acked as keeps_what_it_acked
from ._laws import no_ack_precedes_its_effect as no_ack_precedes_its_effect
from ._laws import no_loss as no_loss
from ._laws import nothing_invented as nothing_invented
from ._laws import nothing_lost_silently as nothing_lost_silently
from ._laws import notices_end as notices_end
from ._laws import notices_silence as notices_silence
from ._laws import one_at_a_time as one_at_a_time
from ._laws import one_of as one_of
from ._laws import order_by as order_by
from ._laws import paced_dials as paced_dials
from ._laws import recovers as recovers
from ._laws import replicas_agree as replicas_agree
from ._laws import routes_balance as routes_balance
from ._laws import sent_once as sent_once
from ._laws import settled_once as settled_once
from ._laws import settles as settles
from ._laws import strands_nothing as strands_nothing
from ._laws import told_at_loss as told_at_loss
from ._network import Conditions as Conditions
from ._network import Network as Network
from ._network import NetworkFault as NetworkFault
from ._network import SimulatedStream as SimulatedStream
from ._run import run as run
from ._run import run_in as run_in
from ._scenario import LawBrokenError as LawBrokenError
from ._scenario import Laws as Laws
from ._scenario import Verdict as Verdict
from ._scenario import laws as laws
from ._scenario import laws_of as laws_of
from ._scenario import make_world as make_world
from ._scenario import run_scenario as run_scenario
from ._scenario import shrink_plan as shrink_plan
from ._scenario import verdict_of as verdict_of
from ._server import Gateway as Gateway
from ._server import Rule as Rule
from ._server import ServerConfig as ServerConfig
from ._server import SimulatedServer as SimulatedServer
from ._server import User as User
from ._trace import Trace as Trace
from ._trace import first_difference as first_difference
from ._world import World as World
