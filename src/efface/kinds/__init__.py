"""The kinds of outputs, by key. Add a kind: one file, one line here, one row in tests/helpers/kind_table.py."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from efface.kinds.base import SCOPE, Head, Kind
from efface.kinds.classes import Binary, Classes
from efface.kinds.multilabel import MultiLabel
from efface.kinds.regression import Regression
from efface.kinds.tokens import Tokens

# in the order in which they are tried where the kind is not stated
KINDS: Mapping[str, type[Kind]] = MappingProxyType(
    {kind.key: kind for kind in (Classes, Binary, MultiLabel, Tokens, Regression)}
)
CLASSES = Classes()


def kind_by_key(key: str) -> Kind:
    """The kind with a key, by its default options; KeyError where there is none."""
    return KINDS[key]()


def find_kind(outputs: Tensor, targets: Tensor) -> Kind | None:
    """The kind of a task by what its model and its data give for some records; None where it must be stated.

    Args:
        outputs: What the model returned for the records.
        targets: Their targets.
    """
    with torch.no_grad():
        return next((kind() for kind in KINDS.values() if kind.found(outputs, targets)), None)


def kinds_to_state(outputs: Tensor, targets: Tensor) -> str:
    """The kinds that a user may state for such outputs and targets, in words and code; empty if none fits."""
    width = outputs.shape[-1] if outputs.ndim > 1 else 1
    fitting = [
        kind
        for kind in (kind() for kind in KINDS.values())
        if kind.wrong_outputs(outputs, targets) is None and kind.wrong_targets(targets, width) is None
    ]
    return " or ".join(f'Task.kind="{kind.key}" ({kind.title})' for kind in fitting)


__all__ = [
    "CLASSES",
    "KINDS",
    "SCOPE",
    "Binary",
    "Classes",
    "Head",
    "Kind",
    "MultiLabel",
    "Regression",
    "Tokens",
    "find_kind",
    "kind_by_key",
    "kinds_to_state",
]
