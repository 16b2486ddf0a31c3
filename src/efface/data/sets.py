"""Small real data sets as tensors, removal of duplicates, and label noise."""

import hashlib
import io
from importlib import resources

import numpy as np
import torch
from torch import Tensor

from efface.errors import EffaceError, RequestError

# mean and standard deviation of every pixel, on a scale of 0 to 16
DIGITS_MEAN, DIGITS_STD = 4.884, 6.017
PEN_DIGITS, PEN_DIGITS_SHA256 = (
    "pen_digits.npz",
    "58340b71ced7c2eade1fcddc423b87af46cf05f7a953a78234a9fd3ca195da62",
)


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's handwritten digits without exact duplicates.

    Returns:
        Images, (n, 1, 8, 8), float32 with mean 0 and variance 1, and labels, (n,), int64.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images.astype(np.float32)).unsqueeze(1)
    y = torch.from_numpy(bunch.target.astype(np.int64))
    kept = distinct(x)
    return (x[kept] - DIGITS_MEAN) / DIGITS_STD, y[kept]


def pen_digits() -> tuple[Tensor, Tensor]:
    """All 10,992 drawings of UCI's pen-based digits, which come with efface (CC BY 4.0; see pen_digits.md beside them).

    Returns:
        x and y of the 8 points of each drawing, (n, 16), int64 from 0 to 100, and the digits, (n,), int64.

    Raises:
        EffaceError: The file is not the one that efface came with.
    """
    raw = resources.files("efface.data").joinpath(PEN_DIGITS).read_bytes()
    if (found := hashlib.sha256(raw).hexdigest()) != PEN_DIGITS_SHA256:
        raise EffaceError(f"{PEN_DIGITS}: expected sha256 {PEN_DIGITS_SHA256}, got {found}: install efface again")
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        x, y = (torch.from_numpy(arrays[name].astype(np.int64)) for name in ("x", "y"))
    return x, y


def distinct(x: Tensor) -> Tensor:
    """Sorted positions of the first occurrence of each distinct record (row of the first dimension)."""
    if not x.numel():
        return torch.arange(min(len(x), 1))  # records without values are all equal
    rows = x.detach().cpu().reshape(len(x), -1)
    if rows.is_floating_point():
        rows = rows + 0.0  # turns -0.0 into the 0.0 that it equals, since bytes are compared
    raw = rows.contiguous().view(torch.uint8).numpy()
    _, first = np.unique(raw.view(f"V{raw.shape[1]}").ravel(), return_index=True)
    return torch.from_numpy(np.sort(first).astype(np.int64))


def plant_label_noise(y: Tensor, classes: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Replace a share of labels by other random classes.

    Args:
        y: Labels, (n,), from 0 to classes - 1.
        classes: The number of classes, 2 or more.
        share: Share of labels to replace, from 0 to 1; rounded to whole records.
        seed: Seed of the draw.

    Returns:
        The new labels, (n,), and which of them were replaced, (n,), bool.

    Raises:
        RequestError: A label, `classes` or `share` is out of range.
    """
    problems = []
    if classes < 2:
        problems.append(f"label noise needs at least 2 classes, not {classes}")
    elif len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        problems.append(f"labels must lie in 0 to {classes - 1}, not {int(y.min())} to {int(y.max())}")
    if not 0 <= share <= 1:
        problems.append(f"the share of noisy labels must lie in 0 to 1, not {share}")
    if problems:
        raise RequestError(problems)
    # on the CPU whatever the device of y, since other devices draw different numbers from the same seed
    generator = torch.Generator().manual_seed(seed)
    count = round(share * len(y))
    chosen = torch.randperm(len(y), generator=generator)[:count]
    shift = torch.randint(1, classes, (count,), generator=generator)  # never 0, so every chosen label changes
    noisy = y.detach().cpu().clone()
    noisy[chosen] = ((noisy[chosen] + shift) % classes).to(y.dtype)
    changed = torch.zeros(len(y), dtype=torch.bool)
    changed[chosen] = True
    return noisy.to(y.device), changed.to(y.device)
