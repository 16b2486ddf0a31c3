"""Many small requests in a row against one large one of the same records: do errors add up?

    python -m benchmarks.sequence fashion --cache .cache/bench                      # ten of .5 %, then one of 5 %
    python -m benchmarks.sequence fashion --models 8 --retrained 16 --draw 1

Every original is unlearned three times by steer: in requests one after the other, each from the version before, with
retain records kept at what the original said (as in a store) and at what the version before said; and in a single
request. All are judged by the same models, retrained without all of these records. `share left` is of doing nothing's
excess d2 by margin, with its upper 95 % bound; `d2` is excess d2 on other records: before, after, and the change with
its 95 % interval. The nearest records are those most like the forgotten ones, by features of a retrained model: what
the original said of them tells of the forgotten ones too, so they would show it if keeping that brought something
back. Two numbers at the end are bars: excess d2 on retain after the sequence (at most .25), and its share left over
that of the single request (at most 1.2).
"""

from dataclasses import replace

import numpy as np

from benchmarks.asking import drawn, parser, say, titled
from benchmarks.harness.cell import HowRun, interval, unlearn_all
from benchmarks.harness.cost import beside_retraining, time_epoch
from benchmarks.harness.evaluator import Evaluator, change, compare
from benchmarks.harness.markdown import signed
from benchmarks.harness.requests import train_originals, train_retrained
from benchmarks.harness.results import Interval
from benchmarks.harness.suite import Recipe
from efface.runtime.devices import threads

RETAIN, RATIO = 0.25, 1.2  # what is aimed at
PLACES = (  # what it is, which records count as nearest where it is read, and the statistic
    ("retain", "test", "retain"),
    ("test", "test", "test"),
    ("the nearest test records", "test", "neighbours"),
    ("the nearest retain records", "retain", "neighbours"),
)


def main(words=None):
    options = parser(__doc__, models=4, retrained=8)
    options.add_argument("--requests", type=int, default=10, help="requests in a row")
    options.add_argument("--share", type=float, default=0.005, help="of the training records, in each request")
    options.add_argument("--seed", type=int, default=0, help="of the first original's requests")
    args = options.parse_args(words)
    whole, cache = drawn(args, args.requests * args.share)
    shuffled = np.random.default_rng(args.draw).permutation(whole.forget)
    row = replace(whole, parts=tuple(np.sort(part) for part in np.array_split(shuffled, args.requests)))
    say("training originals and retrained models")
    originals, retrained = train_originals(whole, args.models, cache), train_retrained(whole, args.retrained, cache)
    epoch = time_epoch(whole)
    readers = {near: Evaluator(whole, retrained[0], near) for near in ("test", "retain")}
    before, aim = ({near: e.read_all(models) for near, e in readers.items()} for models in (originals, retrained))
    share = f"{100 * args.share:g} %"
    print(titled(args, whole, f"{args.requests} requests of {share} in a row and one of {args.requests} x {share}"))
    left, retain = [], []
    in_a_row = f"{args.requests} in a row"
    for name, request, first in (
        (f"{in_a_row}, kept at the first model", row, True),
        (f"{in_a_row}, kept at the version before", row, False),
        ("one request", whole, False),
    ):
        say(name)
        how = HowRun(Recipe(), {}, first_outputs=first)
        made, cost = unlearn_all(request, originals, "steer", how, first_seed=args.seed)
        after = {near: e.read_all(made) for near, e in readers.items()}
        found = {near: compare(before[near], after[near], aim[near]) for near in readers}
        spent, margin = beside_retraining(request, epoch, cost), found["test"]["margin"]
        left.append(margin.share.value)
        retain.append(found["test"]["retain"].unlearned.value)
        print(f"{name}: share left {margin.share.value:.3f} [{margin.share.high:.3f}]{_means(margin)}")
        for title, near, key in PLACES:
            moved, d2 = change(before[near][key], after[near][key], aim[near][key]), found[near][key]
            print(
                f"  d2 of {title}: {d2.original.value:.3f} before, {d2.unlearned.value:.3f} after, "
                f"change {signed(Interval(*interval(moved)))}"
            )
        for place in ("retain", "test"):
            by_group = (float(group["test"][f"accuracy {place}"].mean()) for group in (before, after, aim))
            print(
                f"  accuracy on {place}: {' / '.join(f'{a:.4f}' for a in by_group)} (original / unlearned / retrained)"
            )
        print(
            f"  {cost['cpu_s']:.2f} CPU s, {cost['price']:,.0f} record-trainings, "
            f"{spent['cheaper']:.1f} times cheaper than retraining for each request",
            flush=True,
        )
    print(f"d2 of retain after {in_a_row}: {retain[0]:.3f} (aim: at most {RETAIN})")
    print(f"share left, {in_a_row} over one request: {ratio(left[0], left[-1])} (aim: at most {RATIO})")


def ratio(several, single):
    """How many times the share of one request is left by several, in words; nothing is where that one leaves none."""
    return f"{several / single:.2f}" if single > 0 else f"no ratio, {several:.3f} and {single:.3f}"


def _means(distance):
    return "" if distance.informative else " (means nothing: doing nothing is not surely away from retrained models)"


if __name__ == "__main__":
    with threads(1):
        main()
