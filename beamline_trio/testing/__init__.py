"""For the tests of applications: the pytest plugin, and the names that such tests use.

    pytest -> _plugin (options, fixtures) -> _items (which tests) -> _runner (a test in a world) -> _verdict_text
                                          -> _either_server (one test on both servers)

pytest imports this package whenever it starts, needed or not. So it imports nothing itself: a name comes from its
package when it is asked for.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from ..server_process import Server as Server
    from ..simulation import Conditions as Conditions
    from ..simulation import Draw as Draw
    from ..simulation import Evidence as Evidence
    from ..simulation import Fault as Fault
    from ..simulation import FaultKind as FaultKind
    from ..simulation import Law as Law
    from ..simulation import LawBrokenError as LawBrokenError
    from ..simulation import Plan as Plan
    from ..simulation import Publication as Publication
    from ..simulation import Rule as Rule
    from ..simulation import ServerConfig as ServerConfig
    from ..simulation import SimulatedServer as SimulatedServer
    from ..simulation import User as User
    from ..simulation import World as World
    from ..simulation import account as account
    from ..simulation import acked_for_good as acked_for_good
    from ..simulation import at_least_once as at_least_once
    from ..simulation import at_most as at_most
    from ..simulation import books_balance as books_balance
    from ..simulation import bounded_calls as bounded_calls
    from ..simulation import delivered_until_acked as delivered_until_acked
    from ..simulation import each_input_ends as each_input_ends
    from ..simulation import every_call_ends as every_call_ends
    from ..simulation import fails_only_by as fails_only_by
    from ..simulation import honest_unknown as honest_unknown
    from ..simulation import keeps_what_it_acked as keeps_what_it_acked
    from ..simulation import laws as laws
    from ..simulation import no_ack_precedes_its_effect as no_ack_precedes_its_effect
    from ..simulation import no_loss as no_loss
    from ..simulation import nothing_invented as nothing_invented
    from ..simulation import nothing_lost_silently as nothing_lost_silently
    from ..simulation import notices_end as notices_end
    from ..simulation import notices_silence as notices_silence
    from ..simulation import one_at_a_time as one_at_a_time
    from ..simulation import one_of as one_of
    from ..simulation import order_by as order_by
    from ..simulation import paced_dials as paced_dials
    from ..simulation import recovers as recovers
    from ..simulation import replicas_agree as replicas_agree
    from ..simulation import routes_balance as routes_balance
    from ..simulation import run as run
    from ..simulation import sent_once as sent_once
    from ..simulation import settled_once as settled_once
    from ..simulation import settles as settles
    from ..simulation import strands_nothing as strands_nothing
    from ..simulation import told_at_loss as told_at_loss
    from ._either_server import EitherServer as EitherServer
else:
    _HOMES = {"EitherServer": "._either_server", "Server": "..server_process"}
    _SIMULATION = (
        "Conditions", "Draw", "Evidence", "Fault", "FaultKind", "Law", "LawBrokenError", "Plan", "Publication", "Rule",
        "ServerConfig", "SimulatedServer", "User", "World", "account", "acked_for_good", "at_least_once", "at_most",
        "books_balance", "bounded_calls", "delivered_until_acked", "each_input_ends", "every_call_ends",
        "fails_only_by", "honest_unknown", "keeps_what_it_acked", "laws", "no_ack_precedes_its_effect", "no_loss",
        "nothing_invented", "nothing_lost_silently", "notices_end", "notices_silence", "one_at_a_time", "one_of",
        "order_by", "paced_dials", "recovers", "replicas_agree", "routes_balance", "run", "sent_once", "settled_once",
        "settles", "strands_nothing", "told_at_loss",
    )  # fmt: skip
    _HOMES |= dict.fromkeys(_SIMULATION, "..simulation")

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name], __name__), name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES})
