"""Files that are whole or not there."""

from pathlib import Path

from efface.runtime.files import atomic_write


def write_whole(path: Path, text: str) -> Path:
    """Write a file of text in one step; gives its path, OSError where that fails."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
