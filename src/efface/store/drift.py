"""How far a model has moved from the first one of its lineage, on records that neither was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from efface.data.records import Records
from efface.models.running import logits_of
from efface.models.weights_content import read_tensors
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.store.errors import DamagedError, StorageError
from efface.task import Task

MAX_RECORDS = 2000  # holdout records that are compared


def write_answers(task: Task, model: nn.Module, path: Path) -> None:
    """Write a model's predicted classes for at most MAX_RECORDS holdout records, with the records' positions.

    Args:
        task: the task whose holdout is read.
        model: the first model of a lineage.
        path: the file to write, in the safetensors format.

    Raises:
        StorageError: the file cannot be written.
    """
    holdout = Records(task.holdout, task)
    rows = np.random.default_rng(derive_seed(0, "drift")).permutation(len(holdout))[:MAX_RECORDS]
    answers = logits_of(task, model, holdout, rows, Meter()).argmax(1)
    try:
        save_file({"rows": torch.from_numpy(rows), "answers": answers}, path)
    except SafetensorError as error:  # the disk is full or fails
        raise StorageError(f"{path}: cannot be written: {error}") from error


def drift_of(task: Task, model: nn.Module, baseline: Path, forget_classes: Tensor) -> dict[str, Any]:
    """Compare a model's predictions on holdout records with those of the first model of its lineage.

    Args:
        task: the task whose holdout is read.
        model: the model.
        baseline: the file that `write_answers` wrote for the first model.
        forget_classes: classes without training records; their holdout records are left out.

    Returns:
        `changed`: share of predictions that differ, from 0 to 1. `accuracy`: change of accuracy, from -1 to 1, negative
        where it fell. `records`: how many records were compared. If nothing can be compared, only `missing`: the
        reason.

    Raises:
        DamagedError: the file cannot be read.
    """
    try:
        held = read_tensors(baseline)
        rows, before = held["rows"].numpy(), held["answers"]
    except (OSError, SafetensorError, KeyError) as error:
        raise DamagedError(f"{baseline.name}: the holdout answers cannot be read") from error
    holdout = Records(task.holdout, task)
    if len(rows) and rows.max() >= len(holdout):
        return {"missing": "the holdout is shorter than at the beginning of the lineage: give the same records"}
    targets = holdout.targets(rows)
    stays = ~torch.isin(targets, forget_classes)
    if not bool(stays.any()):
        return {"missing": "the holdout holds no record of the classes that stay"}
    answers = logits_of(task, model, holdout, rows, Meter()).argmax(1)
    right = [(given == targets)[stays].double().mean().item() for given in (answers, before)]
    return {
        "changed": (answers != before)[stays].double().mean().item(),
        "accuracy": right[0] - right[1],
        "records": int(stays.sum()),
    }
