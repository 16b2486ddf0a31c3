"""Statistics of ensembles that are drawn, instead of read from models."""

from typing import Any

import torch
from torch import Tensor

from efface.auditing.ensemble_outputs import RAW, Statistics


def drawn(n: int, seed: int, shift: float = 0.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys = ("margin", "perturbed", "logits", "neighbours", RAW)
    return {k: torch.randn(n, 30, generator=generator, dtype=torch.float64) + shift for k in keys}


def of_ensembles(original: Any, unlearned: Any, retrained: Any) -> Statistics:
    own = tuple({k: v[:1] for k, v in side.items()} for side in (original, unlearned))
    return Statistics(original, unlearned, retrained, own, of_method=True)  # type: ignore[arg-type]
