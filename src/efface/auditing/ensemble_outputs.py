"""Outputs of every model of a strong audit on forget records, their neighbours, retain and test records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from efface.attacks import Score
from efface.attacks.label_margin import label_margin
from efface.attacks.other_classes import other_classes
from efface.attacks.outputs import RecordOutputs, RecordSet, copier, read_outputs
from efface.attacks.perturbed_margin import perturbed_margin
from efface.auditing.inputs import AuditInputs
from efface.auditing.shadow_models import Ensembles
from efface.errors import DivergedError
from efface.kinds import CLASSES, Kind
from efface.metrics.distance import standardise_by_nonmembers
from efface.models.features import describe, nearest_rows
from efface.numerics.logits import symlog
from efface.runtime.cost import Meter
from efface.runtime.printing import Brief
from efface.runtime.progress import track
from efface.runtime.seeds import derive_seed
from efface.task import Task
from efface.types import Indices

MAX_ELSEWHERE = 1000  # limit of retain and of test records
COPIED = ("forget", "control")  # places whose records are also read as slightly changed copies
RAW = "raw margins"  # as published attacks read them, not standardised


@dataclass(frozen=True, repr=False)
class Cell(Brief):
    """One statistic on the records of one place.

    Args:
        key: Short name, unique among the cells.
        title: Name for people; `{other}` and `{values}` stand for what a kind of outputs calls these.
        place: Name of the place, as in `ensemble_places`.
        read: The statistic, as a score of a model's outputs.
        decides: Whether a test is made from it; so for forget records and their neighbours.
    """

    key: str
    title: str
    place: str
    read: Score
    decides: bool

    def title_for(self, rules: Kind) -> str:
        """The title for a kind of outputs."""
        return self.title.format(other=rules.words.other_short, values=rules.words.values)


def _logits(outputs: RecordOutputs, references: Sequence[RecordOutputs]) -> Tensor:
    # what a mask hides is no statistic, and NaN counts as no difference between models
    return outputs.rules.comparable(outputs.logits.double(), outputs.targets).flatten()


CELLS = (
    Cell("margin", "margin", "forget", label_margin, True),
    Cell("other_classes", "{other}", "forget", other_classes, True),
    Cell("perturbed", "perturbed copies", "forget", perturbed_margin, True),
    Cell("logits", "{values}", "forget", _logits, True),
    Cell("neighbours", "nearest test records", "near", label_margin, True),
    Cell("retain", "margin on retain", "retain", label_margin, False),
    Cell("test", "margin on test", "test", label_margin, False),
)


@dataclass(frozen=True, repr=False)
class Statistics(Brief):
    """Each cell's statistic, on the symmetric log and standardised by each model's nonmembers, (models, records).

    Args:
        original: Statistics of the ensemble of originals, by the key of the cell.
        unlearned: Statistics of the same models after unlearning.
        retrained: Statistics of models trained without the forget set.
        own: Statistics of the original and the unlearned model that are judged, (1, records) each.
        of_method: Whether there are ensembles of originals and unlearned models. If not, `original` and `unlearned`
            are those in `own`.
        rules: The kind of the task.
    """

    original: Mapping[str, Tensor]
    unlearned: Mapping[str, Tensor]
    retrained: Mapping[str, Tensor]
    own: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
    of_method: bool
    rules: Kind = CLASSES


def read_ensembles(inputs: AuditInputs, ensembles: Ensembles, meter: Meter) -> Statistics:
    """Read every model of the ensembles on forget, retain and test records.

    Values are standardised by the model's level and scale on the audit's nonmembers, which are common to all records
    and so no trace of any of them.

    Args:
        inputs: The checked audit.
        ensembles: The models.
        meter: Charged with what is read.
    """
    places = ensemble_places(inputs, ensembles, meter)
    groups = [[inputs.original], [inputs.unlearned], ensembles.retrained]
    groups += [ensembles.originals, ensembles.unlearned] if ensembles.of_method else []
    found: list[Mapping[str, Tensor]] = []
    with track("scoring the ensembles", sum(map(len, groups)), inputs.options.progress) as advance:
        for models in groups:
            rows: dict[str, list[Tensor]] = {}
            for model in models:
                for key, value in _read(inputs, model, places, meter).items():
                    rows.setdefault(key, []).append(value)
                advance()
            found.append({key: torch.stack(values) for key, values in rows.items()})
    own = found[0], found[1]
    original, unlearned = (found[3], found[4]) if ensembles.of_method else own
    return Statistics(original, unlearned, found[2], own, ensembles.of_method, inputs.request.task.rules)


Places = Mapping[str, RecordSet]


def read_places(task: Task, model: nn.Module, places: Places, meter: Meter) -> dict[str, RecordOutputs]:
    """Read a model's outputs on the records of each place; copies are made as for records of the place `forget`.

    Args:
        task: The problem.
        model: The model.
        places: The records, by name of the place; `forget` is among them.
        meter: Charged with what is read.

    Raises:
        DivergedError: A logit is NaN or infinite.
    """
    perturb = copier(task, places["forget"].records)
    outputs = {}
    for name, place in places.items():
        outputs[name] = read_outputs(task, model, place, meter, perturb if name in COPIED else None)
        if not outputs[name].logits.isfinite().all():
            raise DivergedError("the logits of a model hold NaN or infinite values, so nothing can be compared")
    return outputs


def standardised(outputs: Mapping[str, RecordOutputs]) -> dict[str, Tensor]:
    """Each cell's statistic on the symmetric log, standardised by level and scale on the place `control`, (records,).

    Cells whose place was not read or whose statistic cannot be had are left out. Values are NaN if the model has the
    same output for every control record.
    """
    found = {}
    for cell in CELLS:
        values = cell.read(outputs[cell.place], ()) if cell.place in outputs else None
        control = cell.read(outputs["control"], ())
        if values is not None and control is not None:
            control = control[~control.isnan()]  # what a mask hides
            found[cell.key] = standardise_by_nonmembers(symlog(values)[None], symlog(control)[None])[0]
    return found


def nearest(task: Task, model: nn.Module, forget: RecordSet, others: RecordSet, meter: Meter) -> Indices:
    """Positions of the other records that are nearest to forget records, each once, by the cosine of features.

    Args:
        task: The problem.
        model: A model that saw neither kind of records; its logits replace features that cannot be read.
        forget: The forget records.
        others: The records to choose from.
        meter: Charged with what is read.

    Returns:
        Sorted positions in the dataset of `others`; at most one for each forget record.
    """
    of_forget, of_others = describe(task, model, [(p.records, p.positions) for p in (forget, others)], meter)
    chosen: Indices = others.positions[nearest_rows(of_forget, of_others)]
    return chosen


def ensemble_places(inputs: AuditInputs, ensembles: Ensembles, meter: Meter) -> Places:
    """The records that every model is read on, by name of the place.

    Args:
        inputs: The checked audit.
        ensembles: The models; the first retrained one finds the neighbours of forget records.
        meter: Charged with what is read.

    Returns:
        `forget`; `control`, the nonmembers that values are standardised by; `retain`; `test`; and `near`, the nearest
        test records. Without test records, half of the nonmembers serve as such.
    """
    request, nonmembers = inputs.request, inputs.nonmembers
    if ensembles.of_method:  # if the run is not known, nonmembers are the whole holdout, of which shadows used a part
        nonmembers = nonmembers[np.isin(nonmembers, inputs.splits.audit)]
    half = len(nonmembers) // 2
    control, spare = nonmembers, RecordSet(request.holdout, nonmembers[half:])
    if request.test is None:
        control = control[:half]
    elsewhere = spare if request.test is None else RecordSet(request.test, np.arange(len(request.test), dtype=np.int64))
    forget = RecordSet(request.train, request.forget)
    places = {
        "forget": forget,
        "control": RecordSet(request.holdout, control),
        "retain": RecordSet(request.train, inputs.retain[:MAX_ELSEWHERE]),
        "test": replace(elsewhere, positions=elsewhere.positions[:: max(1, len(elsewhere.positions) // MAX_ELSEWHERE)]),
        "near": replace(elsewhere, positions=nearest(request.task, ensembles.retrained[0], forget, elsewhere, meter)),
    }
    return {name: replace(place, seed=derive_seed(inputs.seed, name)) for name, place in places.items()}


def _read(inputs: AuditInputs, model: nn.Module, places: Places, meter: Meter) -> dict[str, Tensor]:
    outputs = read_places(inputs.request.task, model, places, meter)
    # zeros for a model that has the same output for every record
    found = {key: v.float().nan_to_num(0.0, 0.0, 0.0) for key, v in standardised(outputs).items()}
    return found | {RAW: label_margin(outputs["forget"], ())}
