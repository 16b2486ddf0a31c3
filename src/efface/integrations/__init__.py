"""What connects efface to other libraries, one file a library; each is imported when one of its functions is called.

Add a library: one file, one extra in pyproject.toml, one file in tests_extras, one page in docs/howto.
"""

import importlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from efface.errors import RequestError, reason_of
from efface.runtime.files import as_path, folder_problem


def library(name: str, extra: str) -> Any:
    """Import a library that efface itself does not need.

    Args:
        name: The module, such as `lightning.pytorch`.
        extra: The extra of efface that installs it.

    Raises:
        RequestError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {name, name.partition(".")[0]}:
            raise  # the library is there, and lacks one that it needs itself
        raise RequestError(
            f"efface.integrations.{extra} needs {name.partition('.')[0]}, which is not installed: "
            f"pip install 'efface[{extra}]'"
        ) from None


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Write a folder as a whole: the block gets a temporary one beside it, which has its name after the block.

    Args:
        path: The folder; it must not exist, or be empty.

    Raises:
        RequestError: It holds files already, or cannot be written to.
    """
    target = as_path("folder", path)
    if target.is_dir() and any(target.iterdir()):
        raise RequestError(f"{target}: holds files already: name a folder that does not exist yet")
    if problem := folder_problem(target):
        raise RequestError(f"{target}: {problem}")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise RequestError(f"{target}: cannot be written: {reason_of(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
