"""A router of jobs for AI providers: who shall do this task? `beamline run examples.decision_router:router`.

    messages, errors -> reading -> validation        what comes in, and what is wrong with it
    policy, rates -> tenancy                         what a tenant may and wants
    providers -> selection -> building               who does it, and how that is told
    workers, desk, fates                             the decisions of one instance, synchronous and pure of NATS
    streams -> routes                                the same on NATS

A module imports only those above it, or to its left. docs/examples/decision-router.md is the walk through it.
"""

from .desk import Answer as Answer
from .desk import Desk as Desk
from .errors import ErrorCode as ErrorCode
from .errors import Later as Later
from .errors import Refusal as Refusal
from .policy import FallbackRule as FallbackRule
from .policy import Policy as Policy
from .policy import PolicyError as PolicyError
from .policy import Provider as Provider
from .policy import Sticky as Sticky
from .routes import make_router as make_router
from .routes import router as router
from .tenancy import Tenancy as Tenancy
from .tenancy import Tenant as Tenant
