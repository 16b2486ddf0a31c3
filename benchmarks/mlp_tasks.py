"""Two MLP tasks on Fashion-MNIST: distance to retrained models and CPU time, original / steer / retrained.

    python -m benchmarks.mlp_tasks small     # 5,000 records, 250 to forget, 12 + 24 models
    python -m benchmarks.mlp_tasks large     # 30,000 records, 300 to forget, 4 + 8 models

Excess d2 is on the symmetric log of a statistic, each model's level and scale on test records taken out: 0 for
retrained models. One CPU thread.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import efface
from benchmarks.harness.fashion import fashion_mnist
from efface.metrics.distance import excess_d2
from efface.metrics.membership import conditional_auc
from efface.numerics.logits import log_likelihood, margin, other_gap, symlog

SIZES = {"small": (5000, 250, 40, 12), "large": (30000, 300, 40, 4)}


def mlp():
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def trained(x, y, epochs, seed):
    torch.manual_seed(seed)
    model, order = mlp(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(128):
            optimiser.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return model


@torch.no_grad()
def logits(model, x):
    return torch.cat([model(part) for part in x.split(2048)])


def read(model, places):
    """Accuracy on forget and test, loss-attack AUC, and each place's standardised statistics."""
    z = {name: (logits(model, x), y) for name, (x, y) in places.items()}
    found = {"forget": accuracy(*z["forget"]), "test": accuracy(*z["test"])}
    found["auc"] = conditional_auc(log_likelihood(*z["forget"]), log_likelihood(*z["test"])).value
    for kind in (margin, other_gap):
        base = symlog(kind(*z["test"]))
        for name, seen in z.items():
            found[name, kind] = (symlog(kind(*seen)) - base.mean()) / base.std()
    return found


def accuracy(z, y):
    return float((z.argmax(1) == y).double().mean())


def row(label, ours, others, cpu):
    mean = {key: sum(t[key] for t in ours) / len(ours) for key in ("forget", "test", "auc")}
    d2 = [
        excess_d2(torch.stack([t[place, kind] for t in ours]), torch.stack([t[place, kind] for t in others]))
        for place, kind in (("forget", margin), ("forget", other_gap), ("retain", margin), ("test", margin))
    ]
    print(
        f"{label:22s} {cpu:7.2f} | {mean['forget']:.3f} {mean['test']:.3f} {mean['auc']:.3f} | "
        + " ".join(f"{v:+6.2f}" for v in d2),
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--models", type=int, help="models a row (twice as many are retrained)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    n, n_forget, epochs, k = SIZES[args.size]
    k = args.models or k
    x, y, xt, yt = fashion_mnist()
    x, xt = x.flatten(1), xt.flatten(1)
    p = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    holdout, train = TensorDataset(x[p[n : n + 5000]], y[p[n : n + 5000]]), TensorDataset(x[p[:n]], y[p[:n]])
    (x, y), forget = train.tensors, list(range(n_forget))
    places = {
        "forget": (x[:n_forget], y[:n_forget]),
        "retain": (x[n_forget : n_forget + 1000], y[n_forget : n_forget + 1000]),
        "test": (xt[:1000], yt[:1000]),
    }
    originals = [trained(x, y, epochs, s) for s in range(k)]
    start = time.process_time()
    retrained = [trained(x[n_forget:], y[n_forget:], epochs, 1000 + s) for s in range(2 * k)]
    again = (time.process_time() - start) / (2 * k)
    others = [read(m, places) for m in retrained[k:]]
    print(f"{args.size}: {k} models a row against {k} retrained; CPU seconds a model")
    print(f"{'':22s} {'CPU s':>7s} | forget test  AUC  | d2: forget, other classes, retain, test")
    row("original", [read(m, places) for m in originals], others, 0)
    row("retrained", [read(m, places) for m in retrained[:k]], others, again)

    results = [
        efface.unlearn(m, train=train, holdout=holdout, forget=forget, seed=s, progress=False)
        for s, m in enumerate(originals)
    ]
    cpu = sum(r.cost.cpu_s for r in results) / k
    row("steer", [read(r.model, places) for r in results], others, cpu)
    phases = {name: sum(r.cost.phases[name].cpu_s for r in results) / k for name in results[0].cost.phases}
    print("    " + ", ".join(f"{name} {s:.2f}" for name, s in phases.items()) + f"; {again / cpu:.1f} times cheaper")


if __name__ == "__main__":
    main()
