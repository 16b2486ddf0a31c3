"""Whether a record is forgotten alike in batches of any size: what is left of the same records' distance.

    python -m benchmarks.batches letter --cache .cache/bench    # batches of 1, 3, 10, 50 and 200 records

The same records are forgotten in batches of their own size, and in one of all with others beside them. Shown is the
mean fall of their margins on the symmetric log, its part of what the targets of retrained models ask for, and excess d2
of the margin to models retrained without all of them: as the share of doing nothing's, its unit one record.
"""

import numpy as np
import torch

import efface
from benchmarks.asking import drawn, parser, say, titled
from benchmarks.harness.requests import train_originals, train_retrained
from efface.data.records import Records
from efface.metrics.distance import excess_d2
from efface.models.running import logits_of
from efface.numerics.logits import margin, symlog
from efface.runtime.cost import Meter
from efface.runtime.devices import threads

CONTROL = 1000  # test records by which each model's level and scale are taken out
POOL = 0.02  # of the training records: those that batches are drawn from, and that retrained models never saw


def main(words=None):
    options = parser(__doc__, models=2, retrained=4)
    options.add_argument("--sizes", type=int, nargs="+", default=[1, 3, 10, 50, 200], help="records in a batch")
    options.add_argument("--read", type=int, default=50, help="records whose fall is read")
    args = options.parse_args(words)
    request, cache = drawn(args, POOL, "random")
    say("training originals and retrained models")
    originals, retrained = train_originals(request, args.models, cache), train_retrained(request, args.retrained, cache)
    task = request.task
    train, test = Records(task.train, task), Records(task.test, task)
    order = np.random.default_rng(args.draw).permutation(request.forget)
    read = order[: args.read]

    def standard(model, at):
        z = logits_of(task, model, test, np.arange(min(CONTROL, len(test))), Meter())
        level = symlog(margin(z, test.targets(np.arange(len(z)))))
        found = symlog(margin(logits_of(task, model, train, at, Meter()), train.targets(at)))
        return (found - level.mean()) / level.std()

    def forgotten(model, ids, seed):
        settings = efface.UnlearnOptions(evaluate=False, checks=False)
        names = [int(i) for i in ids]
        return efface.unlearn(model, task=task, forget=names, seed=seed, progress=False, options=settings).model

    before = torch.stack([standard(m, read) for m in originals])
    wanted = torch.stack([standard(m, read) for m in retrained])
    nothing = float(excess_d2(before, wanted))
    print(titled(args, request, f"{len(read)} records of {len(order)}; {nothing:.2f} of excess d2 by doing nothing"))
    print(f"{'batch':>6s} {'fall':>7s} {'of the way':>11s} {'share of d2':>12s}")
    for size in args.sizes:
        after = []
        for number, model in enumerate(originals):
            rows = []
            for start in range(0, len(read), size):
                own = read[start : start + size]
                others = order[len(read) : len(read) + size - len(own)]
                made = forgotten(model, np.concatenate([own, others]), number)
                rows.append(standard(made, own))
            after.append(torch.cat(rows))
        left = torch.stack(after)
        fall, way = float((before - left).mean()), float((before.mean(0) - wanted.mean(0)).mean())
        share = float(excess_d2(left, wanted)) / nothing
        print(f"{size:6d} {fall:7.3f} {fall / way:11.2f} {share:12.2f}", flush=True)


if __name__ == "__main__":
    with threads(1):
        main()
