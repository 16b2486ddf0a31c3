"""Ids, arrays and estimates: what every part of efface speaks in. Nothing here computes anything heavy."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


Floats = NDArray[np.float64]


RecordId = int | str


@dataclass(frozen=True)
class Estimate:
    """A number with a two-sided interval; `level` is the interval's coverage in (0, 1)."""

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
