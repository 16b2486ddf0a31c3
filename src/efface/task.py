"""Task: the description of a user's classification problem."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from efface.types import RecordId, SizedDataset


def unpack_pair(batch: Any) -> tuple[Any, Tensor]:
    """Split a batch that is a pair into inputs and targets."""
    inputs, targets = batch
    return inputs, targets


def call_model(model: nn.Module, inputs: Any) -> Tensor:
    """Call `model(inputs)`; it must return class logits of shape (records, classes)."""
    return model(inputs)  # type: ignore[no-any-return]


def missing_build_model(owner: str = "the task") -> str:
    """The message that `owner` lacks `build_model`, which is needed to make a network."""
    return f"{owner} has no build_model: set Task.build_model, which makes the network to load into"


@dataclass(kw_only=True)
class Task:
    """A classification problem: its records, and hooks for data or models of other kinds than the default.

    By default, data sets are map-style, a record is a pair `(input, target)`, and the model is called as
    `model(inputs)`.

    Args:
        train: All records that the original model was trained on.
        holdout: Records that the original never saw.
        test: Records on which utility is measured; the original never saw them, and they are not in `holdout`.
        ids: A permanent id for each record of `train`, in its order. By default the id of a record is its index.
        groups: The person, or other group, that each record of `train` belongs to, in its order; one key may stand for
            many records. By default each record is a group of its own. Intervals count groups, since records of one
            person resemble each other.
        holdout_groups: The same for `holdout`, with the same keys for the same persons.
        test_groups: The same for `test`.
        describe: Describes a record of `train` in a few words, for people who check a request; called with the record
            as the dataset gives it.
        eval_records: The records of `train`, in its order, without random augmentation. Needed if `train` augments.
        build_model: Makes a new network as it was before training, with its pretrained weights if there were any.
        fit: The training recipe, called as `fit(model, dataset, seed)`. It trains `model` in place and returns None, or
            it returns the trained model.
        unpack: Splits a batch into inputs and targets. Inputs may be any nesting of mappings, lists and tuples of
            tensors whose first dimension is the record.
        forward: Returns logits, (records, classes); called as `forward(model, inputs)`.
        collate: Makes a batch from a list of records.
        perturb: Returns slightly changed copies of inputs for the audit; called as `perturb(inputs, generator)`. By
            default noise is added to floating-point inputs.
        batch_size: Number of records in a forward pass when a model is only evaluated. Lower it if memory is short.
        fine_tuned: Whether the original started from pretrained weights. Untrained networks then need `build_model`.
        holdout_used_for: What else the holdout was used for, such as "early stopping"; the report states it.
    """

    train: SizedDataset
    holdout: SizedDataset
    test: SizedDataset | None = None
    ids: Sequence[RecordId] | None = None
    groups: Sequence[RecordId] | None = None
    holdout_groups: Sequence[RecordId] | None = None
    test_groups: Sequence[RecordId] | None = None
    describe: Callable[[Any], str] | None = None
    eval_records: SizedDataset | None = None
    build_model: Callable[[], nn.Module] | None = None
    fit: Callable[[nn.Module, Dataset[Any], int], nn.Module | None] | None = None
    unpack: Callable[[Any], tuple[Any, Tensor]] = unpack_pair
    forward: Callable[[nn.Module, Any], Tensor] = call_model
    collate: Callable[[list[Any]], Any] = default_collate
    perturb: Callable[[Any, torch.Generator], Any] | None = None
    batch_size: int = 1024
    fine_tuned: bool = False
    holdout_used_for: str = "nothing"
