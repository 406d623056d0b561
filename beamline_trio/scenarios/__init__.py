"""The production-scale scenarios: a load, faults and what must hold, in the simulation or on real servers.

catalogue, settings -> plan -> conductor { rig, load, actions, sampling } -> evidence -> criteria -> report -> page
"""

from ._catalogue import SCENARIOS as SCENARIOS
from ._catalogue import find_scenario as find_scenario
from ._conductor import Evidence as Evidence
from ._errors import ScenarioError as ScenarioError
from ._finding import Finding as Finding
from ._limits import Limit as Limit
from ._limits import Mark as Mark
from ._page import page_of as page_of
from ._plan import Plan as Plan
from ._plan import PlannedFault as PlannedFault
from ._plan import Span as Span
from ._plan import make_plan as make_plan
from ._run import run_scenario as run_scenario
from ._sampling import Sample as Sample
from ._scenario import Cycle as Cycle
from ._scenario import Expectations as Expectations
from ._scenario import Kind as Kind
from ._scenario import Phase as Phase
from ._scenario import Scenario as Scenario
from ._scenario import Topology as Topology
from ._settings import Settings as Settings
from ._settings import settings_from as settings_from
from ._shape import as_report as as_report
from ._shape import report_schema as report_schema
