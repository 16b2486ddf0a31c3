"""What models say of a request's records, their neighbours, retain and test records; and how far that is apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor, nn

from benchmarks.harness.requests import BenchRequest
from efface.attacks.outputs import RecordOutputs, RecordSet
from efface.auditing.ensemble_outputs import CELLS, Places, nearest, read_places, standardised
from efface.data.records import Records
from efface.metrics.distance import ResidualDistance, residual_distance
from efface.metrics.membership import conditional_auc
from efface.runtime.cost import Meter
from efface.types import Estimate

# Raised by hand when a number that is read of the same models changes; results name it.
EVALUATOR_VERSION = 1
MAX_ELSEWHERE = 1000  # records of retain, of test, and of the control that takes out a model's level and scale
PLACES_SEED, COPIES_SEED = 5, 3
ACCURACIES = ("accuracy forget", "accuracy retain", "accuracy test")

Readings = Mapping[str, Tensor]  # by statistic: (models, records), or (models,) for one number a model


@dataclass
class Evaluator:
    """Reads the models of one request.

    A retrained model says which records of `near` are most like the forget records: of the test or of the retain set.
    """

    request: BenchRequest
    retrained: nn.Module
    near: str = "test"
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        task, retain = self.request.task, self.request.retain
        train, holdout, test = Records(task.train, task), Records(task.holdout, task), Records(task.test, task)  # type: ignore[arg-type]
        rng, size = np.random.default_rng(PLACES_SEED), min(MAX_ELSEWHERE, len(test) // 3)
        at = {
            "forget": (train, self.request.forget),
            "retain": (train, np.sort(rng.choice(retain, min(MAX_ELSEWHERE, len(retain)), replace=False))),
            "test": (test, np.arange(size)),
            "control": (test, np.arange(size, 2 * size)),
        }
        if self.request.problem.nonmembers == "holdout":
            at["nonmembers"] = holdout, np.arange(min(len(holdout), 2 * MAX_ELSEWHERE))
        places = {name: RecordSet(*where, COPIES_SEED) for name, where in at.items()}
        unread = np.arange(2 * size, len(test))
        others = RecordSet(*((test, unread) if self.near == "test" else (train, retain)), COPIES_SEED)
        near = nearest(task, self.retrained, places["forget"], others, Meter())
        self.places = {**places, "near": replace(others, positions=near)}

    def read(self, model: nn.Module) -> dict[str, Tensor]:
        """Each statistic, standardised by never-seen records; utilities, the loss attack's AUC, and probabilities.

        The utility of a kind of outputs, such as R2, takes the place of accuracy; only kinds with classes have
        probabilities that can be compared.
        """
        task = self.request.task
        outputs, rules = read_places(task, model, self.places, Meter()), task.rules
        forget, retain = (_labelled(outputs[name]) for name in ("forget", "retain"))
        unseen = _labelled(outputs["test"], outputs["control"])
        nonmembers = _labelled(outputs["nonmembers"]) if "nonmembers" in outputs else unseen
        found = standardised(outputs)
        for key, (z, y) in zip(ACCURACIES, (forget, retain, unseen), strict=True):
            found[key] = rules.useful(z, y).mean()
        auc = conditional_auc(rules.log_likelihood(*forget), rules.log_likelihood(*nonmembers)).value
        found["auc"] = torch.tensor(auc, dtype=torch.float64)
        return found | ({"probabilities": forget[0].double().softmax(1)} if rules.has_classes else {})

    def read_all(self, models: Sequence[nn.Module]) -> dict[str, Tensor]:
        """The same of several models, stacked."""
        rows = [self.read(m) for m in models]
        return {key: torch.stack([r[key] for r in rows]) for key in rows[0]}


def _labelled(*outputs: RecordOutputs) -> tuple[Tensor, Tensor]:
    return torch.cat([o.logits for o in outputs]), torch.cat([o.targets for o in outputs])


def compare(original: Readings, unlearned: Readings, retrained: Readings) -> dict[str, ResidualDistance]:
    """What remains by each statistic; unlearned model i was made from original i."""
    return {
        c.key: residual_distance(original[c.key], unlearned[c.key], retrained[c.key], paired=True)
        for c in CELLS
        if c.key in original
    }


def change(original: Tensor, unlearned: Tensor, retrained: Tensor) -> Estimate:
    """How much farther from retrained models unlearning moved models, in squared spreads of retrained models.

    What two retrained halves differ by, and an original's own noise, is in both distances, so it drops out.

    Args:
        original: a statistic of the original models, (models, records), of two models or more.
        unlearned: the same of the models made from them, in the same order.
        retrained: the same of retrained models.

    Returns:
        Squared distance to the retrained mean, unlearned less original, with its 95 % interval where there are three
        models or more; above 0: farther.
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


def output_distances(ours: Readings, retrained: Readings) -> tuple[float, float]:
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
