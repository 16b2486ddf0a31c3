"""Records with other labels: where the label of a record is, and data sets in which some have another's label."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from efface.data.nesting import like_sequence
from efface.data.records import Batch, Records
from efface.errors import describe_error
from efface.models.ensembles.hashing import content_hash
from efface.task import Task
from efface.types import SizedDataset

Place = tuple[Any, ...]  # keys that lead to the label: of mappings, of lists and tuples, names of attributes

NO_PLACE = "there is no one item of a record that is its label (of a pair, list, dict or object)"


class Relabelled(Dataset[Any]):
    """A dataset in which some records have another label.

    Args:
        dataset: The records.
        place: Where the label is in each of them.
        labels: The other labels, of the same kind as the dataset's, by position.
    """

    def __init__(self, dataset: SizedDataset, place: Place, labels: Mapping[int, Any]) -> None:
        self._dataset, self._place, self._labels = dataset, place, labels

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return self._changed(index, self._dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Read several records at once, which a DataLoader does where it can."""
        many = getattr(self._dataset, "__getitems__", None)
        samples = [self._dataset[i] for i in indices] if many is None else many(list(indices))
        return [self._changed(index, sample) for index, sample in zip(indices, samples, strict=True)]

    def __getattr__(self, name: str) -> Any:
        # a fit may read other attributes of the user's dataset
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def _changed(self, index: int, sample: Any) -> Any:
        if index not in self._labels:
            return sample
        return replaced(sample, self._place, copy.deepcopy(self._labels[index]))


def relabelled(dataset: SizedDataset, place: Place, labels: Mapping[int, Any]) -> SizedDataset:
    """Give some records of a dataset other labels; a TensorDataset and a Subset stay what they are.

    Args:
        dataset: The records; they do not change.
        place: Where the label is in each of them.
        labels: The other labels, of the same kind as the dataset's, by position.
    """
    if type(dataset) is Subset:
        within = np.asarray(dataset.indices, dtype=np.int64)
        if np.isin(within, within[list(labels)]).sum() == len(labels):  # no chosen record is there twice
            inner = {int(within[at]): label for at, label in labels.items()}
            base = relabelled(cast("SizedDataset", dataset.dataset), place, inner)
            return Subset(cast("Dataset[Any]", base), dataset.indices)
    if type(dataset) is TensorDataset and len(place) == 1:
        tensors = list(dataset.tensors)
        tensors[place[0]] = tensors[place[0]].clone()
        for at, label in labels.items():
            tensors[place[0]][at] = label
        return TensorDataset(*tensors)
    return Relabelled(dataset, place, labels)


def relabel(task: Task, dataset: SizedDataset, donors: Mapping[int, int]) -> SizedDataset | str:
    """Give some records of a dataset the labels of others, so that each keeps its kind: number, tensor, text.

    Where the label is in a record is found by trial: the one item that, taken from another record, makes the task's
    hooks read the other's target and the same inputs.

    Args:
        task: The task, for its hooks.
        dataset: The records.
        donors: Which record's label each of the chosen records gets; its target must be another one.

    Returns:
        The new dataset, which reads as it should, or the reason why there is none.
    """
    try:
        return _relabel(task, dataset, donors)
    except Exception as error:  # of a dataset's or a hook's own code
        return f"records with other labels cannot be read ({describe_error(error)})"


def _relabel(task: Task, dataset: SizedDataset, donors: Mapping[int, int]) -> SizedDataset | str:
    samples = {at: dataset[at] for at in {*donors, *donors.values()}}
    first, other = next(iter(donors.items()))
    innermost = _place(task, samples[first], samples[other])
    # a label of several parts may differ in one of them here and in others elsewhere
    for depth in range(len(innermost), 0, -1):
        place = innermost[:depth]
        if all(_fits(task, samples[at], samples[donor], place) for at, donor in donors.items()):
            changed = relabelled(dataset, place, {at: item(samples[donor], place) for at, donor in donors.items()})
            wanted = Records(dataset, task).targets([*donors.values()]).tolist()
            # once more through the dataset, alone and among others
            if Records(changed, task).targets([*donors, *donors.values()]).tolist()[: len(donors)] == wanted:
                return changed
    return NO_PLACE


def _fits(task: Task, sample: Any, donor: Any, place: Place) -> bool:
    """Whether a record with another's item at some place has the other's target, and its own inputs."""
    label = item(donor, place)
    before, after, other = (_read(task, s) for s in (sample, replaced(sample, place, label), donor))
    # a single number among the inputs that is the target too can only be the label, given to the model
    same = _is_single(label) or content_hash(before.inputs) == content_hash(after.inputs)
    return _target(after) == _target(other) and same


def _place(task: Task, sample: Any, other: Any) -> Place:
    """Where the label is: the innermost item by which the target of one record becomes the other's; () if none is."""
    wanted = _target(_read(task, other))
    place: Place = ()
    while True:
        found = [key for key in _keys(item(sample, place)) if _takes(task, sample, other, (*place, key), wanted)]
        if len(found) != 1:
            return place
        place = (*place, found[0])


def _takes(task: Task, sample: Any, other: Any, place: Place, wanted: int) -> bool:
    """Whether a record has the wanted target once one of its items is the other's."""
    try:
        return _target(_read(task, replaced(sample, place, item(other, place)))) == wanted
    except Exception:  # the other has no such item, or hooks cannot read such a record
        return False


def _read(task: Task, sample: Any) -> Batch:
    """A record as the hooks read it, alone; of a copy, since a collate function may change it."""
    return Records([copy.deepcopy(sample)], task).read([0])


def _target(batch: Batch) -> int:
    """The class of the only record of a batch."""
    return int(batch.targets)


def _is_single(label: Any) -> bool:
    if isinstance(label, Tensor):
        return label.numel() == 1
    return isinstance(label, int | float) or (isinstance(label, np.ndarray | np.generic) and label.size == 1)


def _keys(tree: Any) -> list[Any]:
    """What leads to the items of a record or of a part of it."""
    if isinstance(tree, Mapping):
        return list(tree)
    if isinstance(tree, list | tuple):
        return list(range(len(tree)))
    return [] if isinstance(tree, Tensor | np.ndarray | str) else list(getattr(tree, "__dict__", ()))


def item(tree: Any, place: Place) -> Any:
    """The item at some place of a record."""
    for key in place:
        tree = tree[key] if isinstance(tree, Mapping | list | tuple) else vars(tree)[key]
    return tree


def replaced(tree: Any, place: Place, value: Any) -> Any:
    """A copy of a record with another item at some place; the rest is shared."""
    if not place:
        return value
    inner = replaced(item(tree, place[:1]), place[1:], value)
    if isinstance(tree, tuple):
        return like_sequence(tree, [inner if i == place[0] else one for i, one in enumerate(tree)])
    if (changed := copy.copy(tree)) is tree:  # such as a member of an enumeration
        raise TypeError(f"{type(tree).__name__} cannot be copied")
    if isinstance(changed, Mapping | list):
        changed[place[0]] = inner  # type: ignore[index]
    else:
        vars(changed)[place[0]] = inner
    return changed
