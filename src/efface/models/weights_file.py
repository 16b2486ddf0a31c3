"""What can be said of a weights file from its name alone, before torch is imported."""

from pathlib import Path

from efface.errors import CheckpointError

PICKLES = (".pt", ".pth")
SUFFIXES = (".safetensors", *PICKLES)


def check_weights_file(path: Path) -> None:
    """Refuse a path that is no file, or whose name is not that of a weights file; its content is not read.

    Raises:
        CheckpointError: in one line, which names the path.
    """
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path}: weights files end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        found, there = path.is_file(), path.exists()
    except OSError as error:  # in a folder that may not be entered
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not found:
        raise CheckpointError(f"{path}: {'is not a file' if there else 'there is no such file'}")
