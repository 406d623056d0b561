"""MODULE:ROUTER -> the router.

Must not run it.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ..router import Router
from ._failures import CommandError


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
