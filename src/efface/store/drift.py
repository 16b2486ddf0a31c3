"""How far a model has moved from the first one of its lineage, on records that neither was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from efface.data.records import Records
from efface.models.running import logits_of
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.store.errors import DamagedError, StorageError
from efface.task import Task

MAX_RECORDS = 2000  # holdout records that are compared


def write_answers(task: Task, model: nn.Module, path: Path) -> None:
    """Write the classes that a model gives to at most MAX_RECORDS holdout records, and the records' positions.

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
    """How far a model has moved from the first one of its lineage.

    Args:
        baseline: what `write_answers` wrote of the first model.
        forget_classes: classes of which no training record is left; their holdout records do not count.

    Returns:
        `changed`: share of holdout answers that differ, from 0 to 1. `accuracy`: by how much holdout accuracy changed,
        negative where it fell. `records`: how many were compared. Or `missing`: why nothing can be compared.

    Raises:
        DamagedError: the answers of the first model cannot be read.
    """
    try:
        held = load_file(baseline)
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
