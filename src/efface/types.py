"""Types that all parts of efface use: ids, arrays, data sets and estimates."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
RecordId = int | str


@runtime_checkable
class SizedDataset(Protocol):
    """A map-style data set, such as a list or most torch datasets: it has a length, and `dataset[i]` is record i."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True)
class Estimate:
    """A number with a two-sided interval.

    Args:
        value: The number.
        low: The lower end of the interval; NaN if there is no interval.
        high: The upper end of the interval; NaN if there is no interval.
        level: The coverage of the interval, in (0, 1).
    """

    value: float
    low: float
    high: float
    level: float

    @classmethod
    def point(cls, value: float, level: float) -> "Estimate":
        """A number without an interval."""
        return cls(value, math.nan, math.nan, level)

    def within(self, centre: float, margin: float) -> bool:
        """Whether the whole interval lies within `margin` of `centre`."""
        return centre - margin <= self.low and self.high <= centre + margin

    def excludes(self, centre: float) -> bool:
        """Whether `centre` lies outside the interval."""
        return not self.low <= centre <= self.high
