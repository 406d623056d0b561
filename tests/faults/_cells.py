"""The cells of fault injection: 6 operations x 5 faults with the full client, before any server.

Each cell proves three things. Resilience: the client lives, no task is lost, it reconnects where it should. Semantics:
each call ends as its documentation says, and what was told to be sent has arrived. Observability: the log says it by
its code, the counter moves by exactly the calls that failed, the link is lost only where the fault closes it, and
nothing moves any more when the fault is undone.

A cell is a function of the name OPERATION_FAULT in the module of its operation; its docstring is the law. It is given
a `Stage` and knows nothing of the server behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any, Final, TypeAlias

from tests.faults import (
    _cells_ack,
    _cells_connect,
    _cells_nak,
    _cells_publish,
    _cells_publish_with_ack,
    _cells_subscribe,
)
from tests.faults._names import NAMES
from tests.faults._proof import Stage

Cell: TypeAlias = Callable[[Stage], Awaitable[None]]

_MODULES: Final = (_cells_connect, _cells_publish, _cells_publish_with_ack, _cells_ack, _cells_nak, _cells_subscribe)


def _cells_of(module: ModuleType) -> Mapping[str, Any]:
    return {name: function for name, function in vars(module).items() if name in NAMES}


_FOUND: Final = {name: cell for module in _MODULES for name, cell in _cells_of(module).items()}
CELLS: Final[tuple[Cell, ...]] = tuple(_FOUND[name] for name in NAMES if name in _FOUND)
