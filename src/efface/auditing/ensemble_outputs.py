"""What every model of a strong audit says of forget records, their neighbours, retain and test records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from efface.attacks import Score
from efface.attacks.outputs import RecordOutputs, copier, view
from efface.attacks.statistics import other_classes, perturbed_margin, plain_margin
from efface.auditing.inputs import AuditInputs
from efface.auditing.shadow_models import Ensembles
from efface.data.records import Records
from efface.errors import DivergedError
from efface.metrics.distance import standardise_by_nonmembers
from efface.models.features import penultimate
from efface.models.running import logits_of
from efface.numerics.logits import centre, symlog
from efface.runtime.cost import Meter
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed
from efface.types import Indices

MAX_ELSEWHERE = 1000  # records of retain and of test
RAW = "raw margins"  # as published attacks read them, with nothing taken out


@dataclass(frozen=True)
class Cell:
    """One statistic on one place; `decides` are those on forget records and their neighbours."""

    key: str
    title: str
    place: str
    read: Score
    decides: bool


def _logits(seen: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    return centre(seen.logits.double()).flatten()


CELLS = (
    Cell("margin", "margin", "forget", plain_margin, True),
    Cell("other_classes", "other classes", "forget", other_classes, True),
    Cell("perturbed", "perturbed copies", "forget", perturbed_margin, True),
    Cell("logits", "all logits", "forget", _logits, True),
    Cell("neighbours", "nearest test records", "near", plain_margin, True),
    Cell("retain", "margin on retain", "retain", plain_margin, False),
    Cell("test", "margin on test", "test", plain_margin, False),
)


@dataclass(frozen=True)
class Statistics:
    """Each cell's statistic on the symmetric log, (models, records), of the three ensembles; levels taken out.

    `own` is that of the original and the unlearned model that are judged, (1, records) each. With `remade` false they
    are all that there is of original and unlearned models.
    """

    original: Mapping[str, Tensor]
    unlearned: Mapping[str, Tensor]
    retrained: Mapping[str, Tensor]
    own: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
    remade: bool


def read_ensembles(subject: AuditInputs, made: Ensembles, seed: int, meter: Meter, progress: bool | None) -> Statistics:
    """Score every model of the ensembles on forget, retain and test records.

    A model's level and scale on the audit's nonmembers, common to all its records and no trace of any, are taken out.
    """
    places = _places(subject, made, meter)
    groups = [[subject.original], [subject.unlearned], made.retrained]
    groups += [made.originals, made.unlearned] if made.remade else []
    found: list[Mapping[str, Tensor]] = []
    with track("scoring the ensembles", sum(map(len, groups)), progress) as advance:
        for models in groups:
            rows: dict[str, list[Tensor]] = {}
            for model in models:
                for key, value in _read(subject, model, places, seed, meter).items():
                    rows.setdefault(key, []).append(value)
                advance()
            found.append({key: torch.stack(values) for key, values in rows.items()})
    own = found[0], found[1]
    original, unlearned = (found[3], found[4]) if made.remade else own
    return Statistics(original, unlearned, found[2], own, made.remade)


Places = Mapping[str, tuple[Records, Indices]]


def _places(subject: AuditInputs, made: Ensembles, meter: Meter) -> Places:
    request, nonmembers = subject.request, subject.nonmembers
    if made.remade:  # of a run that is not known they are the whole holdout, some of which the shadows' method used
        nonmembers = nonmembers[np.isin(nonmembers, subject.splits.audit)]
    half = len(nonmembers) // 2
    control, spare = nonmembers, (request.holdout, nonmembers[half:])
    if request.test is None:
        control = control[:half]
    everywhere = spare if request.test is None else (request.test, np.arange(len(request.test), dtype=np.int64))
    forget = (request.train, request.forget)
    return {
        "forget": forget,
        "control": (request.holdout, control),
        "retain": (request.train, subject.retain[:MAX_ELSEWHERE]),
        "test": (everywhere[0], everywhere[1][:: max(1, len(everywhere[1]) // MAX_ELSEWHERE)]),
        "near": (everywhere[0], _nearest(subject, made.retrained[0], forget, everywhere, meter)),
    }


def _nearest(
    subject: AuditInputs,
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


def _described(subject: AuditInputs, model: nn.Module, records: Records, at: Indices, meter: Meter) -> Tensor:
    task = subject.request.task
    features = penultimate(task, model, records, at, meter)
    return logits_of(task, model, records, at, meter) if features is None else features[0]


def _read(subject: AuditInputs, model: nn.Module, places: Places, seed: int, meter: Meter) -> dict[str, Tensor]:
    task = subject.request.task
    perturb = copier(task, subject.request.train)
    views = {}
    for name, (records, at) in places.items():
        copied = perturb if name in ("forget", "control") else None
        views[name] = view(task, model, records, at, derive_seed(seed, name), meter, copied)
        if not views[name].logits.isfinite().all():
            raise DivergedError("the logits of a model hold NaN or infinite values, so nothing can be compared")
    told = {}
    for cell in CELLS:
        values, control = cell.read(views[cell.place], ()), cell.read(views["control"], ())
        if values is not None and control is not None:
            level = standardise_by_nonmembers(symlog(values)[None], symlog(control)[None])[0].float()
            told[cell.key] = level.nan_to_num(0.0, 0.0, 0.0)  # of a model that says the same of every record
    return told | {RAW: plain_margin(views["forget"], ())}
