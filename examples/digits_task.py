"""A whole task for efface: scikit-learn's handwritten digits and a small network.

Run it once to train a model, which writes model.safetensors and ids.txt into the working folder; then erase the
records that ids.txt names:

    python digits_task.py
    efface unlearn digits_task:task --checkpoint model.safetensors --forget ids.txt --out run
"""

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from efface import Task

TRAIN, HOLDOUT = 1000, 500  # the rest is for testing
FORGET = 48
NOISE = 0.15
EPOCHS = int(os.environ.get("DIGITS_EPOCHS", "60"))


def records() -> tuple[Tensor, Tensor, list[str]]:
    """Images, classes and ids in a fixed random order; an id stays the same whatever the order.

    Some labels are wrong, as they are wherever people label by hand. These a network can only learn by heart: of
    clean digits it keeps so little that no audit could tell a record that it saw from one that it did not.
    """
    digits, rng = load_digits(), np.random.default_rng(0)
    wrong = rng.random(len(digits.target)) < NOISE
    labels = np.where(wrong, rng.integers(10, size=len(wrong)), digits.target)
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(labels, dtype=torch.int64)
    order = rng.permutation(len(x))
    return x[order], y[order], [f"digit-{i:04d}" for i in order]


def build_model() -> nn.Module:
    """The network before training."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 2 * 2, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def fit(model: nn.Module, dataset: Dataset[tuple[Tensor, Tensor]], seed: int) -> None:
    """Train in place; `efface unlearn --method retrain` retrains by this same recipe."""
    batches = DataLoader(dataset, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(seed))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * len(batches))
    model.train()
    for _ in range(EPOCHS):
        for x, y in batches:
            optimiser.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimiser.step()
            schedule.step()


def task() -> Task:
    """What efface must know: the records that the model saw, others that it did not, and how it was made."""
    x, y, ids = records()
    end = TRAIN + HOLDOUT
    return Task(
        train=TensorDataset(x[:TRAIN], y[:TRAIN]),
        holdout=TensorDataset(x[TRAIN:end], y[TRAIN:end]),
        test=TensorDataset(x[end:], y[end:]),
        ids=ids[:TRAIN],
        build_model=build_model,
        fit=fit,
    )


def main() -> None:
    """Train the model, and pick the records that somebody asked to have erased."""
    from safetensors.torch import save_file

    digits = task()
    torch.manual_seed(0)
    model = build_model()
    fit(model, digits.train, seed=0)
    save_file(model.state_dict(), "model.safetensors")
    _, _, ids = records()
    Path("ids.txt").write_text("\n".join(ids[:FORGET]) + "\n", encoding="utf-8")
    print(f"wrote model.safetensors, trained on {TRAIN} records, and ids.txt, which names {FORGET} of them")


if __name__ == "__main__":
    main()
