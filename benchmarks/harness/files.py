"""Files that are whole or not there."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> Path:
    """Write a file beside its place first and then put it there; gives its path, OSError where that fails."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
