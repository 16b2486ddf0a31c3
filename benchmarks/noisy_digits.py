"""A small memorised task that public tools were measured on: 600 handwritten digits, 30 % label noise, 60 to forget.

    python benchmarks/noisy_digits.py                  # steer and the controls, ten seeds, about 4 CPU minutes
    python benchmarks/noisy_digits.py --method influence --seeds 3

scikit-learn's digits in random splits of 600 / 600 / 597, labels of the training and control parts replaced by a
random class with probability .3; two convolutions and two linear layers, SGD .05 with momentum .9, weight decay 5e-4,
cosine, 60 epochs of batches of 32. FA / RA / TA: accuracy on forget (with the noisy labels), retain, clean test. JS:
mean Jensen-Shannon divergence (nats) of outputs on the forget set to a retrained model; the floor is a second one.
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from three_sets import tensors
from torch import nn
from torch.utils.data import TensorDataset

import efface
from efface.metrics.membership import separate
from efface.numerics.logits import log_likelihood
from efface.runtime import threads

EPOCHS, BATCH = 60, 32


def network():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10),
    )  # fmt: skip


def fit(model, dataset, seed):
    x, y = tensors(dataset)
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=order).split(BATCH):
            optimiser.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
            schedule.step()
    model.eval()


def trained(x, y, seed):
    torch.manual_seed(seed)
    model = network()
    fit(model, TensorDataset(x, y), seed)
    return model


def divergence(p, q):
    """Jensen-Shannon divergence (nats), mean over records."""
    middle = (p + q) / 2
    return float(sum((a * (a.clamp_min(1e-12) / middle.clamp_min(1e-12)).log()).sum(1) for a in (p, q)).mean() / 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="steer", choices=efface.methods.available())
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    bunch = load_digits()
    every = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16, torch.from_numpy(bunch.target).long()
    rows = {"original": [], args.method: [], "second retrained": []}
    spent, again = [], []
    for seed in range(args.seeds):
        generator = torch.Generator().manual_seed(seed)
        p = torch.randperm(len(every[1]), generator=generator)
        x, clean = every[0][p], every[1][p]
        noisy = torch.rand(len(p), generator=generator) < 0.3
        y = torch.where(noisy, torch.randint(10, clean.shape, generator=generator), clean)
        train, control, test = slice(0, 600), slice(600, 1200), slice(1200, None)
        original = trained(x[train], y[train], seed)
        start = time.process_time()
        gold, second = (trained(x[60:600], y[60:600], s + seed) for s in (1000, 2000))
        again.append((time.process_time() - start) / 2)
        done = efface.unlearn(
            original, train=TensorDataset(x[train], y[train]), holdout=TensorDataset(x[control], y[control]),
            forget=list(range(60)), method=args.method, seed=seed, progress=False,
        )  # fmt: skip
        spent.append(done.cost.cpu_s)
        with torch.no_grad():
            target = gold(x[:60]).softmax(1)
            for name, model in zip(rows, (original, done.model, second), strict=True):
                z, held = model(x[:60]), model(x[control])
                right = [
                    float((model(x[part]).argmax(1) == labels[part]).float().mean())
                    for part, labels in ((slice(0, 60), y), (slice(60, 600), y), (test, clean))
                ]
                auc = separate(log_likelihood(z, y[:60]), log_likelihood(held, y[control])).value
                rows[name].append([*right, auc, divergence(z.softmax(1), target)])
    print(f"{args.seeds} seeds; CPU s: retraining {np.mean(again):.2f}, {args.method} {np.mean(spent):.2f}")
    print(f"{'':18s}      FA      RA      TA     AUC      JS   (mean, standard deviation over seeds)")
    for name, values in rows.items():
        mean, spread = np.mean(values, 0), np.std(values, 0, ddof=1) if args.seeds > 1 else np.zeros(5)
        print(f"{name:18s} " + " ".join(f"{m:7.3f}" for m in mean) + "   " + " ".join(f"{s:.3f}" for s in spread))


if __name__ == "__main__":
    with threads(1):
        main()
