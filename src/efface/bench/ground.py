"""What models say of a request's records, their neighbours, retain and test records; and how far that is apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor, nn

from efface.attacks.outputs import copier, view
from efface.auditing.ensemble_outputs import CELLS
from efface.bench.requests import Asked
from efface.data.records import Records
from efface.metrics.distance import ResidualDistance, residual_distance, standardise_by_nonmembers
from efface.metrics.membership import conditional_auc
from efface.models.features import penultimate
from efface.numerics.logits import log_likelihood, symlog
from efface.runtime.cost import Meter
from efface.types import Estimate, Indices

ELSEWHERE = 1000  # records of retain, of test, and of the control that takes out a model's level and scale
COPIED = ("forget", "control")  # places of which slightly changed copies are read too
ACCURACIES = ("accuracy forget", "accuracy retain", "accuracy test")

Readings = Mapping[str, Tensor]  # by statistic: (models, records), or (models,) for one number a model


@dataclass
class Ground:
    """Where the models of one request are read; neighbours in the test set are sought by `judge`, a retrained model."""

    asked: Asked
    judge: nn.Module
    places: dict[str, tuple[Records, Indices]] = field(init=False)

    def __post_init__(self) -> None:
        task, forget = self.asked.task, self.asked.forget
        assert task.test is not None
        train, test = Records(task.train, task), Records(task.test, task)
        rng = np.random.default_rng(5)
        size = min(ELSEWHERE, len(test) // 3)
        self.places = {
            "forget": (train, forget),
            "retain": (
                train,
                np.sort(rng.choice(self.asked.kept, min(ELSEWHERE, len(self.asked.kept)), replace=False)),
            ),
            "test": (test, np.arange(size)),
            "control": (test, np.arange(size, 2 * size)),
        }
        if self.asked.problem.nonmembers == "holdout":
            holdout = Records(task.holdout, task)
            self.places["nonmembers"] = holdout, np.arange(min(len(holdout), 2 * ELSEWHERE))
        others = np.arange(2 * size, len(test))
        seen = [penultimate(task, self.judge, r, at, Meter()) for r, at in ((train, forget), (test, others))]
        if seen[0] is not None and seen[1] is not None:
            middle = seen[1][0].double().mean(0)
            ours, theirs = (nn.functional.normalize(s[0].double() - middle, dim=1) for s in seen if s is not None)
            self.places["near"] = test, others[np.unique((ours @ theirs.T).argmax(1).numpy())]

    def read(self, model: nn.Module) -> dict[str, Tensor]:
        """Each statistic with the model's level and scale on never-seen records taken out, and plain numbers."""
        task = self.asked.task
        perturb = copier(task, self.places["forget"][0])
        views = {
            name: view(task, model, records, at, 3, Meter(), perturb if name in COPIED else None)
            for name, (records, at) in self.places.items()
        }
        told = {}
        for cell in CELLS:
            values = cell.read(views[cell.place], ()) if cell.place in views else None
            control = cell.read(views["control"], ())
            if values is not None and control is not None:
                told[cell.key] = standardise_by_nonmembers(symlog(values)[None], symlog(control)[None])[0]
        unseen = [torch.cat([getattr(views[p], of) for p in ("test", "control")]) for of in ("logits", "targets")]
        forget, retain = views["forget"], views["retain"]
        pairs = ((forget.logits, forget.targets), (retain.logits, retain.targets), (unseen[0], unseen[1]))
        for key, (z, y) in zip(ACCURACIES, pairs, strict=True):
            told[key] = (z.argmax(1) == y).double().mean()
        other = views.get("nonmembers")
        nonmembers = unseen if other is None else [other.logits, other.targets]
        auc = conditional_auc(log_likelihood(forget.logits, forget.targets), log_likelihood(*nonmembers)).value
        told["auc"] = torch.tensor(auc, dtype=torch.float64)
        told["probabilities"] = forget.logits.double().softmax(1)
        return told

    def reads(self, models: Sequence[nn.Module]) -> dict[str, Tensor]:
        """The same of several models, stacked."""
        rows = [self.read(m) for m in models]
        return {key: torch.stack([r[key] for r in rows]) for key in rows[0]}


def judged(original: Readings, unlearned: Readings, retrained: Readings) -> dict[str, ResidualDistance]:
    """What remains by each statistic; unlearned model i was made from original i."""
    return {
        c.key: residual_distance(original[c.key], unlearned[c.key], retrained[c.key], paired=True)
        for c in CELLS
        if c.key in original
    }


def change(original: Tensor, unlearned: Tensor, retrained: Tensor) -> Estimate:
    """Squared distance to the retrained mean, unlearned less original, in retrained models' spread; 95 % interval.

    What two retrained halves differ by, and an original's own noise, is in both, so it drops out. Above 0: farther.
    At least two models.
    """
    unit, middle, k = retrained.var(0).mean(), retrained.mean(0), len(original)

    def moved(rows: list[int]) -> float:
        return float((_squared(unlearned[rows], middle) - _squared(original[rows], middle)) / unit)

    whole = moved(list(range(k)))
    if k < 3:
        return Estimate.point(whole, 0.95)
    # jackknife over originals and theirs together
    parts = [moved([j for j in range(k) if j != i]) for i in range(k)]
    half = float(student.ppf(0.975, k - 1)) * float(np.var(parts) * (k - 1)) ** 0.5
    return Estimate(whole, whole - half, whole + half, 0.95)


def _squared(models: Tensor, middle: Tensor) -> Tensor:
    """Squared gap of the models' mean to `middle`, mean over records, without the noise of the models."""
    off, k = models - middle, len(models)
    if k == 1:
        return off.square().mean()
    return ((off.sum(0).square() - off.square().sum(0)) / (k * (k - 1))).mean()


def apart(ours: Readings, retrained: Readings) -> tuple[float, float]:
    """Mean total variation and Jensen-Shannon divergence (nats) of outputs on forget records between two models."""
    a, b, same = ours["probabilities"], retrained["probabilities"], ours is retrained
    pairs = [(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
    varied = torch.stack([(p - q).abs().sum(1).mean() / 2 for p, q in pairs])
    return float(varied.mean()), float(torch.stack([_divergence(p, q) for p, q in pairs]).mean())


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    middle = (p + q) / 2
    return sum(
        (torch.special.xlogy(a, a / middle.clamp_min(1e-300)).sum(1).mean() / 2 for a in (p, q)), p.new_zeros(())
    )
