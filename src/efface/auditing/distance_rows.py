"""Rows of a strong audit: distances of every place, and the attacks that need ensembles."""

import torch

from efface.attacks.ulira import ulira
from efface.auditing.ensemble_outputs import CELLS, RAW, Statistics
from efface.auditing.readings import Metric, Reading
from efface.auditing.table import distance_reading
from efface.auditing.verdict import LEVEL
from efface.metrics.distance import residual_distance
from efface.metrics.epsilon import forgetting_quality, unlearning_epsilon
from efface.metrics.klom import MIN_MODELS, klom
from efface.types import Estimate

ALONE = "the method cannot be run again on other models, so there is no ensemble of unlearned models"


def metrics_of(seen: Statistics) -> list[Metric]:
    """Rows for every cell, and for the attacks that need ensembles."""
    rows = []
    for cell in CELLS:
        if cell.key in seen.retrained:
            sides = (seen.original[cell.key], seen.unlearned[cell.key], seen.retrained[cell.key])
            r = residual_distance(*sides, LEVEL, seen.remade)
            title = f"Excess d2 of ensembles to retrained, {cell.title}"
            readings = [distance_reading(e) for e in (r.original, r.unlearned, r.retrained)]
            rows.append(Metric(f"ensemble_d2_{cell.key}", title, "all", "ensemble", cell.decides, *readings))
    return [*rows, *_ensemble_attacks(seen)]


def _ensemble_attacks(seen: Statistics) -> list[Metric]:
    sides = [s[RAW] for s in (seen.original, seen.unlearned, seen.retrained)]
    halves = sides[2][::2], sides[2][1::2]
    titles = {
        "ulira": "U-LiRA, balanced accuracy (0.5: cannot be told)",
        "klom_mean": "KLoM, mean over forget records (nats)",
        "klom_95": "KLoM, 95th percentile over forget records (nats)",
        "epsilon": "Forgetting quality of the NeurIPS 2023 challenge (1: best)",
    }
    if not seen.remade:
        alone = Reading.missing(ALONE)
        return [Metric(key, title, "all", "ensemble", False, alone, alone, alone) for key, title in titles.items()]
    pairs = [(sides[0], sides[2]), (sides[1], sides[2]), halves]
    scored: dict[str, list[Reading]] = {key: [] for key in titles}
    for ours, theirs in pairs:
        scored["ulira"].append(distance_reading(Estimate.point(ulira(ours, theirs).accuracy, LEVEL)))
        enough = min(len(ours), len(theirs)) >= MIN_MODELS
        distances = klom(ours, theirs) if enough else None
        for key, read in (("klom_mean", torch.mean), ("klom_95", lambda v: v.quantile(0.95))):
            if distances is None:
                few = f"needs {MIN_MODELS} + {MIN_MODELS} models; there are {len(ours)} + {len(theirs)}"
                scored[key].append(Reading.missing(few))
            else:
                scored[key].append(distance_reading(Estimate.point(float(read(distances)), LEVEL)))
        models = min(len(ours), len(theirs))
        quality = forgetting_quality(unlearning_epsilon(ours, theirs), models)
        scored["epsilon"].append(distance_reading(Estimate.point(quality, LEVEL)))
    return [Metric(key, titles[key], "all", "ensemble", False, *readings) for key, readings in scored.items()]
