"""Two methods compared on the same originals: the noise of the originals, and of the retrained models, drops out."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student
from torch import Tensor

from efface.types import Estimate

MOST = 16  # originals whose products are kept
LEVEL = 0.95


def products(unlearned: Tensor, retrained: Tensor) -> list[float]:
    """Products of the gaps of two unlearned models to the retrained mean, mean over records, over squared spreads.

    Their mean over pairs is excess d2, but for the noise of the retrained mean, which is the same for every method.

    Args:
        unlearned: A statistic of the unlearned models, (models, records), in the order of their originals.
        retrained: The same of retrained models.

    Returns:
        One number for each pair i < j of the first MOST models, by j and then i, so that those of fewer models come
        first; nothing where a number is none.
    """
    off = (unlearned.double() - retrained.double().mean(0))[:MOST]
    gram = off @ off.T / off.shape[1] / retrained.double().var(0).mean()
    found = [float(gram[i, j]) for j in range(len(off)) for i in range(j)]
    return found if all(map(math.isfinite, found)) else []


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate | None:
    """How much farther from retrained models ours is than theirs, in excess d2, on the originals that both have.

    By a jackknife over originals; Student's t.

    Args:
        ours: What `products` gives for one method.
        theirs: The same for another one.

    Returns:
        The difference with its 95 % interval; None where there are fewer than three common originals.
    """
    k = min(_models(ours), _models(theirs))
    if k < 3:
        return None
    apart = np.zeros((k, k))
    later, earlier = np.tril_indices(k, -1)
    pairs = len(later)
    apart[later, earlier] = np.subtract(ours[:pairs], theirs[:pairs])
    apart += apart.T
    value = apart.sum() / (k * (k - 1))
    without = (apart.sum() - 2 * apart.sum(0)) / ((k - 1) * (k - 2))
    half = float(student.ppf((1 + LEVEL) / 2, k - 1)) * math.sqrt((k - 1) / k * ((without - without.mean()) ** 2).sum())
    return Estimate(float(value), float(value - half), float(value + half), LEVEL)


def _models(pairs: Sequence[float]) -> int:
    return (1 + math.isqrt(1 + 8 * len(pairs))) // 2 if pairs else 0
