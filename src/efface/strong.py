"""What ensembles show: distances to retrained models record by record, U-LiRA, KLoM and the challenge's epsilon."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor, nn

from efface.attacks.features import penultimate
from efface.attacks.ulira import ulira
from efface.attacks.views import View, copier, view
from efface.data.records import Records
from efface.metrics.distance import common_removed, permutation, remains
from efface.metrics.epsilon import forgetting_quality, unlearning_epsilon
from efface.metrics.klom import FEWEST as FEWEST_KLOM
from efface.metrics.klom import klom
from efface.models import logits_of
from efface.numerics.logits import centre, margin, other_gap, squash
from efface.progress import track
from efface.runtime import Meter, derive_seed
from efface.shadows import Ensembles
from efface.subject import Subject
from efface.types import Estimate, Indices, Metric, Reading
from efface.verdict import EQUIVALENCE, LEVEL, Rung, dull

MARGIN = 0.25  # share of doing nothing's squared distance that counts as gone: half of its distance
UNIT = "share left of doing nothing's excess d2"
MOST_ELSEWHERE = 1000  # records of retain and of test
RAW = "raw margins"  # as published attacks read them, with nothing taken out
ALONE = "the method cannot be run again on other models, so there is no ensemble of unlearned models"


@dataclass(frozen=True)
class Cell:
    """One statistic on one place; `decides` are those on forget records and their neighbours."""

    key: str
    title: str
    place: str
    read: Callable[[View], Tensor | None]
    decides: bool


def _margins(seen: View) -> Tensor:
    return margin(seen.logits, seen.targets)


def _gaps(seen: View) -> Tensor | None:
    return other_gap(seen.logits, seen.targets) if seen.logits.shape[1] > 2 else None


def _perturbed(seen: View) -> Tensor | None:
    return None if seen.copies is None else torch.stack([margin(z, seen.targets) for z in seen.copies]).mean(0)


def _logits(seen: View) -> Tensor:
    return centre(seen.logits.double()).flatten()


CELLS = (
    Cell("margin", "margin", "forget", _margins, True),
    Cell("other_classes", "gap of other classes", "forget", _gaps, True),
    Cell("perturbed", "margin on perturbed copies", "forget", _perturbed, True),
    Cell("logits", "all logits", "forget", _logits, True),
    Cell("neighbours", "nearest test records", "near", _margins, True),
    Cell("retain", "margin on retain", "retain", _margins, False),
    Cell("test", "margin on test", "test", _margins, False),
)


@dataclass(frozen=True)
class Statistics:
    """Each cell's statistic on the symmetric log, (models, records), of the three ensembles; levels taken out."""

    original: Mapping[str, Tensor]
    unlearned: Mapping[str, Tensor]
    retrained: Mapping[str, Tensor]
    paired: bool


def read_ensembles(subject: Subject, made: Ensembles, seed: int, meter: Meter, progress: bool | None) -> Statistics:
    """Score every model of the ensembles on forget, retain and test records.

    A model's level and scale on the audit's strangers, common to all its records and no trace of any, are taken out.
    """
    places = _places(subject, made, meter)
    groups = [made.originals, made.unlearned, made.retrained]
    found = []
    with track("scoring the ensembles", sum(map(len, groups)), progress) as advance:
        for models in groups:
            rows: dict[str, list[Tensor]] = {}
            for model in models:
                for key, value in _read(subject, model, places, seed, meter).items():
                    rows.setdefault(key, []).append(value)
                advance()
            found.append({key: torch.stack(values) for key, values in rows.items()})
    return Statistics(found[0], found[1], found[2], made.remade)


Places = Mapping[str, tuple[Records, Indices]]


