"""The checkers: what must hold in every run, judged from facts outside of the system under test."""

from ._books import books_balance as books_balance
from ._books import fails_only_by as fails_only_by
from ._books import honest_unknown as honest_unknown
from ._delivery import at_least_once as at_least_once
from ._delivery import at_most as at_most
from ._delivery import no_loss as no_loss
from ._delivery import nothing_invented as nothing_invented
from ._delivery import one_of as one_of
from ._delivery import order_by as order_by
from ._delivery import sent_once as sent_once
from ._evidence import Evidence as Evidence
from ._evidence import Law as Law
from ._evidence import Violation as Violation
from ._evidence import judge as judge
from ._health import bounded_calls as bounded_calls
from ._health import every_call_ends as every_call_ends
from ._health import paced_dials as paced_dials
from ._health import recovers as recovers
from ._links import notices_end as notices_end
from ._links import notices_silence as notices_silence
from ._links import settles as settles
from ._links import told_at_loss as told_at_loss
