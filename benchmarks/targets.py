"""How near steer's targets come to retrained models, without any steps: variants of the reference and of the rule.

    python -m benchmarks.targets fashion random --share .01    # 8 originals, 16 retrained models, draw 0

Each line is one variant: the share of doing nothing's excess d2 that is left if the forget records had exactly the
target logits, by margin, by the gap of the two best other classes and by all logits, with 95 % intervals; then the CPU
seconds of the reference model. Variants are given by --only, or all are run.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness.evaluator import Evaluator
from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import KINDS, make_request, train_originals, train_retrained
from efface.calibration import counterfactual as room
from efface.calibration import reference as making
from efface.calibration import targets
from efface.data.records import Records
from efface.data.splits import make_splits
from efface.metrics.distance import residual_distance, standardise_by_nonmembers
from efface.models.init import fresh_model
from efface.models.running import logits_of
from efface.models.training import Recipe, one_cycle, train
from efface.numerics.logits import centre, margin, other_gap, symlog
from efface.runtime.cost import Meter
from efface.runtime.devices import threads


class Remembering(room.CounterfactualLogits):
    """Without taking out what the reference remembers."""

    def remove_memory(self, raw, members):
        return raw.expected


def distilled(recipe=making.RECIPE):
    """Taught the original's logits, not the labels."""

    def make(task, original, kept, data, splits, seed):
        model, at = making.half_way_model(task, original, seed, kept), splits.reference
        steps, rng = recipe.steps(len(at)), np.random.default_rng(seed)
        optimiser = torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=True)
        schedule = one_cycle(optimiser, recipe.lr, steps)
        batches = (
            rows for _ in range(steps) for rows in np.array_split(rng.permutation(at), -(-len(at) // recipe.batch))
        )
        for rows in itertools.islice(batches, steps):
            inputs = data.read(rows).inputs
            with torch.no_grad():
                taught = centre(original(inputs))
            optimiser.zero_grad()
            (centre(model(inputs)) - taught).square().mean().backward()
            optimiser.step()
            schedule.step()
        return model

    return make


def fresh(recipe, records):
    """A small model trained from scratch on labels: what the reference was before."""

    def make(task, original, kept, data, splits, seed):
        at = splits.reference[:records]
        return train(task, fresh_model(task, original, seed), data, at, recipe, seed, Meter())

    return make


def labels(kept=None, untrained=making.UNTRAINED, recipe=making.RECIPE, records=None):
    """What the library does; without `kept`, as much of the original is kept as it finds best."""

    def make(task, original, usual, data, splits, seed):
        making.UNTRAINED, before = untrained, making.UNTRAINED
        start = making.half_way_model(task, original, seed, usual if kept is None else kept)
        making.UNTRAINED = before
        return making.reference_model(task, start, data, splits.reference[:records], recipe, seed, Meter())

    return make


FRESH = Recipe(epochs=5, lr=2e-3, batch=64, least_steps=150)
LARGE = Recipe(epochs=2, lr=4e-3, batch=96, least_steps=1)
VARIANTS = {
    "the library's": (labels(), room.CounterfactualLogits, None),
    "fresh 1,500 x 5": (fresh(FRESH, 1500), Remembering, None),
    "memory left in": (labels(), Remembering, None),
    "kept .5": (labels(kept=0.5), room.CounterfactualLogits, None),
    "kept .7": (labels(kept=0.7), room.CounterfactualLogits, None),
    "kept .8": (labels(kept=0.8), room.CounterfactualLogits, None),
    "untrained .4": (labels(untrained=0.4), room.CounterfactualLogits, None),
    "untrained 1": (labels(untrained=1.0), room.CounterfactualLogits, None),
    "batches of 96": (labels(recipe=LARGE), room.CounterfactualLogits, None),
    "750 records": (labels(records=750), room.CounterfactualLogits, None),
    "logits as teachers": (distilled(), room.CounterfactualLogits, None),
    "expected alone": (labels(), room.CounterfactualLogits, 0.0),
    "transported alone": (labels(), room.CounterfactualLogits, 1.0),
    "half of each": (labels(), room.CounterfactualLogits, 0.5),
}


def rule(share, seen, members, nonmembers):
    """The targets, or a fixed mixture of the expected and the transported ones."""
    if share is None:
        return targets.target_logits(seen, members, nonmembers, ())
    return torch.lerp(seen.expected, targets.transported(seen, members, nonmembers), share)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=PROBLEMS)
    parser.add_argument("request", nargs="?", default="random", choices=[k for k in KINDS if k != "sequence"])
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=VARIANTS)
    parser.add_argument("--cache", type=Path, default=Path(".cache/bench"))
    args = parser.parse_args()
    problem, cache = PROBLEMS[args.problem], args.cache / "models"
    request = make_request(problem, problem.usual, args.request, args.share, args.draw, cache)
    task = request.task
    models, controls = train_originals(request, args.models, cache), train_retrained(request, 2 * args.models, cache)
    evaluator = Evaluator(request, controls[0])
    original, retrained = evaluator.read_all(models), evaluator.read_all(controls)
    data, holdout = Records(task.train, task), Records(task.holdout, task)
    test, at = evaluator.places["control"].records, evaluator.places["control"].positions
    control = [(logits_of(task, m, test, at, Meter()), test.targets(at)) for m in models]
    sizes = f"{len(request.forget)} records, {args.models} + {len(controls)} models"
    print(f"{args.problem} {args.request}, draw {args.draw}: {sizes}")
    for name in args.only or VARIANTS:
        make, kind, share = VARIANTS[name]
        found, spent = [], 0.0
        for seed, model in enumerate(models):
            splits = make_splits(request.forget, request.records, len(holdout), seed)
            places = room.CalibrationRecords(data, holdout, splits.heldout_retain, splits.calibration)
            known = room.original_logits(task, model, places, Meter())
            start = time.process_time()
            reference = make(task, model, making.kept_share(known.gap), data, splits, seed)
            spent += time.process_time() - start
            expected = kind(task, model, reference, places, Meter(), known)
            seen = expected.of_training(splits.forget)
            found.append(rule(share, seen, expected.members, expected.nonmembers))
        found_shares = []
        for key, read in (("margin", margin), ("other_classes", other_gap), ("logits", flat)):
            if key in original:
                rows = [level(read(t, seen.targets), read(*c)) for t, c in zip(found, control, strict=True)]
                r = residual_distance(original[key], torch.stack(rows), retrained[key], paired=True).share
                found_shares.append(f"{key} {r.value:.2f} [{r.low:.2f}, {r.high:.2f}]")
        print(f"  {name:18s} " + "  ".join(found_shares) + f"   {spent / len(models):.2f} s", flush=True)


def flat(z, targets):
    return centre(z.double()).flatten()


def level(values, control):
    return standardise_by_nonmembers(symlog(values)[None], symlog(control)[None])[0]


if __name__ == "__main__":
    with threads(1):
        main()
