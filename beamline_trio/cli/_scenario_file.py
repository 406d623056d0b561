"""FILE.py[:function] -> the scenario.

Must not run it.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ._failures import CommandError

_FUNCTION: Final = "scenario"


def load_scenario(target: str) -> Callable[..., Any]:
    """Run a user's file, as Python runs a script, and take its scenario: an async function of a world.

    Args:
        target: the file's path, and behind a colon the function's name; else it is `scenario`.

    Raises:
        CommandError: there is no such file or function, it is no async function of one argument, or the file raised.
    """
    path, name = _parts(target)
    if not path.is_file():
        raise CommandError(f"there is no file {str(path)!r}; write FILE.py or FILE.py:FUNCTION")
    module = _run(path)
    found = vars(module).get(name)
    if found is None:
        raise CommandError(f"{path} has no function {name!r}; {_offer(path, module)}")
    if not inspect.iscoroutinefunction(found):
        raise CommandError(f"{name!r} in {path} is no async function; write `async def {name}(world)`")
    try:
        inspect.signature(found).bind(object())
    except TypeError:
        signature = inspect.signature(found)
        raise CommandError(f"`async def {name}{signature}` in {path} must take one argument, the world") from None
    scenario: Callable[..., Any] = found
    return scenario


def _parts(target: str) -> tuple[Path, str]:
    path, colon, name = target.rpartition(":")
    return (Path(path), name) if colon and name.isidentifier() else (Path(target), _FUNCTION)


def _run(path: Path) -> ModuleType:
    # What lies beside it can be imported by it, as beside any script.
    directory = str(path.parent.resolve())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    name = f"_scenario_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise CommandError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}, line {last.lineno}"
        raise CommandError(f"{path} raised {type(error).__name__}: {error} ({where})") from error
    return module


def _offer(path: Path, module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.iscoroutinefunction(value) and value.__module__ == module.__name__
    ]
    if not names:
        return f"write `async def {_FUNCTION}(world)`"
    return f"its async functions are {', '.join(names)}; write {path}:{names[0]}"
