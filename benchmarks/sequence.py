"""Many small requests in a row against one large one of the same records: do errors add up?

    python -m benchmarks.sequence fashion --cache .cache/bench                      # ten of .5 %, then one of 5 %
    python -m benchmarks.sequence fashion --models 8 --retrained 16 --draw 1

Every original is unlearned twice by steer, once in requests one after the other, each from the version before, and
once in a single request; both are judged by the same models, retrained without all of these records. `share left` is
of doing nothing's excess d2 by margin, with its upper 95 % bound; `d2` is excess d2 on retain and test records:
before, after, and the change with its 95 % interval. Two numbers at the end are bars: excess d2 on retain after the
sequence (at most .25), and its share left over that of the single request (at most 1.2).
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
    evaluator, epoch = Evaluator(whole, retrained[0]), time_epoch(whole)
    before, aim = evaluator.read_all(originals), evaluator.read_all(retrained)
    share = f"{100 * args.share:g} %"
    print(titled(args, whole, f"{args.requests} requests of {share} in a row and one of {args.requests} x {share}"))
    left, retain = {}, {}
    for name, request in ((f"{args.requests} in a row", row), ("one request", whole)):
        say(name)
        made, cost = unlearn_all(request, originals, "steer", HowRun(Recipe(), {}), first_seed=args.seed)
        after = evaluator.read_all(made)
        found, spent = compare(before, after, aim), beside_retraining(request, epoch, cost)
        left[name], retain[name] = found["margin"].share, found["retain"].unlearned.value
        print(f"{name}: share left {left[name].value:.3f} [{left[name].high:.3f}]{_means(found['margin'])}")
        for place in ("retain", "test"):
            moved = change(before[place], after[place], aim[place])
            print(
                f"  d2 of {place}: {found[place].original.value:.3f} before, {found[place].unlearned.value:.3f} after, "
                f"change {signed(Interval(*interval(moved)))}; accuracy "
                + " / ".join(f"{float(g[f'accuracy {place}'].mean()):.4f}" for g in (before, after, aim))
                + " (original / unlearned / retrained)"
            )
        print(
            f"  {cost['cpu_s']:.2f} CPU s, {cost['price']:,.0f} record-trainings, "
            f"{spent['cheaper']:.1f} times cheaper than retraining for each request",
            flush=True,
        )
    several, single = left
    print(f"d2 of retain after {several}: {retain[several]:.3f} (aim: at most {RETAIN})")
    print(
        f"share left, {several} over {single}: {ratio(left[several].value, left[single].value)} (aim: at most {RATIO})"
    )


def ratio(several, single):
    """How many times the share of one request is left by several, in words; nothing is where that one leaves none."""
    return f"{several / single:.2f}" if single > 0 else f"no ratio, {several:.3f} and {single:.3f}"


def _means(distance):
    return "" if distance.informative else " (means nothing: doing nothing is not surely away from retrained models)"


if __name__ == "__main__":
    with threads(1):
        main()
