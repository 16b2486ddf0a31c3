"""Whether the version in service still answers as when it was made, through the task of today."""

import torch
from torch import nn

from efface.errors import EffaceError, describe_error
from efface.store.context import StoreContext
from efface.store.drift import HoldoutAnswers, answers_of, fits_holdout, labels_of, read_answers
from efface.store.entries import Version
from efface.store.history import answers_title, baseline_title
from efface.task import Task

# what may differ, since another processor or precision rounds otherwise: a few answers, and each margin a little
MIN_OTHERWISE = 2
SHARE_OTHERWISE = 0.01
MARGIN_OTHERWISE = 0.05
GO_ON = "or go on all the same: RunPlan(accept='any') (efface run --accept any)"
HOLDOUT_CHANGED = (
    "the holdout does not hold the records of the time when {version} was made, in the same order ({sign}), so the "
    "accuracy that a new model loses cannot be measured: put these records back as they were, or begin anew on this "
    "holdout: efface run --retrain --accept any (RunPlan(retrain=True, accept='any'))"
)

SHORTER, OTHER_LABELS = "it is shorter now", "other labels at its places"


def check_in_service(context: StoreContext, task: Task, version: Version, model: nn.Module) -> list[str]:
    """Check that a version answers the holdout records that drift is measured on as when it was made.

    Args:
        context: the open store.
        task: the task as the user gave it.
        version: the version in service.
        model: its weights in a network that the task made.

    Returns:
        What is wrong, one line each; empty if nothing is.
    """
    before = read_answers(context.folder.checked("baselines", version.answers, answers_title(version)))
    first = read_answers(context.folder.checked("baselines", version.baseline, baseline_title(version)))
    if not fits_holdout(task, before.rows):
        return [HOLDOUT_CHANGED.format(version=version.title, sign=SHORTER)]
    is_same = torch.equal(first.rows, before.rows) and torch.equal(first.labels, before.labels)
    if not is_same and (wrong := check_holdout_stays(context, task, version)):
        return wrong
    try:
        now = answers_of(task, model, before.rows)
    except EffaceError:
        raise
    except Exception as error:  # a user's model and hooks may raise anything
        return [
            f"{version.title} cannot read the holdout records through the task of today ({describe_error(error)}): "
            "mend Task.build_model, Task.forward, Task.unpack or Task.collate"
        ]
    if not torch.equal(now.labels, before.labels):
        return [HOLDOUT_CHANGED.format(version=version.title, sign=OTHER_LABELS)]
    records = len(before.rows)
    if len(now.answers) != records:
        return [
            f"the model returns {len(now.answers)} rows of outputs for {records} holdout records: mend Task.forward"
        ]
    otherwise, allowed = _otherwise(now, before), max(MIN_OTHERWISE, int(SHARE_OTHERWISE * records))
    if otherwise <= allowed:
        return []
    return [
        f"{version.title} gives {otherwise:,} of {records:,} holdout records another answer, or the same with another "
        f"margin, than when it was made (up to {allowed} may differ by rounding), though its weights are the same. "
        "Likely Task.build_model makes another network now, Task.forward, Task.collate or a transform was changed, "
        "another version of a decoder or tokenizer reads the records, or the holdout holds other records: put back "
        "what was changed, or begin anew with it: efface run --retrain (RunPlan(retrain=True))"
    ]


def _otherwise(now: HoldoutAnswers, before: HoldoutAnswers) -> int:
    """How many records are answered otherwise, or with another margin."""
    usual = before.margins.nanmedian()
    moved = (now.margins - before.margins).abs() > MARGIN_OTHERWISE * (before.margins.abs() + usual)
    return int(((now.answers != before.answers) | moved).sum())


def check_holdout_stays(context: StoreContext, task: Task, version: Version) -> list[str]:
    """Check that the holdout still has the records, by their labels, that drift is measured on.

    Args:
        context: the open store.
        task: the task as the user gave it.
        version: the version in service.

    Returns:
        What is wrong, one line each; empty if nothing is.
    """
    first = read_answers(context.folder.checked("baselines", version.baseline, baseline_title(version)))
    if not fits_holdout(task, first.rows):
        return [HOLDOUT_CHANGED.format(version=version.title, sign=SHORTER)]
    if not torch.equal(labels_of(task, first.rows), first.labels):
        return [HOLDOUT_CHANGED.format(version=version.title, sign=OTHER_LABELS)]
    return []
