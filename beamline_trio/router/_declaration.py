"""A route between its options and its handler: what `Router.route` was called with, checked before it is a decorator.

Must not know the router's other routes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ._middleware import Middleware, compose
from ._route import Route
from ._route_options import RouteOptions
from ._signature import bind
from ._signature_batch import bind_batch


class Declaration:
    """One route that waits for its handler.

    Args:
        name: of the route; None = the handler's name.
        options: those of RouteOptions but for the name.

    Raises:
        InvalidSubjectError, OptionsError, ValueError: what RouteOptions raises.
    """

    def __init__(self, name: str | None, options: Mapping[str, Any]) -> None:
        self._name = name
        self._options = partial(RouteOptions, **options)
        self._checked = self._options(name=name if name is not None else "route")

    def label(self, handler: Callable[..., Any]) -> str:
        """The name that the route will have."""
        return self._name if self._name is not None else getattr(handler, "__name__", self._checked.subject)

    def route(
        self, handler: Callable[..., Any], names: Mapping[str, Any], router: str, around: Sequence[Middleware]
    ) -> Route:
        """The route.

        Args:
            handler: its handler.
            names: names for annotations in strings; see `bind`.
            router: the name of its router.
            around: the router's middleware, around its own.

        Raises:
            HandlerError: the function cannot be a handler.
        """
        invoke = bind(handler, names) if self._checked.batch is None else bind_batch(handler, names)
        call = compose((*around, *self._checked.middleware), invoke)
        return Route(self._options(name=self.label(handler)), call, router)


def names_of_caller() -> dict[str, Any]:
    """The local names of the function that called the one that asks; none where they cannot be seen."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    return dict(frame.f_locals) if frame is not None else {}
