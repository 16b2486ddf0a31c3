"""Requests of very few records: the rank of a forgotten record among never-seen ones of its difficulty.

    python -m benchmarks.few fashion --repeats 200    # 1, 3 and 10 records

Needs two models retrained without all the records that are drawn from; a record's rank is the share of 200 never-seen
records of about its own difficulty, by one of them, that have a lower margin: uniform where the record cannot be told
from them. The other one is the control.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kstest

import efface
from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import make_request, train_originals, train_retrained
from efface.data.records import Records
from efface.models.running import logits_of
from efface.numerics.logits import margin
from efface.numerics.neighbours import ranks, windows
from efface.runtime.cost import Meter
from efface.runtime.devices import threads

NEAR = 200


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=PROBLEMS)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"))
    args = parser.parse_args()
    problem, cache = PROBLEMS[args.problem], args.cache / "models"
    request = make_request(problem, problem.usual, "random", 0.1, 1, cache)
    original = train_originals(request, 1, cache)[0]
    retrained = train_retrained(request, 2, cache)
    train, test = Records(request.task.train, request.task), Records(request.task.test, request.task)

    def margins(model, data, at):
        return margin(logits_of(request.task, model, data, at, Meter()), data.targets(at))

    others = np.arange(len(test))

    def placed(model, at):
        """Ranks of training records among the never-seen ones that are as hard to a model that saw neither."""
        near = windows(margins(retrained[1], train, at), margins(retrained[1], test, others), NEAR)
        return ranks(margins(model, train, at), margins(model, test, others)[near])

    rng = np.random.default_rng(4)
    for size in (1, 3, 10):
        rows = {"doing nothing": [], "unlearned": [], "retrained": []}
        kept, spent, moved = [], [], []
        # each request has a record of its own whose rank is read, so that ranks are independent
        judged_ones = rng.choice(request.forget, args.repeats, replace=False)
        for seed, own in enumerate(judged_ones):
            others_asked = rng.choice(np.setdiff1d(request.forget, own), size - 1, replace=False)
            at = np.sort([own, *others_asked])
            # evidence on so few records decides nothing
            done = efface.unlearn(
                original,
                task=request.task,
                forget=at.tolist(),
                seed=seed,
                progress=False,
                options=efface.UnlearnOptions(evaluate=False),
            )
            for name, model in (("doing nothing", original), ("unlearned", done.model), ("retrained", retrained[0])):
                rows[name].append(placed(model, np.array([own])))
            spent.append(done.cost.cpu_s)
            before, after = (logits_of(request.task, m, test, others[:1000], Meter()) for m in (original, done.model))
            moved.append(float((after.softmax(1) - before.softmax(1)).abs().sum(1).mean() / 2))
            kept.append(float((after.argmax(1) == test.targets(others[:1000])).double().mean()))
        lines = []
        for name, values in rows.items():
            rank = torch.cat(values).numpy()
            lines.append(f"{name} mean {rank.mean():.3f}, KS p {kstest(rank, 'uniform').pvalue:.4f}")
        base = logits_of(request.task, original, test, others[:1000], Meter())
        accuracy = float((base.argmax(1) == test.targets(others[:1000])).double().mean())
        print(f"{args.problem}, {size} of {len(train)} records, {args.repeats} requests: " + "; ".join(lines))
        print(
            f"  {np.mean(spent):.2f} CPU s each; test accuracy {np.mean(kept):.4f} (original {accuracy:.4f}), "
            f"outputs on test records move by {np.mean(moved):.4f} of total variation",
            flush=True,
        )


if __name__ == "__main__":
    with threads(1):
        main()
