"""The task that a user names as `module:attribute`, and what to say where it cannot be had."""

import importlib
import traceback
from pathlib import Path
from types import FunctionType
from typing import Any

from efface.cli.failures import one_line
from efface.errors import RequestError
from efface.options import nearest
from efface.task import Task

OURS = (str(Path(__file__).parents[1]), str(importlib.__file__), "<frozen importlib")


def load_task(path: str) -> Task:
    """Import `module:attribute` (dots allowed on both sides), call it if it is a function, and give its Task.

    Raises RequestError, in one line, for whatever goes wrong in it.
    """
    module, colon, attribute = path.partition(":")
    if module.endswith(".py") or "/" in module or "\\" in module:
        dotted = ".".join(p for p in module.removesuffix(".py").replace("\\", "/").split("/") if p not in ("", "."))
        raise RequestError(f"task {path!r}: name the module as in an import: {dotted}:{attribute or 'task'}")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise RequestError(f"task {path!r}: expected MODULE:NAME, for example my_task:task")
    found = _attribute(_module(module), module, attribute)
    if isinstance(found, Task):
        return found
    if not callable(found):
        raise RequestError(f"{path} is of type {type(found).__name__}, not an efface.Task or a function that gives one")
    try:
        made = found()
    except (Exception, SystemExit) as error:
        raise RequestError(f"{path} {user_failure(error)}") from error
    if not isinstance(made, Task):
        raise RequestError(f"{path} returned {type(made).__name__}, not an efface.Task")
    return made


def user_failure(error: BaseException) -> str:
    """`raised ...`: what a user's code raised, and the last place in the user's own file on the way there."""
    line = f"raised {one_line(error)}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{line} ({error.filename}, line {error.lineno})" if str(error.lineno) not in line else line
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(OURS)]
    own = [f for f in frames if f.filename == frames[0].filename]
    return f"{line} ({own[-1].filename}, line {own[-1].lineno})" if own else line


def _module(name: str) -> Any:
    importlib.invalidate_caches()  # the file may be newer than the folder's listing
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            where = f"looked in {Path.cwd()} and the installed packages"
            raise RequestError(f"there is no module {missing!r} ({where})") from None
        raise RequestError(f"module {name} {user_failure(error)}") from error
    except (Exception, SystemExit) as error:  # SystemExit: a script without a main guard
        raise RequestError(f"module {name} {user_failure(error)}") from error


def _attribute(module: Any, name: str, attribute: str) -> Any:
    found, where = module, f"module {name}"
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            known = [n for n, v in vars(module).items() if _may_be_task(v, name)] if found is module else []
            hint = f" ({nearest(part, known)})" if known else ""
            raise RequestError(f"{where} has no {part!r}{hint}") from None
        except Exception as error:
            raise RequestError(f"{where}: reading {part!r} {user_failure(error)}") from error
        where = f"{where.removeprefix('module ')}.{part}" if found is not module else where
    return found


def _may_be_task(value: object, module: str) -> bool:
    return isinstance(value, Task) or (isinstance(value, FunctionType) and value.__module__ == module)
