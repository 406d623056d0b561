"""What can be wrong with a fault before anything has happened: a plan or an injection that makes no sense.

Must not hold what faults do to a client: those are the client's own errors.
"""

from __future__ import annotations

from ..protocol._errors import NatsError


class FaultPlanError(NatsError, ValueError):
    """A fault plan, or what it is to be drawn from, has a value that cannot work.

    Attributes:
        field: which one, such as `faults[2].hosts`; empty when the whole text is meant.
        problem: its value, and what it must be.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"fault plan: {field or 'the text'} {problem}")
        self.field = field
        self.problem = problem

    def below(self, path: str) -> FaultPlanError:
        """The same error, told of a part of something larger."""
        return FaultPlanError(f"{path}.{self.field}" if self.field else path, self.problem)


class InjectionError(NatsError, ValueError):
    """A fault cannot be injected as asked for; the text names the value and what it must be. Nothing has changed."""
