"""`beamline check`: what is wrong between a router and a server, one line a finding.

Must not decide what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from ..client import Client
from ..operation.check import Severity, find_problems, needs_of, survey_server
from ._exit_codes import FAILED
from ._target import Loaded


async def check_router(loaded: Loaded, allow_warnings: bool, say: Callable[[str], None], client: Client) -> int:
    """Check a router against the server of a client; returns the exit code.

    Raises:
        NatsError: the connection is lost.
    """
    needs = needs_of(loaded.router, loaded.targets)
    survey = await survey_server(client, needs)
    findings = find_problems(needs, survey)
    for finding in findings:
        say(str(finding))
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    say(
        f"router {loaded.router.name!r} against {survey.server}: {len(needs)} routes, {errors} errors, "
        f"{len(findings) - errors} warnings"
    )
    return FAILED if errors or (findings and not allow_warnings) else 0
