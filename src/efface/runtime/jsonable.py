"""Values as JSON can hold them."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def to_jsonable(value: Any) -> Any:
    """A copy of a value in dicts, lists and Python scalars.

    Args:
        value: any nesting of dataclasses, mappings, lists, tuples, arrays, paths and scalars, or a report.

    Returns:
        The copy; a report becomes its document, a path its text, and NaN or an infinite number None.
    """
    if hasattr(value, "document"):  # a report; its class is not imported, since it needs torch
        return value.document
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy, which is not imported either
        return to_jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
