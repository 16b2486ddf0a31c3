"""Seeded normal draws, and outputs of a model made of them."""

import torch
from torch import Tensor

from efface.attacks.outputs import COPIES, RecordOutputs

RECORDS, CLASSES = 30, 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_outputs(seed: int, classes: int = CLASSES, scale: float = 3.0, copies: bool = True) -> RecordOutputs:
    """What a model might say of RECORDS records, of their copies, and by a last layer fitted afresh; float64."""
    targets = torch.arange(RECORDS) % classes
    copied = normal(COPIES, RECORDS, classes, seed=seed + 100) if copies else None
    probe = scale * normal(RECORDS, classes, seed=seed + 200)
    return RecordOutputs(scale * normal(RECORDS, classes, seed=seed), targets, copied, probe)
