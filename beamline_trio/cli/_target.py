"""MODULE:ROUTER, or a file of routes in TOML -> the router.

Must not run it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

import attrs

from ..operation.check import Target
from ..operation.route_file import MappedHandler, build_router, load_route_file
from ..router import Router
from ._failures import CommandError


@attrs.frozen
class Loaded:
    """A router, and what is known of its handlers where they come from a file.

    Attributes:
        router: it.
        handlers: name of a route -> its mapping; empty for a module's.
    """

    router: Router
    handlers: dict[str, MappedHandler] = attrs.field(factory=dict)

    @property
    def targets(self) -> dict[str, list[Target]]:
        """Name of a route -> where it publishes to, as far as that is known."""
        found: dict[str, list[Target]] = {}
        for name, one in self.handlers.items():
            mapping, stored = one.mapping, self.router.routes[name].options.stream is not None
            if mapping.subject is not None:
                confirmed = mapping.confirm == "stream" or (mapping.confirm == "route" and stored)
                found[name] = [Target(pattern=mapping.subject.pattern(), stored=confirmed)]
        return found


def load_target(target: str) -> Loaded:
    """The router that is meant: what ends in `.toml` is a file of routes, all else MODULE:ROUTER.

    Raises:
        CommandError: see `load_router`.
        RouteFileError: see `load_route_file`.
    """
    if target.endswith(".toml"):
        return Loaded(*build_router(load_route_file(target)))
    return Loaded(load_router(target))


def load_router(target: str) -> Router:
    """Import a user's module, which may lie in the current directory, and take its router.

    Raises:
        CommandError: there is no such module or attribute, the attribute is no router with routes, or importing the
            module raised.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise CommandError(f"{target!r} is no MODULE:ROUTER; write it as in prices:router")
    module = _import(module_name)
    try:
        router = getattr(module, attribute)
    except AttributeError:
        routers = [name for name, value in vars(module).items() if isinstance(value, Router)]
        hint = f"its routers are {', '.join(routers)}" if routers else "it has no router"
        raise CommandError(f"module {module_name!r} has no attribute {attribute!r}; {hint}") from None
    if not isinstance(router, Router):
        raise CommandError(
            f"{target} is of type {type(router).__name__}, not a Router; write {attribute} = Router({attribute!r})"
        )
    if not router.routes:
        raise CommandError(f"{target} has no route; add one with @{attribute}.route(subject)")
    return router


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        raise CommandError(f"no module {error.name!r}, neither in {here} nor installed; check the name") from None
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> CommandError:
    """The module is there and does not work: where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
        what = error.msg
    else:
        where = f"{frames[-1].filename}, line {frames[-1].lineno}"
        what = str(error)
    return CommandError(f"importing {name} raised {type(error).__name__}: {what} ({where})")
