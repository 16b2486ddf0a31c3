"""Records whose margins are drawn, and what models that know some of them say."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from efface.attacks.outputs import ModelOutputs, RecordOutputs
from efface.auditing.scores import Scores


def of_margins(margins: Tensor) -> RecordOutputs:
    """Outputs of two classes with these margins, all of class 0."""
    return RecordOutputs(
        torch.stack([margins.double(), torch.zeros(len(margins), dtype=torch.float64)], 1),
        torch.zeros(len(margins), dtype=torch.long),
        None,
    )


class World:
    """Records whose margin under any model that never saw them is their difficulty plus noise that grows with it."""

    def __init__(self, seed: int, forget: int = 60, nonmembers: int = 400, shift: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        # forget records are harder than nonmembers on the whole: what a rank alone would take for a trace
        self.hard = 2 * self.rng.beta(2 + shift, 2, forget), 2 * self.rng.beta(2, 2 + shift, nonmembers)

    def outputs(self, known: Any = 0.0) -> ModelOutputs:
        noisy = [-4 * h + (0.2 + 2 * h) * self.rng.standard_normal(len(h)) for h in self.hard]
        noisy[0] = noisy[0] + known
        return ModelOutputs(*(of_margins(torch.from_numpy(v)) for v in noisy))

    def scores(self, known: Any = 0.0, retrained: int = 0, references: int = 6) -> Scores:
        return Scores(
            self.outputs(8.0),
            self.outputs(known),
            [self.outputs() for _ in range(retrained)],
            [self.outputs() for _ in range(references)],
            {},
        )
