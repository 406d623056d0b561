"""Checking a router against a server before it runs: what is wrong, and what to change.

_patterns -> _permissions -> _records -> _permission_plan -> _plan      pure: needs and a survey -> findings
-> _survey                        asks a server
"""

from ._needs import needs_of as needs_of
from ._permissions import Permissions as Permissions
from ._permissions import SubjectPermissions as SubjectPermissions
from ._plan import find_problems as find_problems
from ._records import Finding as Finding
from ._records import RouteNeeds as RouteNeeds
from ._records import Severity as Severity
from ._records import Survey as Survey
from ._records import Target as Target
from ._survey import survey_server as survey_server
