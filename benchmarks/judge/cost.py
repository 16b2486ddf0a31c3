"""What an audit costs at each level, and how a method stands by every statistic of the strong one.

    python -m benchmarks.judge.cost fashion   # quick, standard: 60,000 records, CNN, 600 forgotten
    python -m benchmarks.judge.cost mlp       # strong, 32 + 32 models: 5,000 records, MLP, 250 forgotten
    python -m benchmarks.judge.cost mlp --method retrain --models 16 --out report-folder

Everything is timed in the same run: CPU seconds of this process and, for ensembles, of its workers. fashion takes about
4 minutes, mlp about 8 of CPU time. --cache FOLDER keeps the ensembles; what is found there is not charged.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

import efface
from benchmarks.fashion_demo import fashion_setting
from benchmarks.harness.fashion import fashion_mnist
from benchmarks.harness.networks import tensors_of
from benchmarks.mlp_tasks import SIZES, mlp, trained
from efface.models.training import Recipe, retrain
from efface.runtime.cost import Meter
from efface.runtime.devices import threads
from efface.runtime.provenance import versions


def fit(model, dataset, seed):
    """The recipe of mlp_tasks, on a network that is given."""
    model.load_state_dict(trained(*tensors_of(dataset), epochs=SIZES["small"][2], seed=seed).state_dict())


def mlp_task(n=5000, noise=0.0, seed=1):
    """Fashion-MNIST, n records, 10,000 held out, of whose labels a share is drawn at random; the test set is clean."""
    x, y, xt, yt = fashion_mnist()
    generator = torch.Generator().manual_seed(seed)
    p = torch.randperm(len(x), generator=generator)
    drawn = torch.rand(len(y), generator=generator) < noise
    y = torch.where(drawn, torch.randint(10, y.shape, generator=generator), y)
    train, holdout = p[:n], p[n : n + 10_000]
    return efface.Task(
        train=TensorDataset(x.flatten(1)[train], y[train]),
        holdout=TensorDataset(x.flatten(1)[holdout], y[holdout]),
        test=TensorDataset(xt.flatten(1), yt),
        build_model=mlp,
        fit=fit,
    )


def show(report):
    """The ladder, the rows of ensembles and features, and the canaries."""
    print(f"{report.verdict.status}: {report.verdict.sentence}")
    print(f"  {'test':44s} {'nothing':>8s} {'unlearned':>24s} {'retrained':>10s} {'p':>7s}  outcome")
    for r in report.tests:
        e, again = r.unlearned, "" if r.retrained is None else f"{r.retrained.value:+.3f}"
        shown = f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
        print(f"  {r.title:44s} {r.original.value:+8.3f} {shown:>24s} {again:>10s} {r.p_adjusted:7.4f}  {r.outcome}")
    for m in report.metrics:
        if m.kind in ("ensemble", "features") or m.key in ("tpr", "tow", "accuracy_test", "accuracy_retain"):
            cells = [c.why if c.estimate is None else f"{c.estimate.value:.3f}" for c in (m.original, m.unlearned)]
            again = m.retrained.why if m.retrained.estimate is None else f"{m.retrained.estimate.value:.3f}"
            print(f"  {m.title:66s} {cells[0]:>8s} {cells[1]:>8s} {again:>8s}")
    if (c := report.findings.canaries) is not None:
        print(
            f"  canaries: {c.right} of {c.guesses} guesses right after unlearning, {c.original_right} before; "
            f"epsilon at least {c.epsilon_low:.2f}, before {c.original_epsilon_low:.2f} ({c.level:.0%} confidence)"
        )
    print("  worst records:", [r["id"] for r in report.document["records"] if r["flagged"]][:10], flush=True)


def spent(report, again=None):
    phases = ", ".join(f"{name} {p.cpu_s:.1f}" for name, p in report.cost.phases.items())
    ratio = "" if again is None else f", {report.cost.cpu_s / again:.2f} retrainings"
    print(f"  cost: {report.cost.cpu_s:.1f} CPU s{ratio} ({phases})", flush=True)


def fashion(args):
    setting = fashion_setting(args.seed)
    task, forget = setting.task, setting.kinds["random"]
    everything, template = np.arange(len(task.train)), setting.build()
    original = retrain(task, template, everything, args.seed, Meter(), Recipe())
    start = time.process_time()
    retrain(task, template, np.setdiff1d(everything, forget), args.seed + 1, Meter(), Recipe())
    again = time.process_time() - start
    print(f"one retraining: {again:.1f} CPU s; {versions()}", flush=True)
    result = efface.unlearn(original, task=task, forget=forget, method=args.method, progress=False)
    for level in ("quick", "standard"):
        print(f"\nlevel {level}")
        report = efface.audit(result, level=level, options=efface.AuditOptions(progress=False))
        show(report)
        spent(report, again)


def strong(args):
    n, n_forget, epochs, _ = SIZES["small"]
    task = mlp_task(n)
    original = trained(*task.train.tensors, epochs=epochs, seed=args.seed)
    result = efface.unlearn(
        original, task=task, forget=list(range(n_forget)), method=args.method, seed=args.seed, progress=False
    )
    options = efface.AuditOptions(models=args.models, cache=args.cache, jobs=args.jobs, progress=False)
    report = efface.audit(result, level="strong", options=options)
    print(f"{args.method}, {args.models} + {args.models} models; {versions()}")
    show(report)
    spent(report)
    if args.out:
        report.save(args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fashion", "mlp"))
    parser.add_argument("--method", default="steer", choices=efface.methods.available())
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="save the report of mlp here")
    args = parser.parse_args()
    {"fashion": fashion, "mlp": strong}[args.what](args)


if __name__ == "__main__":
    with threads(1):
        main()
