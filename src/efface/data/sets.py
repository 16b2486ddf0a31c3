"""Real data sets as float tensors, their distinct records, and planted label noise."""

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from efface.errors import RequestError

# mean and standard deviation of every pixel: digits on their scale of 0 to 16, fashion-MNIST on 0 to 1
DIGITS_MEAN, DIGITS_STD = 4.884, 6.017
FASHION_MEAN, FASHION_STD = 0.286, 0.353

FASHION_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
FASHION_SIDE = 28
FASHION_CLASSES = 10
MAX_BYTES = 2**31  # bytes read whatever a header promises
IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801  # unsigned bytes in three dimensions and in one


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's handwritten digits, (n, 1, 8, 8) with mean 0 and variance 1, exact duplicates left out."""
    bunch = load_digits()
    x = torch.from_numpy(bunch.images.astype(np.float32)).unsqueeze(1)
    y = torch.from_numpy(bunch.target.astype(np.int64))
    kept = distinct(x)
    return (x[kept] - DIGITS_MEAN) / DIGITS_STD, y[kept]


def fashion_mnist(folder: Path | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fashion-MNIST as (x_train, y_train, x_test, y_test), images (n, 1, 28, 28) with mean 0 and variance 1.

    Without `folder` it is looked for in $EFFACE_DATA/fashion-mnist, ./.data/fashion-mnist and
    /usr/share/datasets/fashion-mnist. Records that occur twice are kept; see `distinct`.
    """
    places = [folder] if folder is not None else _fashion_places()
    whole = [place for place in places if all((place / name).is_file() for name in FASHION_FILES)]
    if not whole:
        raise RequestError(
            f"Fashion-MNIST was not found in {', '.join(map(str, places))}: "
            f"run `apt-get install dataset-fashion-mnist`, or put {', '.join(FASHION_FILES)} there"
        )
    x_train, y_train = _fashion_part(whole[0] / FASHION_FILES[0], whole[0] / FASHION_FILES[1])
    x_test, y_test = _fashion_part(whole[0] / FASHION_FILES[2], whole[0] / FASHION_FILES[3])
    return x_train, y_train, x_test, y_test


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
    """Labels of which `share` (rounded to whole records) got a different random class, and which those are."""
    problems = []
    if classes < 2:
        problems.append(f"label noise needs at least 2 classes, not {classes}")
    elif len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        problems.append(f"labels must lie in 0 to {classes - 1}, not {int(y.min())} to {int(y.max())}")
    if not 0 <= share <= 1:
        problems.append(f"the share of noisy labels must lie in 0 to 1, not {share}")
    if problems:
        raise RequestError(problems)
    # on the CPU whatever the device of y, since other devices draw other numbers from the same seed
    generator = torch.Generator().manual_seed(seed)
    count = round(share * len(y))
    chosen = torch.randperm(len(y), generator=generator)[:count]
    shift = torch.randint(1, classes, (count,), generator=generator)  # never 0, so every chosen label changes
    noisy = y.detach().cpu().clone()
    noisy[chosen] = ((noisy[chosen] + shift) % classes).to(y.dtype)
    changed = torch.zeros(len(y), dtype=torch.bool)
    changed[chosen] = True
    return noisy.to(y.device), changed.to(y.device)


def _fashion_places() -> list[Path]:
    own = os.environ.get("EFFACE_DATA")
    places = [Path(own) / "fashion-mnist"] if own else []
    return [*places, Path(".data/fashion-mnist"), Path("/usr/share/datasets/fashion-mnist")]


def _fashion_part(images: Path, labels: Path) -> tuple[Tensor, Tensor]:
    pixels = _read_idx(images, IMAGES_MAGIC)
    classes = _read_idx(labels, LABELS_MAGIC)
    if pixels.shape[1:] != (FASHION_SIDE, FASHION_SIDE):
        raise RequestError(f"{images}: images are {pixels.shape[1]} by {pixels.shape[2]}, not 28 by 28")
    if len(pixels) != len(classes):
        raise RequestError(f"{images} holds {len(pixels)} images, but {labels} holds {len(classes)} labels")
    if len(classes) and classes.max() >= FASHION_CLASSES:
        raise RequestError(f"{labels}: labels must lie in 0 to {FASHION_CLASSES - 1}, not {classes.max()}")
    x = torch.from_numpy(pixels.astype(np.float32)).unsqueeze(1)
    return x.div_(255).sub_(FASHION_MEAN).div_(FASHION_STD), torch.from_numpy(classes.astype(np.int64))


def _read_idx(path: Path, magic: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    dimensions = magic & 0xFF
    try:
        with gzip.open(path) as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions:
                raise RequestError(f"{path}: damaged: the file ends within its header")
            found, *shape = struct.unpack(f">{1 + dimensions}I", head)
            if found != magic:
                raise RequestError(f"{path}: not the expected IDX file: it starts with {found:#x}, not {magic:#x}")
            size = int(np.prod(shape, dtype=object))
            body = file.read(min(size + 1, MAX_BYTES))  # one more than is due, to notice a file that goes on
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(f"{path}: damaged, or not a gzip file: {error}") from error
    if len(body) != size:
        held = f"{len(body)}" if len(body) < size else "more"
        raise RequestError(f"{path}: damaged: the header promises {size} bytes, but the file holds {held}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
