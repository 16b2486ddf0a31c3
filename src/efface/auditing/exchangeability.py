"""Whether a request looks like a random sample of the training set: only then is every never-seen record its like."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from efface.attacks.label_margin import label_margin
from efface.attacks.other_classes import other_classes
from efface.attacks.outputs import RecordOutputs
from efface.attacks.perturbed_margin import perturbed_margin
from efface.metrics.multiplicity import holm

LEVEL = 0.05
SHUFFLES = 999


@dataclass(frozen=True)
class Exchangeability:
    """Whether forget and retain records look alike to the original, which knows both: p is the least adjusted one."""

    is_exchangeable: bool
    p: float
    tests: tuple[tuple[str, float], ...]


def compare(forget: RecordOutputs, retain: RecordOutputs, seed: int) -> Exchangeability:
    """Compare the forget set with other training records, by label and by what the original says of them.

    Both kinds are members of the original, so membership plays no part: what differs is how the request was chosen.
    p values are adjusted by Holm's method. A small request may differ without showing it.
    """
    found = [("labels", _labels(forget.targets, retain.targets, seed))]
    for title, read in (
        ("margin", label_margin),
        ("margin on perturbed copies", perturbed_margin),
        ("gap of other classes", other_classes),
    ):
        ours, theirs = read(forget, ()), read(retain, ())
        if ours is not None and theirs is not None:
            found.append((title, float(ks_2samp(ours.numpy(), theirs.numpy()).pvalue)))
    adjusted = holm(torch.tensor([p for _, p in found])).tolist()
    least = min(adjusted)
    return Exchangeability(least >= LEVEL, least, tuple(zip((t for t, _ in found), adjusted, strict=True)))


def _labels(ours: Tensor, theirs: Tensor, seed: int) -> float:
    """Permutation p value of Pearson's chi-squared for the class counts of two samples."""
    # in order, or the shuffles would depend on the order of the request
    pooled = torch.cat([ours, theirs]).sort().values.numpy()
    rng, n, classes = np.random.default_rng(seed), len(ours), int(pooled.max()) + 1
    expected = np.bincount(pooled, minlength=classes) * n / len(pooled)

    def distance(sample: np.ndarray) -> float:
        off = np.bincount(sample, minlength=classes) - expected
        return float((off[expected > 0] ** 2 / expected[expected > 0]).sum())

    seen = distance(ours.numpy())
    # rounding alone must not make an equal table a smaller one
    as_far = sum(distance(rng.choice(pooled, n, replace=False)) >= seen - 1e-9 for _ in range(SHUFFLES))
    return (1 + as_far) / (1 + SHUFFLES)
