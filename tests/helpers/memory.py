"""Memory by the number of records: counted in bytes each, never timed."""

import gc
import tracemalloc
from collections.abc import Callable

from efface.data.ids import PositionalIds


class Names(PositionalIds):
    """Record ids that are made when they are asked for; `read` counts how many were."""

    def __init__(self, records: int) -> None:
        self._records = records
        self.read = 0

    def __len__(self) -> int:
        return self._records

    def name(self, position: int) -> str:
        self.read += 1
        return f"rec-{position:07d}"


def bytes_of(call: Callable[[], object]) -> tuple[int, int]:
    """Bytes that what `call` gives still holds, and the most that were held meanwhile (without torch's own)."""
    gc.collect()  # so that its next turn does not depend on what ran before
    tracemalloc.start()
    try:
        kept = call()
        held, most = tracemalloc.get_traced_memory()
        assert kept is not None
    finally:
        tracemalloc.stop()
    return held, most


def growth(call: Callable[[int], object], few: int, many: int) -> tuple[float, float]:
    """Bytes a record that come to be held, and at the most, by the difference of two numbers of records."""
    call(few)  # what a first call leaves behind (caches, lines counted by coverage) is none of what grows
    small, large = (bytes_of(lambda n=n: call(n)) for n in (few, many))
    return (large[0] - small[0]) / (many - few), (large[1] - small[1]) / (many - few)