def _places(subject: Subject, made: Ensembles, meter: Meter) -> Places:
    request, strangers = subject.request, subject.strangers
    if made.remade:  # of a run that is not known they are the whole holdout, some of which the shadows' method used
        strangers = strangers[np.isin(strangers, subject.splits.audit)]
    half = len(strangers) // 2
    control, spare = strangers, (request.holdout, strangers[half:])
    if request.test is None:
        control = control[:half]
    everywhere = spare if request.test is None else (request.test, np.arange(len(request.test), dtype=np.int64))
    forget = (request.train, request.forget)
    return {
        "forget": forget,
        "control": (request.holdout, control),
        "retain": (request.train, subject.retain[:MOST_ELSEWHERE]),
        "test": (everywhere[0], everywhere[1][:: max(1, len(everywhere[1]) // MOST_ELSEWHERE)]),
        "near": (everywhere[0], _nearest(subject, made.retrained[0], forget, everywhere, meter)),
    }


def _nearest(
    subject: Subject,
    model: nn.Module,
    forget: tuple[Records, Indices],
    others: tuple[Records, Indices],
    meter: Meter,
) -> Indices:
    """The other record most like each forget record, each once, to a model that saw neither (cosine of features)."""
    seen = [_described(subject, model, records, at, meter) for records, at in (forget, others)]
    ours, theirs = (nn.functional.normalize(v.double() - seen[1].double().mean(0), dim=1) for v in seen)
    best = torch.cat([(part @ theirs.T).argmax(1) for part in ours.split(512)])
    chosen: Indices = others[1][np.unique(best.numpy())]
    return chosen


def _described(subject: Subject, model: nn.Module, records: Records, at: Indices, meter: Meter) -> Tensor:
    task = subject.request.task
    features = penultimate(task, model, records, at, meter)
    return logits_of(task, model, records, at, meter) if features is None else features[0]


def _read(subject: Subject, model: nn.Module, places: Places, seed: int, meter: Meter) -> dict[str, Tensor]:
    task = subject.request.task
    perturb = copier(task, subject.request.train)
    views = {}
    for name, (records, at) in places.items():
        copied = perturb if name in ("forget", "control") else None
        views[name] = view(task, model, records, at, derive_seed(seed, name), meter, copied)
    told = {}
    for cell in CELLS:
        values, control = cell.read(views[cell.place]), cell.read(views["control"])
        if values is not None and control is not None:
            told[cell.key] = common_removed(squash(values)[None], squash(control)[None])[0].float()
    return told | {RAW: _margins(views["forget"])}


def rungs_of(seen: Statistics, seed: int) -> list[Rung]:
    """A rung for each deciding cell: the share left, with intervals over models, and max-T permutation p values."""
    deciding = [c for c in CELLS if c.decides and c.key in seen.retrained]
    pairs = {c.key: (seen.unlearned[c.key], seen.retrained[c.key]) for c in deciding}
    ps = permutation(pairs, seed)
    found = []
    for cell in deciding:
        sides = (seen.original[cell.key], seen.unlearned[cell.key], seen.retrained[cell.key])
        wide, narrow = (remains(*sides, level, seen.paired) for level in (LEVEL, EQUIVALENCE))
        whole = wide.original.value
        if not math.isfinite(whole):
            continue
        share, bound = wide.share, narrow.share
        if not wide.informative:
            # a share of what may be nothing means nothing: of the most that doing nothing may be, it does
            whole = wide.original.high if wide.original.high > 0 else 1.0
            share, bound = _scaled(wide.unlearned, whole), _scaled(narrow.unlearned, whole)
        before, control = (_scaled(e, whole) for e in (wide.original, wide.retrained))
        # the error with which a model that never saw the records would be judged
        error = (control.high - control.low) / 2 / float(norm.ppf((1 + LEVEL) / 2))
        nothing = before if wide.informative else Estimate(0.0, 0.0, 0.0, LEVEL)
        told = dull(nothing, error, MARGIN, len(deciding))
        if not told and control.low > 0:
            told = "held-out retrained models fail this test"
        p, adjusted = ps[cell.key]
        found.append(
            Rung(
                key=f"d2_{cell.key}",
                title=f"Excess d2, {cell.title}",
                kind="distance",
                unit=UNIT,
                original=before,
                unlearned=share,
                bound=bound,
                margin=MARGIN,
                p=p,
                retrained=control,
                dull=told,
                adjusted=adjusted,
            )
        )
    return found


def _scaled(e: Estimate, unit: float) -> Estimate:
    return Estimate(e.value / unit, e.low / unit, e.high / unit, e.level)


def metrics_of(seen: Statistics) -> list[Metric]:
    """Rows for every cell, and for the attacks that need ensembles."""
    rows = []
    for cell in CELLS:
        if cell.key in seen.retrained:
            sides = (seen.original[cell.key], seen.unlearned[cell.key], seen.retrained[cell.key])
            r = remains(*sides, LEVEL, seen.paired)
            title = f"Excess d2 of ensembles to retrained, {cell.title}"
            readings = [_reading(e) for e in (r.original, r.unlearned, r.retrained)]
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
    if not seen.paired:
        alone = Reading.missing(ALONE)
        return [Metric(key, title, "all", "ensemble", False, alone, alone, alone) for key, title in titles.items()]
    pairs = [(sides[0], sides[2]), (sides[1], sides[2]), halves]
    scored: dict[str, list[Reading]] = {key: [] for key in titles}
    for ours, theirs in pairs:
        scored["ulira"].append(_reading(_plain(ulira(ours, theirs).accuracy)))
        enough = min(len(ours), len(theirs)) >= FEWEST_KLOM
        distances = klom(ours, theirs) if enough else None
        for key, read in (("klom_mean", torch.mean), ("klom_95", lambda v: v.quantile(0.95))):
            if distances is None:
                few = f"needs {FEWEST_KLOM} + {FEWEST_KLOM} models; there are {len(ours)} + {len(theirs)}"
                scored[key].append(Reading.missing(few))
            else:
                scored[key].append(_reading(_plain(float(read(distances)))))
        models = min(len(ours), len(theirs))
        quality = forgetting_quality(unlearning_epsilon(ours, theirs), models)
        scored["epsilon"].append(_reading(_plain(quality)))
    return [Metric(key, titles[key], "all", "ensemble", False, *readings) for key, readings in scored.items()]


def _plain(value: float) -> Estimate:
    return Estimate(value, math.nan, math.nan, LEVEL)


def _reading(e: Estimate) -> Reading:
    if math.isfinite(e.value):
        return Reading.of(e)
    return Reading.missing("the retrained models say the same of every record, so there is no unit of distance")
