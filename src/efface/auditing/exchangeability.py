"""Whether a request looks like a random sample of the training set, so that any never-seen records compare with it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from efface.attacks.label_margin import label_margin
from efface.attacks.other_classes import other_classes
from efface.attacks.outputs import RecordOutputs
from efface.attacks.perturbed_margin import perturbed_margin
from efface.metrics.multiplicity import holm
from efface.numerics.clusters import repeats
from efface.types import Indices

SAMPLE_ALPHA = 0.05  # significance level
SHUFFLES = 999


@dataclass(frozen=True)
class Exchangeability:
    """Whether forget and retain records look alike to the original, which was trained on both.

    Args:
        is_exchangeable: Whether no test shows a difference at significance level SAMPLE_ALPHA.
        p: The smallest adjusted p value.
        tests: Title and adjusted p value of each test.
    """

    is_exchangeable: bool
    p: float
    tests: tuple[tuple[str, float], ...]


def compare(forget: RecordOutputs, retain: RecordOutputs, seed: int) -> Exchangeability:
    """Compare the forget set with other training records by their classes, if any, and by the original's outputs.

    The original was trained on both, so any difference comes from how the request was chosen, not from membership.
    p values are adjusted by Holm's method. For small requests a difference may not be detected.

    Args:
        forget: The original's outputs on the forget records.
        retain: The original's outputs on retain records.
        seed: Seed of the permutation test of labels.
    """
    from scipy.stats import ks_2samp

    rules, found = forget.rules, list[tuple[str, float]]()
    if (asked := rules.classes(forget.targets)) is not None and (others := rules.classes(retain.targets)) is not None:
        found.append(("labels", label_p_value(asked, others, seed)))
    for title, read in (
        ("margin", label_margin),
        ("margin on perturbed copies", perturbed_margin),
        (f"gap of {rules.words.other_short}", other_classes),
    ):
        of_forget, of_retain = read(forget, ()), read(retain, ())
        if of_forget is not None and of_retain is not None:
            found.append((title, float(ks_2samp(of_forget.numpy(), of_retain.numpy()).pvalue)))
    adjusted = holm(torch.tensor([p for _, p in found])).tolist()
    least = min(adjusted)
    return Exchangeability(least >= SAMPLE_ALPHA, least, tuple(zip((t for t, _ in found), adjusted, strict=True)))


def one_of_each_group(positions: Indices, clusters: Tensor | None, seed: int) -> Indices:
    """Draw one record of each group, since the tests of `compare` take records to be independent.

    Args:
        positions: Positions of records in a data set.
        clusters: The number of each record's group, (n,); None if each record is a group of its own.
        seed: Seed of the draw; which records are drawn does not depend on the order of `positions`.

    Returns:
        One position for each group; `positions` itself if no group has several records.
    """
    if not repeats(clusters):
        return positions
    order = np.argsort(positions, kind="stable")
    shuffled = order[np.random.default_rng(seed).permutation(len(order))]
    _, first = np.unique(clusters.numpy()[shuffled], return_index=True)
    drawn: Indices = np.sort(positions[shuffled[first]])
    return drawn


def label_p_value(forget: Tensor, retain: Tensor, seed: int) -> float:
    """Permutation p value of Pearson's chi-squared for the class counts of two samples of labels.

    Args:
        forget: Labels of the forget records, (n,).
        retain: Labels of the retain records, (m,).
        seed: Seed of the permutations.
    """
    # sorted, so that the shuffles do not depend on the order of the request
    pooled = torch.cat([forget, retain]).sort().values.numpy()
    rng, n, classes = np.random.default_rng(seed), len(forget), int(pooled.max()) + 1
    expected = np.bincount(pooled, minlength=classes) * n / len(pooled)

    def distance(sample: NDArray[np.int64]) -> float:
        off = np.bincount(sample, minlength=classes) - expected
        return float((off[expected > 0] ** 2 / expected[expected > 0]).sum())

    observed = distance(forget.numpy())
    # with a tolerance, so that rounding does not make an equal distance seem smaller
    as_far = sum(distance(rng.choice(pooled, n, replace=False)) >= observed - 1e-9 for _ in range(SHUFFLES))
    return (1 + as_far) / (1 + SHUFFLES)
