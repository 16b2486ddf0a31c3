"""Many requests after one another, and requests of very few records.

    python benchmarks/in_a_row.py sequence --cache .cache        # ten requests of .5 % in a row, against one of 5 %
    python benchmarks/in_a_row.py few --data news --repeats 200  # 1, 3 and 10 records: their rank among never-seen ones

A later request's original is the earlier one's result, its training set what that left. `few` needs two models
retrained without all the records that are drawn from; a record's rank is the share of 200 never-seen records of about
its own difficulty, by one of them, that have a lower margin: uniform where the record cannot be told from them. The
other one is the control.
"""

import argparse
import json
from pathlib import Path

import kinds
import numpy as np
import torch
from reading import Ground, judged
from scipy.stats import kstest
from standing import change, interval
from three_sets import SETS
from torch.utils.data import TensorDataset

import efface
from efface.data.records import Records as Readable
from efface.models import logits_of
from efface.numerics.logits import margin
from efface.numerics.neighbours import ranks, windows
from efface.runtime import Meter, threads

PARTS = 10
NEAR = 200


def sequence(args):
    records, cache = SETS[args.data](), args.cache / args.data
    asked = kinds.request(args.data, records, "random5", 1, args.cache)
    originals = kinds.originals(asked, records, args.models, cache)
    retrained = kinds.retrained(asked, records, 2 * args.models, cache)
    x, y = asked.task.train.tensors
    parts = np.array_split(np.random.default_rng(3).permutation(asked.forget), PARTS)
    ground = Ground(asked.task, asked.forget, retrained[0])
    first, gold = ground.reads(originals), ground.reads(retrained)
    at_once, in_turn, spent = [], [], []
    for seed, model in enumerate(originals):
        done = efface.unlearn(model, task=asked.task, forget=asked.forget.tolist(), seed=seed, progress=False)
        at_once.append(done.model)
        left = np.arange(records.train)
        for number, part in enumerate(parts):
            rows = torch.from_numpy(left)
            task = records.task()
            task.train, task.ids = TensorDataset(x[rows], y[rows]), left.tolist()
            done = efface.unlearn(model, task=task, forget=part.tolist(), seed=100 * seed + number, progress=False)
            model, left = done.model, np.setdiff1d(left, part)
            spent.append(done.cost.cpu_s)
        in_turn.append(model)
        print(f"model {seed + 1} of {len(originals)}", flush=True)
    found = {"cpu each": float(np.mean(spent))}
    for name, models in (("one request", at_once), (f"{PARTS} requests", in_turn)):
        ours = ground.reads(models)
        shares = {k: interval(r.share) for k, r in judged(first, ours, gold).items() if k not in ("retain", "test")}
        drift = {k: change(first[k], ours[k], gold[k]) for k in ("retain", "test")}
        accuracy = {k: float(ours[k].double().mean()) for k in ("accuracy forget", "accuracy retain", "accuracy test")}
        found[name] = {"remains": shares, "moved away": drift, **accuracy}
    print(json.dumps(found, indent=1))


def few(args):
    records = SETS[args.data]()
    asked = kinds.request(args.data, records, "random10", 1, args.cache)
    original = kinds.originals(asked, records, 1, args.cache / args.data)[0]
    again = kinds.retrained(asked, records, 2, args.cache / args.data)
    train, test = Readable(asked.task.train, asked.task), Readable(asked.task.test, asked.task)

    def margins(model, data, at):
        return margin(logits_of(asked.task, model, data, at, Meter()), data.targets(at))

    others = np.arange(len(test))

    def placed(model, at):
        """Ranks of training records among the never-seen ones that are as hard to a model that saw neither."""
        near = windows(margins(again[1], train, at), margins(again[1], test, others), NEAR)
        return ranks(margins(model, train, at), margins(model, test, others)[near])

    rng = np.random.default_rng(4)
    for size in (1, 3, 10):
        rows = {"doing nothing": [], "unlearned": [], "retrained": []}
        kept, spent, moved = [], [], []
        # each request has a record of its own whose rank is read, so that ranks are independent
        judged_ones = rng.choice(asked.forget, args.repeats, replace=False)
        for seed, own in enumerate(judged_ones):
            others_asked = rng.choice(np.setdiff1d(asked.forget, own), size - 1, replace=False)
            at = np.sort([own, *others_asked])
            # evidence on so few records decides nothing
            done = efface.unlearn(original, task=asked.task, forget=at.tolist(), seed=seed, progress=False, looks=False)
            for name, model in (("doing nothing", original), ("unlearned", done.model), ("retrained", again[0])):
                rows[name].append(placed(model, np.array([own])))
            spent.append(done.cost.cpu_s)
            before, after = (logits_of(asked.task, m, test, others[:1000], Meter()) for m in (original, done.model))
            moved.append(float((after.softmax(1) - before.softmax(1)).abs().sum(1).mean() / 2))
            kept.append(float((after.argmax(1) == test.targets(others[:1000])).double().mean()))
        told = []
        for name, values in rows.items():
            rank = torch.cat(values).numpy()
            told.append(f"{name} mean {rank.mean():.3f}, KS p {kstest(rank, 'uniform').pvalue:.4f}")
        base = logits_of(asked.task, original, test, others[:1000], Meter())
        accuracy = float((base.argmax(1) == test.targets(others[:1000])).double().mean())
        print(f"{args.data}, {size} of {len(train)} records, {args.repeats} requests: " + "; ".join(told))
        print(
            f"  {np.mean(spent):.2f} CPU s each; test accuracy {np.mean(kept):.4f} (original {accuracy:.4f}), "
            f"outputs on test records move by {np.mean(moved):.4f} of total variation",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sequence", "few"))
    parser.add_argument("--data", choices=SETS, default="fashion")
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    args = parser.parse_args()
    with threads(1):
        {"sequence": sequence, "few": few}[args.what](args)
