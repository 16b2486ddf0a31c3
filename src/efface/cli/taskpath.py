"""Loading the task that a user names as `module:attribute`, and messages if it cannot be loaded."""

import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from efface.errors import RequestError, describe_error
from efface.runtime.options import nearest

if TYPE_CHECKING:  # a task's path is checked without torch
    from efface.task import Task

# frames of a traceback in these files are not part of the user's code
LIBRARY_FILES = (str(Path(__file__).parents[1]), str(importlib.__file__), "<frozen importlib")


def check_task_path(path: str) -> tuple[str, str]:
    """Split `module:attribute`, and check that the module exists, without importing it.

    Raises:
        RequestError: the path is written otherwise, or there is no such module.
    """
    module, colon, attribute = path.partition(":")
    if module.endswith(".py") or "/" in module or "\\" in module:
        dotted = ".".join(p for p in module.removesuffix(".py").replace("\\", "/").split("/") if p not in ("", "."))
        raise RequestError(f"task {path!r}: name the module as in an import: {dotted}:{attribute or 'task'}")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise RequestError(f"task {path!r}: expected MODULE:NAME, for example my_task:task")
    top = module.partition(".")[0]
    importlib.invalidate_caches()  # the file may be newer than the folder's listing
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        raise _missing(top)
    return module, attribute


def load_task(path: str) -> "Task":
    """Import `module:attribute` (dots allowed on both sides), and call it if it is a function.

    Raises:
        RequestError: the task cannot be loaded, for any reason; the message is one line.
    """
    from efface.task import Task

    module, attribute = check_task_path(path)
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


@contextlib.contextmanager
def working_folder_importable() -> Iterator[None]:
    """Make modules in the working folder importable while a command runs, since hooks of the task may import late."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a user's module may have removed it
            sys.path.remove(folder)


def user_failure(error: BaseException) -> str:
    """Describe an exception from a user's code as `raised ...`, with the line in the user's file that led to it."""
    line = f"raised {describe_error(error)}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{line} ({error.filename}, line {error.lineno})" if str(error.lineno) not in line else line
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARY_FILES)]
    own = [f for f in frames if f.filename == frames[0].filename]
    return f"{line} ({own[-1].filename}, line {own[-1].lineno})" if own else line


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise _missing(missing) from None
        raise RequestError(f"module {name} {user_failure(error)}") from error
    except (Exception, SystemExit) as error:  # SystemExit: a script without a main guard
        raise RequestError(f"module {name} {user_failure(error)}") from error


def _missing(module: str) -> RequestError:
    return RequestError(
        f"there is no module {module!r} (looked in {Path.cwd()} and the installed packages): "
        "start the command in the folder where it lies, or name that folder in PYTHONPATH"
    )


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
    from efface.task import Task

    return isinstance(value, Task) or (isinstance(value, FunctionType) and value.__module__ == module)
