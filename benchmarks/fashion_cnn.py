"""Fashion-MNIST, all 60,000 records, a CNN, 600 random records erased: cost and evidence of every method.

    python -m benchmarks.fashion_cnn                      # 3 originals, 4 retrained models; about 15 minutes
    python -m benchmarks.fashion_cnn --methods steer --json results.json

Everything is timed in the same run on one CPU thread, and every phase of unlearning is charged (record checks,
reference model, targets, steps, stop checks). "remains" is (unlearned - retrained) / (original - retrained), of the
means over models, and in brackets for each seed. The attack is the loss attack against the test records, on the same
forget and test records for all models.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

import efface
from benchmarks.fashion_demo import fashion_setting
from efface.data.records import Records
from efface.metrics.membership import conditional_auc
from efface.models.running import logits_of
from efface.models.training import Recipe, retrain
from efface.numerics.logits import log_likelihood
from efface.runtime.cost import Meter
from efface.runtime.devices import threads
from efface.runtime.provenance import versions

METHODS = ("steer", "perturb", "finetune", "neggrad_plus")


def scores(task, model, forget, keep):
    """Accuracy on forget, 2,000 retain and test records, and the loss attack's AUC."""
    meter, train, test = Meter(), Records(task.train, task), Records(task.test, task)
    places = {
        "forget": (train, forget),
        "retain": (train, keep[:: len(keep) // 2000]),
        "test": (test, range(len(test))),
    }
    z = {name: (logits_of(task, model, r, at, meter), r.targets(at)) for name, (r, at) in places.items()}
    found = {name: float((a.argmax(1) == b).double().mean()) for name, (a, b) in z.items()}
    found["auc"] = conditional_auc(log_likelihood(*z["forget"]), log_likelihood(*z["test"])).value
    return found


def fresh(task, template, positions, seed):
    """A model trained by the task's recipe, and its CPU seconds."""
    start = time.process_time()
    model = retrain(task, template, positions, seed, Meter(), Recipe())
    return model, time.process_time() - start


def residual_distance(key, ours, original, retrained):
    def mean(rows):
        return statistics.mean(r[key] for r in rows)

    whole = (mean(ours) - mean(retrained)) / (mean(original) - mean(retrained))
    each = [(u[key] - mean(retrained)) / (o[key] - mean(retrained)) for u, o in zip(ours, original, strict=True)]
    return f"{whole:+.2f} [{min(each):+.2f} to {max(each):+.2f}]"


def show(name, rows, cpu, again, original, retrained):
    def spread(key):
        values = [r[key] for r in rows]
        return f"{statistics.mean(values):.4f} ±{statistics.stdev(values):.4f}"

    line = f"{name:13s} {cpu:7.2f} {again / cpu if cpu else float('nan'):6.1f}x " if cpu else f"{name:13s} {'':15s} "
    line += "  ".join(spread(key) for key in ("forget", "auc", "test", "retain"))
    if rows is not original and rows is not retrained:
        line += "   " + "  ".join(residual_distance(key, rows, original, retrained) for key in ("forget", "auc"))
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=efface.methods.available())
    parser.add_argument("--originals", type=int, default=3)
    parser.add_argument("--retrained", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="another forget set, holdout split and set of models")
    parser.add_argument("--json", type=Path, help="write all figures here too")
    args = parser.parse_args()
    setting, first = fashion_setting(args.seed), 10_000 * args.seed
    task, forget = setting.task, np.array(setting.kinds["random"])
    everything = np.arange(len(task.train))
    keep = np.setdiff1d(everything, forget)
    template = setting.build()
    originals = []
    for seed in range(args.originals):
        originals.append(fresh(task, template, everything, first + seed)[0])
        print(f"original {seed} trained", file=sys.stderr)
    retrained, times = [], []
    for seed in range(args.retrained):
        model, spent = fresh(task, template, keep, first + 1000 + seed)
        retrained.append(scores(task, model, forget, keep))
        times.append(spent)
        print(f"retrained {seed} in {spent:.1f} CPU s", file=sys.stderr)
    again = statistics.mean(times)
    original = [scores(task, m, forget, keep) for m in originals]
    labels, reader = task.train.tensors[1], Records(task.train, task)
    right = [logits_of(task, m, reader, everything, Meter()).argmax(1) == labels for m in originals]
    knows = [float(r.double().mean()) for r in right]
    print(f"originals know {min(knows):.4f} to {max(knows):.4f} of their own records; {versions()}")
    titles = "forget accuracy   loss-attack AUC   test accuracy     retain accuracy"
    print(f"{'':13s} {'CPU s':>7s} {'cheaper':>7s} {titles}    remains: forget accuracy, AUC")
    show("original", original, 0, again, original, retrained)
    show("retrained", retrained, again, again, original, retrained)
    found = {"retrain_cpu_s": times, "original": original, "retrained": retrained, "original_knows": knows}
    for method in args.methods:
        results = [
            efface.unlearn(m, task=task, forget=forget.tolist(), method=method, seed=s, progress=False)
            for s, m in enumerate(originals)
        ]
        rows = [scores(task, r.model, forget, keep) for r in results]
        cpu = statistics.mean(r.cost.cpu_s for r in results)
        show(method, rows, cpu, again, original, retrained)
        phases = {n: round(statistics.mean(r.cost.phases[n].cpu_s for r in results), 2) for n in results[0].cost.phases}
        print(f"{'':13s} CPU s by phase: {phases}; each {[round(r.cost.cpu_s, 2) for r in results]}")
        print(
            f"{'':13s} stop: {'; '.join(r.evidence.outcome + ' after ' + str(r.evidence.chosen_step) for r in results)}"
        )
        found[method] = {"scores": rows, "evidence": [asdict(r.evidence) for r in results], "phases": phases}
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    with threads(1):
        main()
