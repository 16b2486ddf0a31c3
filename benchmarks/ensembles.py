"""Training an ensemble one by one, stacked as one, and in two processes: CPU and wall-clock seconds.

    python benchmarks/ensembles.py                   # 8 members x 5,000 records of Fashion-MNIST, one thread
    python benchmarks/ensembles.py --device cuda

The workers' own start (importing torch) counts in the wall time of two processes, not in their CPU time. `same` says
how far the weights are from those trained one by one: the largest difference.
"""

import argparse
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from efface import Recipe, RequestError, Task
from efface.data.sets import fashion_mnist
from efface.ensembles import Plan, train_ensemble
from efface.runtime.cost import Meter
from efface.runtime.devices import threads


def mlp():
    layers = (nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def images():
    try:
        x, y, *_ = fashion_mnist()
    except RequestError:
        print("no Fashion-MNIST here: random images")
        x, y = torch.randn(60_000, 1, 28, 28), torch.randint(10, (60_000,))
    return x, y


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    x, y = images()
    task = Task(train=TensorDataset(x, y), holdout=TensorDataset(x[:10], y[:10]))
    rows = [np.random.default_rng(m).choice(len(x), chosen.records, replace=False) for m in range(chosen.members)]
    plans = [Plan(None, np.sort(at), seed) for seed, at in enumerate(rows)]
    recipe = Recipe(epochs=chosen.epochs)
    ways = {"one by one": {"jobs": 1}, "together": {"together": True}, f"{chosen.jobs} jobs": {"jobs": chosen.jobs}}
    print(f"{chosen.members} x {chosen.records} records, {recipe}, {chosen.device}, torch {torch.__version__}")
    print("model  way          CPU s  wall s  CPU s a member    same")
    for make in (mlp, cnn):
        original, first = make().to(chosen.device), None
        # once before the clock starts, or the first way pays for warming up
        train_ensemble(task, original, plans[:1], recipe=Recipe(epochs=1), use_fit=False, meter=Meter(), jobs=1)
        for way, how in ways.items():
            meter, started = Meter(), time.perf_counter()
            with meter.phase("ensemble"):
                found = train_ensemble(task, original, plans, recipe=recipe, use_fit=False, meter=meter, **how)
            wall, first = time.perf_counter() - started, first or found.models
            apart = max(
                float((p - q).detach().abs().max())
                for ours, theirs in zip(found.models, first, strict=True)
                for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)
            )
            cpu = meter.cost().cpu_s
            print(
                f"{make.__name__:6s} {way:11s} {cpu:6.1f} {wall:7.1f} {found.cost.cpu_s:15.2f} {apart:7.1g}", flush=True
            )


if __name__ == "__main__":
    with threads(1):
        main()
