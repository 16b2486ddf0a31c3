"""What models answer to holdout records, and how far a model has moved from the first one of its lineage."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from efface.data.records import Records
from efface.models.running import device_of, forward, mode
from efface.models.weights_content import read_tensors
from efface.runtime.printing import Brief
from efface.runtime.seeds import derive_seed
from efface.store.accuracy import drift_values
from efface.store.errors import DamagedError, StorageError
from efface.task import Task

MAX_RECORDS = 2000  # holdout records that are compared
NO_ANSWER = -1  # where values are NaN


@dataclass(frozen=True, repr=False)
class HoldoutAnswers(Brief):
    """A model's answers to some holdout records.

    Args:
        rows: positions of the records in the holdout, (n,), int64.
        answers: the answer to each as a number, such as the predicted class, (n,), int64; NO_ANSWER where values are
            NaN.
        useful: how good each answer is, (n,), float32; for classes 1 if it is right and 0 otherwise.
        margins: a finer number of each answer, such as how far the logit of a class exceeds the next, (n,), float32.
        labels: SHA-256 of the records' labels, by which records that moved or changed are noticed, (32,), uint8.
    """

    rows: Tensor
    answers: Tensor
    useful: Tensor
    margins: Tensor
    labels: Tensor

    def write(self, path: Path) -> None:
        """Write them to a file in the safetensors format; StorageError if that fails."""
        try:
            save_file({**vars(self), "rows": self.rows.int()}, path)
        except SafetensorError as error:  # the disk is full or fails
            raise StorageError(f"{path}: cannot be written: {error}") from error


def read_answers(path: Path) -> HoldoutAnswers:
    """Read a file that `HoldoutAnswers.write` wrote; DamagedError if it cannot be read."""
    try:
        held = read_tensors(path)
        return HoldoutAnswers(
            held["rows"].long(), held["answers"].long(), held["useful"], held["margins"], held["labels"]
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise DamagedError(f"{path.name}: the holdout answers cannot be read") from error


def answers_of(task: Task, model: nn.Module, rows: Tensor | None = None) -> HoldoutAnswers:
    """Let a model answer holdout records, in one pass.

    Args:
        task: the task whose holdout is read, with its kind.
        model: the model.
        rows: positions of the records; by default at most MAX_RECORDS are drawn, always the same ones.
    """
    holdout, rules = Records(task.holdout, task), task.rules
    if rows is None:
        drawn = np.random.default_rng(derive_seed(0, "drift")).permutation(len(holdout))[:MAX_RECORDS]
        rows = torch.from_numpy(drawn)
    device, answers, useful, margins, labels = device_of(model), [], [], [], []
    with mode(model, training=False), torch.no_grad():
        for batch in holdout.stream(rows.numpy(), task.batch_size):
            values, of_batch = forward(task, model, batch.to(device)).cpu(), rules.labels(batch.targets.cpu())
            answer, margin = rules.answers(values)
            is_none = values.isnan().any(1)
            answers.append(answer.masked_fill(is_none, NO_ANSWER))
            useful.append(rules.useful(values, of_batch).masked_fill(is_none, 0.0).float())
            margins.append(margin.float())
            labels.append(of_batch)
    return HoldoutAnswers(rows, torch.cat(answers), torch.cat(useful), torch.cat(margins), _digest(torch.cat(labels)))


def labels_of(task: Task, rows: Tensor) -> Tensor:
    """The digest of the labels of holdout records, as in HoldoutAnswers; `rows` are their positions."""
    return _digest(Records(task.holdout, task).targets(rows.numpy()))


def fits_holdout(task: Task, rows: Tensor) -> bool:
    """Whether the holdout has records at all of some positions."""
    return not len(rows) or int(rows.max()) < len(task.holdout)


def drift_of(task: Task, now: HoldoutAnswers, first: HoldoutAnswers, forget_classes: Tensor) -> dict[str, Any]:
    """Compare a model's answers with those of the first model of its lineage to the same records.

    Args:
        task: the task whose holdout is read.
        now: the model's answers.
        first: the answers of the first model.
        forget_classes: classes without training records; their holdout records are left out.

    Returns:
        As `drift_values`. If nothing can be compared, only `missing`: the reason.
    """
    labels = Records(task.holdout, task).targets(first.rows.numpy())
    stays = ~task.rules.is_erased(labels, forget_classes.tolist())
    if not bool(stays.any()):
        return {"missing": "the holdout holds no record of the classes that stay"}
    answers = ([*zip(each.answers[stays].tolist(), each.useful[stays].tolist(), strict=True)] for each in (now, first))
    return drift_values(*answers)


def _digest(labels: Tensor) -> Tensor:
    kept = "<f8" if labels.is_floating_point() else "<i8"
    found = hashlib.sha256(np.ascontiguousarray(labels.numpy(), dtype=kept).tobytes()).digest()
    return torch.tensor(list(found), dtype=torch.uint8)
