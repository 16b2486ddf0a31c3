"""KLoM (Georgiev et al., arXiv 2410.23232): have unlearned and retrained models the same margins, record by record?"""

import torch
from torch import Tensor

from efface.errors import RequestError

MIN_KLOM_MODELS = 32  # models of a kind; with fewer a histogram of 20 bins is mostly chance
BINS = 20
CLIP = 100.0
FLOOR = 1e-5  # least share of retrained models in a bin that holds unlearned ones


def klom(unlearned: Tensor, retrained: Tensor) -> Tensor:
    """KL(unlearned || retrained) between histograms of each record's margins.

    Margins are clipped to +-CLIP; BINS equal bins span both ensembles' range. As published (appendix E.1 and the
    authors' code, RoyRin/data-unlearning-bench), the floored retrained shares are scaled to a sum of 1, and bins are
    open on the right, so that the greatest of all margins is in no bin. Departure: where several margins are the
    greatest, by clipping or ties, they count in the last bin. The published code drops them all, and so gives NaN (0 in
    its successor easydub/EasyDUB-code) to unlearned models that all lie at the clip.

    It is not 0 in expectation for models trained alike, since the histograms of 32 + 32 models differ by chance.
    Compare with the value between two halves of the retrained models.

    Args:
        unlearned: Margins of n records by k models (k, n), at least MIN_KLOM_MODELS.
        retrained: The same by r retrained models (r, n), at least MIN_KLOM_MODELS.

    Returns:
        Divergences (n,) in nats: 0 where the histograms agree, at most -log FLOOR = 11.5.

    Raises:
        RequestError: There are fewer than MIN_KLOM_MODELS models of a kind.
    """
    k, r = len(unlearned), len(retrained)
    if min(k, r) < MIN_KLOM_MODELS:
        raise RequestError(
            f"KLoM needs at least {MIN_KLOM_MODELS} unlearned and {MIN_KLOM_MODELS} retrained models, not {k} and {r}"
        )
    values = torch.cat([unlearned, retrained]).double().T.clamp(-CLIP, CLIP).contiguous()
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    high = torch.where(high > low, high, low + 1)
    steps = torch.arange(BINS + 1, dtype=torch.float64)
    edges = low + steps * ((high - low) / BINS)
    edges[:, -1:] = high  # to the last digit, or rounding would decide whether the greatest is in
    bins = torch.searchsorted(edges, values, right=True) - 1
    greatest = bins == BINS
    bins[greatest & (greatest.sum(1, keepdim=True) > 1)] = BINS - 1
    p, q = _shares(bins[:, :k]), _shares(bins[:, k:])
    q = torch.where(p > 0, q.clamp_min(FLOOR), q)
    q = q / q.sum(1, keepdim=True)
    # a bin without unlearned models adds 0, whatever the other share
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum(1)


def _shares(bins: Tensor) -> Tensor:
    """Share of each row's models in each bin (n, BINS), of those that are in one."""
    counts = torch.zeros(len(bins), BINS + 1, dtype=torch.float64)
    counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.float64))
    return counts[:, :BINS] / counts[:, :BINS].sum(1, keepdim=True)
