"""Requests of very few records: the rank of a forgotten record among never-seen ones of its difficulty.

    python -m benchmarks.few fashion --repeats 200 --cache .cache/bench    # 1, 3 and 10 records

A record's rank is the share of 200 never-seen records of about its own difficulty that have a lower margin: uniform
where the record cannot be told from them. Difficulty is the margin of a model retrained without all the records that
are drawn from; the other retrained models give the ranks of the same records that forgetting should lead to, and their
mean is taken. Each request has a record of its own whose rank is read, and takes the next of the originals. Intervals
are for other records and cover 90 %: of the mean rank, and of its difference to the retrained models' on the same
records, record by record. The aim: unlearned within .05 of the retrained models with its whole interval, doing nothing
outside of it, and outputs on test records that move by at most .01 of total variation.
"""

import numpy as np
import torch
from scipy.stats import kstest

import efface
from benchmarks.asking import drawn, parser, say, titled
from benchmarks.harness.requests import train_originals, train_retrained
from efface.data.records import Records
from efface.metrics.utility import mean_over_records
from efface.models.running import logits_of
from efface.numerics.logits import margin
from efface.numerics.neighbours import ranks, windows
from efface.runtime.cost import Meter
from efface.runtime.devices import threads

NEAR, MOVED = 200, 1000  # never-seen records that a rank is among; test records whose outputs are watched
LEVEL, WITHIN, LITTLE = 0.9, 0.05, 0.01
POOL = 0.1  # of the training records: those that requests are drawn from
GROUPS = ("doing nothing", "unlearned", "retrained")


class Ranking:
    """Ranks of training records among never-seen ones that are as hard to a model that saw neither."""

    def __init__(self, request, judge):
        self.task, self.judge = request.task, judge
        self.train, self.test = (Records(part, request.task) for part in (request.task.train, request.task.test))
        self.unseen = np.arange(len(self.test))
        self.hardness = self.margins(judge, self.test, self.unseen)

    def margins(self, model, data, at):
        return margin(logits_of(self.task, model, data, at, Meter()), data.targets(at))

    def place(self, model, at, among=None):
        """Ranks of the records `at` by a model; `among`: its margins on the never-seen ones, where they are known."""
        near = windows(self.margins(self.judge, self.train, at), self.hardness, min(NEAR, len(self.unseen)))
        among = self.margins(model, self.test, self.unseen) if among is None else among
        return float(ranks(self.margins(model, self.train, at), among[near])[0])

    def outputs(self, model):
        """Probabilities on the first test records, and accuracy on them."""
        z = logits_of(self.task, model, self.test, self.unseen[:MOVED], Meter())
        return z.softmax(1), float((z.argmax(1) == self.test.targets(self.unseen[:MOVED])).double().mean())


def main(words=None):
    options = parser(__doc__, models=4, retrained=4)
    options.add_argument("--repeats", type=int, default=200, help="requests of each size")
    options.add_argument("--sizes", type=int, nargs="+", default=[1, 3, 10], help="records in a request")
    args = options.parse_args(words)
    if args.retrained < 2:
        options.error("--retrained: one model tells difficulty, so that two or more are needed")
    request, cache = drawn(args, POOL)
    if args.repeats > len(request.forget):
        options.error(f"--repeats: there are {len(request.forget)} records to draw from")
    say("training originals and retrained models")
    originals, (judge, *controls) = (
        train_originals(request, args.models, cache),
        train_retrained(request, args.retrained, cache),
    )
    ranking = Ranking(request, judge)
    before = [ranking.outputs(model) for model in originals]
    # of models that stay the same, what never-seen records get is read once
    known = {id(m): ranking.margins(m, ranking.test, ranking.unseen) for m in (*originals, *controls)}
    print(titled(args, request, f"{args.repeats} requests of each size"))
    rng = np.random.default_rng(4)
    for size in args.sizes:
        found, kept, spent, price, moved = [], [], [], [], []
        for number, own in enumerate(rng.choice(request.forget, args.repeats, replace=False)):
            also = rng.choice(np.setdiff1d(request.forget, own), size - 1, replace=False)
            original, (outputs, _) = originals[number % len(originals)], before[number % len(originals)]
            done = unlearned(request, original, np.sort([own, *also]), number)
            at = np.array([own])
            control = np.mean([ranking.place(m, at, known[id(m)]) for m in controls])
            found.append((ranking.place(original, at, known[id(original)]), ranking.place(done.model, at), control))
            now, accuracy = ranking.outputs(done.model)
            moved.append(float((now - outputs).abs().sum(1).mean() / 2))
            kept.append(accuracy)
            spent.append(done.cost.cpu_s)
            price.append(done.cost.record_trainings)
            if (number + 1) % 10 == 0:
                say(f"{size} records: {number + 1} of {args.repeats} requests")
        accuracy = np.mean([a for _, a in before])
        print(f"{size} of {request.records:,} records")
        for line in told(np.array(found)):
            print(f"  {line}")
        print(
            f"  {np.mean(spent):.2f} CPU s and {np.mean(price):,.0f} record-trainings each; test accuracy "
            f"{np.mean(kept):.4f} (original {accuracy:.4f}), outputs on test records move by {np.mean(moved):.4f} of "
            f"total variation (aim: at most {LITTLE})",
            flush=True,
        )


def unlearned(request, original, at, seed):
    """The result of one request; evidence on so few records decides nothing, and none is collected."""
    options = efface.UnlearnOptions(evaluate=False)
    return efface.unlearn(original, task=request.task, forget=at.tolist(), seed=seed, progress=False, options=options)


def told(found):
    """Mean ranks of each group (requests, groups) with their intervals, and differences on the same records."""
    values = torch.from_numpy(found)
    lines = []
    for name, column in zip(GROUPS, values.T, strict=True):
        uniform = (
            "" if name == "retrained" else f", KS p against uniform {kstest(column.numpy(), 'uniform').pvalue:.4f}"
        )
        lines.append(f"{name}: mean rank {_shown(mean_over_records(column, LEVEL, 0.0, 1.0))}{uniform}")
    for name, column in zip(GROUPS[:2], values.T[:2], strict=True):
        gap = mean_over_records(column - values[:, 2], LEVEL, -1.0, 1.0)
        where = "within" if gap.within(0.0, WITHIN) else "not within"
        lines.append(f"{name} less retrained: {_shown(gap, '+')}, {where} {WITHIN}")
    return lines


def _shown(e, sign=""):
    return f"{e.value:{sign}.3f} [{e.low:{sign}.3f}, {e.high:{sign}.3f}]"


if __name__ == "__main__":
    with threads(1):
        main()
