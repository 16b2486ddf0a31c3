"""`efface.unlearn` with the fields of its options beside its other keywords, for helpers that pass keywords on."""

from dataclasses import fields
from typing import Any

from torch import nn

import efface
from efface import Result, UnlearnOptions

FIELDS = {field.name for field in fields(UnlearnOptions)}


def with_options(given: dict[str, Any]) -> dict[str, Any]:
    """Keywords of `efface.unlearn`, the fields of `UnlearnOptions` among them moved into its options."""
    rest = {name: value for name, value in given.items() if name not in FIELDS}
    return {**rest, "options": UnlearnOptions(**{name: given[name] for name in FIELDS & set(given)})}


def unlearn(model: nn.Module, **given: Any) -> Result:
    """`efface.unlearn` by such keywords."""
    return efface.unlearn(model, **with_options(given))
