"""Rows of a strong audit: distances for every cell, and the attacks that need ensembles."""

from collections.abc import Callable

import torch
from torch import Tensor

from efface.attacks.ulira import ulira
from efface.auditing.audit_test import CONFIDENCE
from efface.auditing.ensemble_outputs import CELLS, RAW, Statistics
from efface.auditing.readings import Metric, Reading, bare, distance_reading, row_of_one_reading
from efface.metrics.distance import residual_distance
from efface.metrics.epsilon import forgetting_quality, unlearning_epsilon
from efface.metrics.klom import MIN_KLOM_MODELS, klom

NO_ENSEMBLE = "the method cannot be run again on other models, so there is no ensemble of unlearned models"
TITLES = {
    "ulira": "U-LiRA, balanced accuracy (0.5: no better than guessing)",
    "klom_mean": "KLoM, mean over forget records (nats)",
    "klom_95": "KLoM, 95th percentile over forget records (nats)",
    "epsilon": "Forgetting quality of the NeurIPS 2023 challenge (1: best)",
}
KLOM: dict[str, Callable[[Tensor], Tensor]] = {"klom_mean": torch.mean, "klom_95": lambda v: v.quantile(0.95)}


def ensemble_rows(statistics: Statistics) -> list[Metric]:
    """Rows for every cell, and for the attacks that need ensembles."""
    rows = []
    for cell in CELLS:
        if cell.key in statistics.retrained:
            sides = (statistics.original[cell.key], statistics.unlearned[cell.key], statistics.retrained[cell.key])
            left = residual_distance(*sides, CONFIDENCE, statistics.of_method)
            title = f"Excess d2 of ensembles to retrained, {cell.title_for(statistics.rules)}"
            readings = [distance_reading(e) for e in (left.original, left.unlearned, left.retrained)]
            rows.append(Metric(f"ensemble_d2_{cell.key}", title, "all", "ensemble", cell.decides, *readings))
    return [*rows, *_ensemble_attacks(statistics)]


def _ensemble_attacks(statistics: Statistics) -> list[Metric]:
    """Originals and unlearned models against retrained ones, and one half of the retrained against the other."""
    if not statistics.of_method:
        missing = Reading.missing(NO_ENSEMBLE)
        return [row_of_one_reading(key, title, "ensemble", missing) for key, title in TITLES.items()]
    original, unlearned, retrained = (s[RAW] for s in (statistics.original, statistics.unlearned, statistics.retrained))
    pairs = [(original, retrained), (unlearned, retrained), (retrained[::2], retrained[1::2])]
    by_pair = [_attack_readings(*pair) for pair in pairs]
    return [Metric(key, title, "all", "ensemble", False, *(r[key] for r in by_pair)) for key, title in TITLES.items()]


def _attack_readings(models: Tensor, retrained: Tensor) -> dict[str, Reading]:
    """Readings of one ensemble's margins (k, n) against those of retrained models (r, n)."""
    count = min(len(models), len(retrained))
    quality = forgetting_quality(unlearning_epsilon(models, retrained), count)
    found = {
        "ulira": distance_reading(bare(ulira(models, retrained).accuracy)),
        "epsilon": distance_reading(bare(quality)),
    }
    if count < MIN_KLOM_MODELS:
        too_few = f"needs {MIN_KLOM_MODELS} + {MIN_KLOM_MODELS} models; there are {len(models)} + {len(retrained)}"
        return found | dict.fromkeys(KLOM, Reading.missing(too_few))
    distances = klom(models, retrained)
    return found | {key: distance_reading(bare(float(read(distances)))) for key, read in KLOM.items()}
