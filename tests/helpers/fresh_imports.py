"""What a test imports from a temporary folder is taken out of the process after it, so that no later test meets it."""

import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _elsewhere(folder: Path) -> tuple[dict[str, Any], set[str]]:
    """Modules by name, and places, that are known not to lie below a folder: a process has thousands of each."""
    return {}, set()


@contextmanager
def fresh_imports(folder: Path) -> Iterator[None]:
    """Undo at the end of the block what imports from below a folder leave in the process.

    These are modules, the path that they were found on, their lines kept for tracebacks, and listings of their folders.
    """
    path, below = list(sys.path), f"{folder}/"
    modules, places = _elsewhere(folder)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if modules.get(name) is module:
                continue
            # not getattr, at which some packages import their parts
            own = getattr(module, "__dict__", {})
            if any(f"{place}/".startswith(below) for place in (own.get("__file__"), *own.get("__path__", ()))):
                del sys.modules[name]
            else:
                modules[name] = module
        for held in (linecache.cache, sys.path_importer_cache):
            for place in held.keys() - places:
                if f"{place}/".startswith(below):
                    del held[place]
                else:
                    places.add(place)
