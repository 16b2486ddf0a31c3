"""Whether a request looks like a random sample of the training set: only then does any never-seen record match it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from torch import Tensor

from efface.attacks.label_margin import label_margin
from efface.attacks.other_classes import other_classes
from efface.attacks.outputs import RecordOutputs
from efface.attacks.perturbed_margin import perturbed_margin
from efface.metrics.multiplicity import holm

ALPHA = 0.05  # significance level
SHUFFLES = 999


@dataclass(frozen=True)
class Exchangeability:
    """Whether forget and retain records look alike to the original, which knows both.

    Args:
        is_exchangeable: Whether no test shows a difference at significance level ALPHA.
        p: The least adjusted p value.
        tests: Title and adjusted p value of each test.
    """

    is_exchangeable: bool
    p: float
    tests: tuple[tuple[str, float], ...]


def compare(forget: RecordOutputs, retain: RecordOutputs, seed: int) -> Exchangeability:
    """Compare the forget set with other training records, by label and by what the original says of them.

    Both kinds are members of the original, so membership plays no part: what differs is how the request was chosen.
    p values are adjusted by Holm's method. A small request may differ without showing it.
    """
    found = [("labels", label_p_value(forget.targets, retain.targets, seed))]
    for title, read in (
        ("margin", label_margin),
        ("margin on perturbed copies", perturbed_margin),
        ("gap of other classes", other_classes),
    ):
        of_forget, of_retain = read(forget, ()), read(retain, ())
        if of_forget is not None and of_retain is not None:
            found.append((title, float(ks_2samp(of_forget.numpy(), of_retain.numpy()).pvalue)))
    adjusted = holm(torch.tensor([p for _, p in found])).tolist()
    least = min(adjusted)
    return Exchangeability(least >= ALPHA, least, tuple(zip((t for t, _ in found), adjusted, strict=True)))


def label_p_value(forget: Tensor, retain: Tensor, seed: int) -> float:
    """Permutation p value of Pearson's chi-squared for the class counts of two samples of labels, (n,) and (m,)."""
    # in order, or the shuffles would depend on the order of the request
    pooled = torch.cat([forget, retain]).sort().values.numpy()
    rng, n, classes = np.random.default_rng(seed), len(forget), int(pooled.max()) + 1
    expected = np.bincount(pooled, minlength=classes) * n / len(pooled)

    def distance(sample: NDArray[np.int64]) -> float:
        off = np.bincount(sample, minlength=classes) - expected
        return float((off[expected > 0] ** 2 / expected[expected > 0]).sum())

    observed = distance(forget.numpy())
    # rounding alone must not make an equal table a smaller one
    as_far = sum(distance(rng.choice(pooled, n, replace=False)) >= observed - 1e-9 for _ in range(SHUFFLES))
    return (1 + as_far) / (1 + SHUFFLES)
