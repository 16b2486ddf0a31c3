"""Text in messages."""

from collections.abc import Iterable
from typing import Any

MAX_NAME = 60  # characters that are shown of one name


def shorten(names: Iterable[Any], most: int = 3) -> str:
    """The first few names, as Python writes them, and how many more there are."""
    every = list(names)
    shown = ", ".join(text if len(text := repr(n)) <= MAX_NAME else f"{text[: MAX_NAME - 3]}..." for n in every[:most])
    return shown + (f" and {len(every) - most} more" if len(every) > most else "")
