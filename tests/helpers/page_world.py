"""What the code on the pages takes for given: small data sets and models, by the names that the pages use."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, TensorDataset

import efface
from helpers.tiny import CLASSES, FEATURES, memorise, mlp, records

RECORDS, HOLDOUT, TEST = 450, 200, 120
STEPS = 60


class TextModel(nn.Module):
    """A network that takes ids and a mask, and returns an object with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.body(ids * attention_mask))


class Texts(Dataset[dict[str, Tensor]]):
    """Records that are mappings."""

    def __init__(self, pairs: TensorDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        x, y = self.pairs[index]
        return {"ids": x, "mask": torch.ones_like(x), "label": y}


def fit(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
    """Train for a moment, in place."""
    rows = [dataset[i] for i in range(len(dataset))]  # type: ignore[arg-type]
    x, y = torch.stack([row[0] for row in rows]), torch.stack([torch.as_tensor(row[1]) for row in rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        memorise(model, x, y, STEPS)


def fit_texts(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
    """Train a `TextModel` for a moment, in place."""
    rows = [dataset[i] for i in range(len(dataset))]  # type: ignore[arg-type]
    memorise(model.body, torch.stack([r["ids"] for r in rows]), torch.stack([r["label"] for r in rows]), STEPS)  # type: ignore[arg-type]


def make_world() -> dict[str, Any]:
    """Every name that a page may use without making it."""
    train_set, holdout_set, test_set = (
        TensorDataset(*records(n, seed)) for n, seed in ((RECORDS, 0), (HOLDOUT, 1), (TEST, 2))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, text_model = mlp(), TextModel()
    fit(model, train_set, seed=0)
    memorise(text_model.body, *train_set.tensors, STEPS)
    task = efface.Task(train=train_set, holdout=holdout_set, test=test_set, build_model=mlp, fit=fit)
    forget_ids = list(range(5, 65, 5))
    result = efface.unlearn(model, task=task, forget=forget_ids, seed=0)
    return {
        **{"model": model, "original": model, "unlearned": result.model, "result": result, "task": task},
        **{"train_set": train_set, "holdout_set": holdout_set, "test_set": test_set},
        **{"build": mlp, "fit": fit, "features": FEATURES, "classes": CLASSES},
        **{"ids": [f"u-{17 + 7 * k}" for k in range(RECORDS)], "forget_ids": forget_ids},
        "persons": [f"person-{k // 3}" for k in range(RECORDS)],
        "holdout_persons": [f"guest-{k // 2}" for k in range(HOLDOUT)],
        **{"texts": Texts(train_set), "unseen_texts": Texts(holdout_set), "test_texts": Texts(test_set)},
        **{"text_model": text_model, "build_text_model": TextModel, "fit_texts": fit_texts},
    }


def with_many_ids(world: dict[str, Any]) -> dict[str, Any]:
    """The world with training records whose ids reach 10,000: a part of a larger data set."""
    x, y = world["train_set"].tensors
    large = torch.zeros(10_000, x.shape[1]), torch.zeros(10_000, dtype=torch.long)
    positions = [17, 402, 9001, *range(3_000, 3_000 + len(x) - 3)]
    large[0][positions], large[1][positions] = x, y
    return {**world, "train_set": Subset(TensorDataset(*large), positions)}


def with_store(world: dict[str, Any]) -> dict[str, Any]:
    """The world with a store in the working folder."""
    efface.Store.create(Path("efface-store"), world["task"], world["model"])
    return world
