"""Task: all that a user writes about their own problem."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from efface.types import RecordId


def unpack_pair(batch: Any) -> tuple[Any, Tensor]:
    """Take a batch that is a pair `(inputs, targets)` apart."""
    inputs, targets = batch
    return inputs, targets


def call_model(model: nn.Module, inputs: Any) -> Tensor:
    """Call `model(inputs)`; it must return class logits of shape (records, classes)."""
    return model(inputs)  # type: ignore[no-any-return]


@dataclass(kw_only=True)
class Task:
    """What efface must know of a classification problem: its records and, where they differ, the hooks below.

    Datasets are map-style and yield `(input, target)`; `train` holds every record that the original model was
    trained on, `holdout` records that it never saw, `test` records for utility (also never seen, not in `holdout`).

    ids: one stable id a training record, in the order of `train`; by default a record's index.
    eval_records: the records of `train`, same order, read without random augmentation; needed where `train` augments.
    build_model: makes a new network, as it was before training (with its pretrained weights if there were any).
    fit: the training recipe `fit(model, dataset, seed)`; it trains in place and returns None, or the trained model.
    unpack, forward, collate: for batches that are not a pair, or a call that is not `model(inputs)`. `inputs` may be
        any nesting of mappings, lists and tuples of tensors whose first dimension is the record.
    batch_size: records in one forward pass when models are only read; lower it where memory is short.
    perturb: `perturb(inputs, generator)` gives slightly changed copies for the audit; by default noise on floats.
    fine_tuned: the original started from pretrained weights, so a fresh start needs `build_model`.
    holdout_used_for: what else the holdout served for ("nothing", "early stopping", ...); printed in the report.
    """

    train: Dataset[Any]
    holdout: Dataset[Any]
    test: Dataset[Any] | None = None
    ids: Sequence[RecordId] | None = None
    eval_records: Dataset[Any] | None = None
    build_model: Callable[[], nn.Module] | None = None
    fit: Callable[[nn.Module, Dataset[Any], int], nn.Module | None] | None = None
    unpack: Callable[[Any], tuple[Any, Tensor]] = unpack_pair
    forward: Callable[[nn.Module, Any], Tensor] = call_model
    collate: Callable[[list[Any]], Any] = default_collate
    perturb: Callable[[Any, torch.Generator], Any] | None = None
    batch_size: int = 1024
    fine_tuned: bool = False
    holdout_used_for: str = "nothing"
