"""What JSON can hold of any value."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from efface.runtime.jsonable import to_jsonable


@dataclass(frozen=True)
class Point:
    x: float
    names: tuple[str, ...]


def test_values_of_every_kind_become_plain_ones() -> None:
    found = to_jsonable(
        {1: Point(math.nan, ("a",)), "p": Path("x/y"), "n": np.array([1.0, math.inf]), "k": np.int64(3)}
    )
    assert found == {"1": {"x": None, "names": ["a"]}, "p": "x/y", "n": [1.0, None], "k": 3}
    assert json.loads(json.dumps(found)) == found
    assert to_jsonable(SimpleNamespace(document={"title": "t"})) == {"title": "t"}
    assert to_jsonable([True, None, "s", 2]) == [True, None, "s", 2]
