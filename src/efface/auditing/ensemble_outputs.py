"""What every model of a strong audit says of forget records, their neighbours, retain and test records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from efface.attacks import Score
from efface.attacks.label_margin import label_margin
from efface.attacks.other_classes import other_classes
from efface.attacks.outputs import RecordOutputs, copier, view
from efface.attacks.perturbed_margin import perturbed_margin
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
from efface.task import Task
from efface.types import Indices

MAX_ELSEWHERE = 1000  # records of retain and of test
COPIED = ("forget", "control")  # places of which slightly changed copies are read too
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
    Cell("margin", "margin", "forget", label_margin, True),
    Cell("other_classes", "other classes", "forget", other_classes, True),
    Cell("perturbed", "perturbed copies", "forget", perturbed_margin, True),
    Cell("logits", "all logits", "forget", _logits, True),
    Cell("neighbours", "nearest test records", "near", label_margin, True),
    Cell("retain", "margin on retain", "retain", label_margin, False),
    Cell("test", "margin on test", "test", label_margin, False),
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
    places = _places(subject, made, seed, meter)
    groups = [[subject.original], [subject.unlearned], made.retrained]
    groups += [made.originals, made.unlearned] if made.remade else []
    found: list[Mapping[str, Tensor]] = []
    with track("scoring the ensembles", sum(map(len, groups)), progress) as advance:
        for models in groups:
            rows: dict[str, list[Tensor]] = {}
            for model in models:
                for key, value in _read(subject, model, places, meter).items():
                    rows.setdefault(key, []).append(value)
                advance()
            found.append({key: torch.stack(values) for key, values in rows.items()})
    own = found[0], found[1]
    original, unlearned = (found[3], found[4]) if made.remade else own
    return Statistics(original, unlearned, found[2], own, made.remade)


@dataclass(frozen=True)
class Place:
    """Records at positions; `copied`: their slightly changed copies are read too, drawn by `seed`."""

    records: Records
    at: Indices
    seed: int
    copied: bool = False


Places = Mapping[str, Place]


def read_views(task: Task, model: nn.Module, places: Places, meter: Meter) -> dict[str, RecordOutputs]:
    """One model's logits on each place, those of copies made as for records of the place `forget`.

    Raises:
        DivergedError: a logit is NaN or infinite.
    """
    perturb = copier(task, places["forget"].records)
    views = {}
    for name, p in places.items():
        views[name] = view(task, model, p.records, p.at, p.seed, meter, perturb if p.copied else None)
        if not views[name].logits.isfinite().all():
            raise DivergedError("the logits of a model hold NaN or infinite values, so nothing can be compared")
    return views


def standardised(views: Mapping[str, RecordOutputs]) -> dict[str, Tensor]:
    """Each cell's statistic on the symmetric log, without the model's level and scale on the place `control`.

    Cells whose place was not read, or whose statistic the records do not have, are left out. NaN for a model that says
    the same of every control record.
    """
    found = {}
    for cell in CELLS:
        values = cell.read(views[cell.place], ()) if cell.place in views else None
        control = cell.read(views["control"], ())
        if values is not None and control is not None:
            found[cell.key] = standardise_by_nonmembers(symlog(values)[None], symlog(control)[None])[0]
    return found


def nearest(task: Task, model: nn.Module, forget: Place, others: Place, meter: Meter) -> Indices:
    """The other record most like each forget record, each once, to a model that saw neither (cosine of features)."""
    seen = [_described(task, model, place, meter) for place in (forget, others)]
    ours, theirs = (nn.functional.normalize(v.double() - seen[1].double().mean(0), dim=1) for v in seen)
    best = torch.cat([(part @ theirs.T).argmax(1) for part in ours.split(512)])
    chosen: Indices = others.at[np.unique(best.numpy())]
    return chosen


def _places(subject: AuditInputs, made: Ensembles, seed: int, meter: Meter) -> Places:
    request, nonmembers = subject.request, subject.nonmembers
    if made.remade:  # of a run that is not known they are the whole holdout, some of which the shadows' method used
        nonmembers = nonmembers[np.isin(nonmembers, subject.splits.audit)]
    half = len(nonmembers) // 2
    control, spare = nonmembers, (request.holdout, nonmembers[half:])
    if request.test is None:
        control = control[:half]
    elsewhere, at = spare if request.test is None else (request.test, np.arange(len(request.test), dtype=np.int64))

    def place(name: str, records: Records, positions: Indices) -> Place:
        return Place(records, positions, derive_seed(seed, name), name in COPIED)

    forget = place("forget", request.train, request.forget)
    others = place("others", elsewhere, at)
    return {
        "forget": forget,
        "control": place("control", request.holdout, control),
        "retain": place("retain", request.train, subject.retain[:MAX_ELSEWHERE]),
        "test": place("test", elsewhere, at[:: max(1, len(at) // MAX_ELSEWHERE)]),
        "near": place("near", elsewhere, nearest(request.task, made.retrained[0], forget, others, meter)),
    }


def _described(task: Task, model: nn.Module, place: Place, meter: Meter) -> Tensor:
    features = penultimate(task, model, place.records, place.at, meter)
    return logits_of(task, model, place.records, place.at, meter) if features is None else features[0]


def _read(subject: AuditInputs, model: nn.Module, places: Places, meter: Meter) -> dict[str, Tensor]:
    views = read_views(subject.request.task, model, places, meter)
    # a model that says the same of every record has a statistic all the same
    found = {key: v.float().nan_to_num(0.0, 0.0, 0.0) for key, v in standardised(views).items()}
    return found | {RAW: label_margin(views["forget"], ())}
