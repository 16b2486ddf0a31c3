"""Fashion-MNIST as float tensors, read from the files of its publishers."""

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from efface.errors import RequestError

MEAN, STD = 0.286, 0.353  # of every pixel on 0 to 1
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
SIDE, CLASSES = 28, 10
SYSTEM = Path("/usr/share/datasets/fashion-mnist")  # where a distribution's package puts them
MAX_BYTES = 2**31  # read, whatever a header promises
IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801  # unsigned bytes in three dimensions and in one


def fashion_mnist(folder: Path | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fashion-MNIST as (x_train, y_train, x_test, y_test), images (n, 1, 28, 28) with mean 0 and variance 1.

    Records that occur twice are kept; see `efface.data.sets.distinct`.

    Args:
        folder: with the files; by default $EFFACE_DATA/fashion-mnist, ./.data/fashion-mnist or
            /usr/share/datasets/fashion-mnist, whichever first has them all.

    Raises:
        RequestError: the files are in none of the folders, or are damaged.
    """
    places = [folder] if folder is not None else _places()
    whole = [place for place in places if all((place / name).is_file() for name in FILES)]
    if not whole:
        raise RequestError(
            f"Fashion-MNIST was not found in {', '.join(map(str, places))}: "
            f"run `apt-get install dataset-fashion-mnist`, or put {', '.join(FILES)} there"
        )
    x_train, y_train = _part(whole[0] / FILES[0], whole[0] / FILES[1])
    x_test, y_test = _part(whole[0] / FILES[2], whole[0] / FILES[3])
    return x_train, y_train, x_test, y_test


def _places() -> list[Path]:
    own = os.environ.get("EFFACE_DATA")
    places = [Path(own) / "fashion-mnist"] if own else []
    return [*places, Path(".data/fashion-mnist"), SYSTEM]


def _part(images: Path, labels: Path) -> tuple[Tensor, Tensor]:
    pixels = _read_idx(images, IMAGES_MAGIC)
    classes = _read_idx(labels, LABELS_MAGIC)
    if pixels.shape[1:] != (SIDE, SIDE):
        raise RequestError(f"{images}: images are {pixels.shape[1]} by {pixels.shape[2]}, not 28 by 28")
    if len(pixels) != len(classes):
        raise RequestError(f"{images} holds {len(pixels)} images, but {labels} holds {len(classes)} labels")
    if len(classes) and classes.max() >= CLASSES:
        raise RequestError(f"{labels}: labels must lie in 0 to {CLASSES - 1}, not {classes.max()}")
    x = torch.from_numpy(pixels.astype(np.float32)).unsqueeze(1)
    return x.div_(255).sub_(MEAN).div_(STD), torch.from_numpy(classes.astype(np.int64))


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
