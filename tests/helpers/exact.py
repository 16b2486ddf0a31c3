"""Problems whose models are retrained exactly without some records, and what calibration aims at on them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Task
from efface.calibration.counterfactual import CalibrationRecords, CounterfactualLogits
from efface.calibration.targets import target_logits
from efface.data.records import Records
from efface.kinds import Kind
from efface.numerics.logits import symlog
from efface.runtime.cost import Meter

Fit = Callable[[Tensor, Tensor], nn.Module]  # from inputs and targets to a trained model


def linear(weights: Tensor) -> nn.Module:
    """A linear model with weights (d + 1, k)."""
    model = nn.Linear(len(weights) - 1, weights.shape[1])
    with torch.no_grad():
        model.weight.copy_(weights[:-1].T)
        model.bias.copy_(weights[-1])
    return model.eval()


def with_one(x: Tensor) -> Tensor:
    """Inputs with a column of ones for the intercept, float64."""
    return torch.cat([x.double(), torch.ones(len(x), 1, dtype=torch.float64)], 1)


def normal_inputs(n: int, width: int, seed: int) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Exact:
    """Models of records, some of which are to be forgotten.

    Args:
        kind: The kind of its task.
        fit: How they are trained.
        train: Inputs and targets of the training records: first those to forget, then those that no reference is
            trained on, then the others.
        holdout: Those of records that none was trained on.
        forget: How many records are to be forgotten.
        members: How many of the others no reference is trained on.
    """

    kind: Kind
    fit: Fit
    train: tuple[Tensor, Tensor]
    holdout: tuple[Tensor, Tensor]
    forget: int = 40
    members: int = 200

    def model(self, left_out: int) -> nn.Module:
        """The model of all training records but the first ones."""
        x, y = self.train
        return self.fit(x[left_out:], y[left_out:])

    def without(self, left_out: int) -> Tensor:
        """What steps compare of what a model without the first records says of those to forget."""
        with torch.no_grad():
            outputs = self.model(left_out)(self.train[0][: self.forget])
        return self.kind.compared(self.kind.values(outputs, self.train[1][: self.forget]).double())

    def labels(self) -> Tensor:
        return self.kind.labels(self.train[1][: self.forget])

    def margin(self, compared: Tensor) -> Tensor:
        """Margins on the symmetric log, on which models are compared."""
        return symlog(self.kind.margin(compared, self.labels()))

    def share_left(self) -> tuple[float, float]:
        """The mean squared distance of targets from the retrained model, as a share of the original's.

        Returns:
            The share of what is compared, and that of margins.
        """
        before, wanted, found = self.without(0), self.without(self.forget), self.targets()
        pairs = [(found, before, wanted), tuple(self.margin(v) for v in (found, before, wanted))]
        far = [float((one - goal).square().mean() / (other - goal).square().mean()) for one, other, goal in pairs]
        return far[0], far[1]

    def targets(self) -> Tensor:
        """The targets of the method steer, by a reference that is trained on the other records."""
        train, holdout = TensorDataset(*self.train), TensorDataset(*self.holdout)
        task = Task(train=train, holdout=holdout, kind=self.kind)
        positions = np.arange(self.forget), np.arange(self.forget, self.forget + self.members)
        records = CalibrationRecords(
            Records(train, task), Records(holdout, task), positions[1], np.arange(len(holdout))
        )
        reference = self.model(self.forget + self.members)
        counterfactual = CounterfactualLogits(task, self.model(0), reference, records, Meter())
        seen = counterfactual.of_training(positions[0])
        return target_logits(seen, counterfactual.members, counterfactual.nonmembers, ())
