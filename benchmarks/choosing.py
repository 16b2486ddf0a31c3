"""A method with other options on one request: how its options are chosen, on draw 0.

    python -m benchmarks.choosing letter memorised --cache .cache/bench
    python -m benchmarks.choosing letter memorised --set spare=.007 travel=25

One line: share left of doing nothing's excess d2 by margin [upper 95 %], by the other classes and by all logits; the
change of excess d2 on retain and test records [upper end]; accuracies of original / unlearned / retrained models on
forget, retain and test records; how many times cheaper than retraining (CPU), the price in record-trainings, and both
by phase. A share in brackets means nothing: doing nothing is not surely away from retrained models.
"""

from benchmarks.asking import drawn, parser, say, titled
from benchmarks.harness.cell import HowRun, measured, unlearn_all
from benchmarks.harness.cost import beside_retraining, time_epoch
from benchmarks.harness.evaluator import Evaluator
from benchmarks.harness.requests import KINDS, SHARE, train_originals, train_retrained
from benchmarks.harness.suite import Recipe
from efface.methods import get
from efface.runtime.devices import threads


def main(words=None):
    options = parser(__doc__, models=8, retrained=16)
    options.set_defaults(draw=0)
    options.add_argument("request", nargs="?", default="random", choices=KINDS, help="random by default")
    options.add_argument("--share", type=float, default=SHARE, help="of the training records that are forgotten")
    options.add_argument("--method", default="steer", help="steer by default")
    options.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of the method")
    args = options.parse_args(words)
    given = dict(pair.partition("=")[::2] for pair in args.set)
    method = get(args.method, given)  # reads the words, and refuses an unknown option before any work
    chosen = {option: getattr(method, option) for option in given}
    request, cache = drawn(args, args.share, args.request)
    say("training originals and retrained models")
    originals, retrained = train_originals(request, args.models, cache), train_retrained(request, args.retrained, cache)
    evaluator, epoch = Evaluator(request, retrained[0]), time_epoch(request)
    made, cost = unlearn_all(request, originals, args.method, HowRun(Recipe(), chosen))
    before, after, aim = (evaluator.read_all(models) for models in (originals, made, retrained))
    spent = beside_retraining(request, epoch, cost)
    what = f"{args.request} {100 * args.share:g} %, {len(request.forget)} forgotten, {args.method} {' '.join(args.set)}"
    print(titled(args, request, what.strip()))
    print(" | ".join(line(measured(request, before, after, aim), spent)), flush=True)


def line(found, spent):
    """What was measured, in few words."""
    shares = []
    for key in ("margin", "other_classes", "logits"):
        if key in found["remains"]:
            value, _, high = found["remains"][key]["share"]
            text = f"{key} {value:.2f} [{high:.2f}]" if high is not None else f"{key} {value:.2f}"
            shares.append(text if found["remains"][key]["informative"] else f"({text})")
    yield "left: " + ", ".join(shares)
    for key in ("retain", "test"):
        value, _, high = found["d2"][key]["change"]
        yield f"{key} {value:+.2f} [{high:+.2f}]" if high is not None else f"{key} {value:+.2f}"
    for place in ("forget", "retain", "test"):
        groups = (found[f"accuracy {place}"][w][0] for w in ("original", "unlearned", "retrained"))
        yield f"accuracy {place} {' / '.join(f'{value:.3f}' for value in groups)}"
    cost = spent["unlearn"]
    yield f"{spent['cheaper']:.1f} times cheaper, {cost['price']:,.0f} record-trainings"
    yield ", ".join(f"{name} {cost['phases'][name]:.3f} s / {cost['prices'][name]:,.0f}" for name in cost["phases"])


if __name__ == "__main__":
    with threads(1):
        main()
