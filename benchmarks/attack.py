"""U-LiRA (Hayes et al., arXiv 2403.01218): how often a guess of "unlearned or retrained" is right, record by record.

    python -m benchmarks.attack fashion --cache .cache/bench              # 32 unlearned and 32 retrained models
    python -m benchmarks.attack news --models 16 --retrained 16 --draw 1

`efface.attacks.ulira` on the margins of the forgotten records, as strong audits make it, and on the gap of the two
best other classes, which no method aims at: originals against retrained models (doing nothing), models unlearned by
steer against them, and one half of the retrained models against the other (the control). 0.5 is no better than
guessing, for any numbers of models. Intervals (95 %) are of a jackknife over the models of either kind. The aim: at
most .05 above the control.
"""

import numpy as np
import torch
from scipy.stats import norm

from benchmarks.asking import drawn, parser, say, titled
from benchmarks.harness.cell import HowRun, unlearn_all
from benchmarks.harness.evaluator import Evaluator
from benchmarks.harness.requests import SHARE, train_originals, train_retrained
from benchmarks.harness.suite import Recipe
from efface.attacks.ulira import MIN_ULIRA_MODELS, ulira
from efface.data.records import Records
from efface.models.running import logits_of
from efface.numerics.logits import margin
from efface.runtime.cost import Meter
from efface.runtime.devices import threads

ABOVE = 0.05  # the control, aimed at


def main(words=None):
    options = parser(__doc__, models=32, retrained=32)
    options.add_argument("--share", type=float, default=SHARE, help="of the training records that are forgotten")
    options.add_argument("--request", default="random", help="random, memorised or another kind of the benchmark")
    args = options.parse_args(words)
    if args.models <= MIN_ULIRA_MODELS or args.retrained < 2 * (MIN_ULIRA_MODELS + 1):
        options.error(f"at least {MIN_ULIRA_MODELS + 1} originals and {2 * (MIN_ULIRA_MODELS + 1)} retrained models")
    request, cache = drawn(args, args.share, args.request)
    say("training originals and retrained models")
    originals, retrained = train_originals(request, args.models, cache), train_retrained(request, args.retrained, cache)
    made = []
    for number, model in enumerate(originals, 1):
        made += unlearn_all(request, [model], "steer", HowRun(Recipe(), {}), first_seed=number - 1)[0]
        say(f"unlearned {number} of {len(originals)}")
    evaluator = Evaluator(request, retrained[0])
    groups = {"doing nothing": originals, "unlearned": made, "retrained": retrained}
    read = {name: readings(request, evaluator, models) for name, models in groups.items()}
    kind = f"{args.request} {100 * args.share:g} %, {len(request.forget)} forgotten"
    print(titled(args, request, f"{kind}; U-LiRA's share of right guesses"))
    for key in ("margin", "other classes"):
        whole = read["retrained"].get(key)
        if whole is None:
            continue
        pairs = {name: (read[name][key], whole) for name in ("doing nothing", "unlearned")}
        pairs["retrained halves"] = whole[::2], whole[1::2]
        found = {name: accuracy(*pair) for name, pair in pairs.items()}
        shown = "; ".join(f"{name} {value:.3f} [{low:.3f}, {high:.3f}]" for name, (value, low, high) in found.items())
        above = found["unlearned"][0] - found["retrained halves"][0]
        print(f"{key}: {shown}; unlearned {above:+.3f} from the control (aim: at most {ABOVE:+})")


def readings(request, evaluator, models):
    """Margins as strong audits attack them, and the gap of the other classes where there are any: (models, records)."""
    records, task = Records(request.task.train, request.task), request.task
    targets = records.targets(request.forget)
    raw = [margin(logits_of(task, m, records, request.forget, Meter()), targets) for m in models]
    others = evaluator.read_all(models).get("other_classes")
    return {"margin": torch.stack(raw)} | ({} if others is None else {"other classes": others})


def accuracy(models, retrained):
    """The attack's accuracy, with the 95 % interval of a jackknife over the models of either kind."""
    value, variance = ulira(models, retrained).accuracy, 0.0
    for kind, other, first in ((models, retrained, True), (retrained, models, False)):
        k = len(kind)
        rest = [kind[torch.arange(k) != i] for i in range(k)]
        without = np.array([ulira(*((r, other) if first else (other, r))).accuracy for r in rest])
        variance += (k - 1) / k * ((without - without.mean()) ** 2).sum()
    half = norm.ppf(0.975) * variance**0.5
    return value, value - half, value + half


if __name__ == "__main__":
    with threads(1):
        main()
