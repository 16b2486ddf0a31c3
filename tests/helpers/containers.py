"""Containers of ids that are not lists."""

from collections.abc import Iterable, Iterator
from typing import Any


class Labelled:
    """What a pandas Series does: positions in iteration, labels in [ ]."""

    ndim = 1

    def __init__(self, values: Iterable[Any], index: Iterable[Any]) -> None:
        self._values = list(values)
        self._at = dict(zip(index, self._values, strict=True))

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __getitem__(self, label: Any) -> Any:
        return self._at[label]
