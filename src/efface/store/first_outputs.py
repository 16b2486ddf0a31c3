"""What the first model of a lineage said of some training records: kept under tags, and fewer with each version."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from efface.calibration.first_outputs import FirstOutputs, first_outputs
from efface.models.weights_content import read_tensors
from efface.runtime.printing import Brief, how_many
from efface.store.batch import DeletionBatch
from efface.store.context import StoreContext
from efface.store.errors import DamagedError, StorageError
from efface.store.files import Folder
from efface.store.history import FIRST_OUTPUTS, History
from efface.store.intake import compare
from efface.store.keys import Key
from efface.store.task_view import ids_of, subset_task
from efface.task import Task
from efface.types import RecordId


@dataclass(frozen=True, repr=False)
class TaggedOutputs(Brief):
    """What a model said of some training records.

    Args:
        tags: the tags of the records' ids, each once.
        values: what it said of each, (n, k), floating.
    """

    tags: tuple[bytes, ...]
    values: Tensor

    def write(self, path: Path) -> None:
        """Write them to a file in the safetensors format; StorageError if that fails."""
        tags = torch.from_numpy(np.frombuffer(b"".join(self.tags), dtype=np.uint8).reshape(len(self.tags), -1).copy())
        try:
            save_file({"tags": tags, "values": self.values.contiguous()}, path)
        except SafetensorError as error:  # the disk is full or fails
            raise StorageError(f"{path}: cannot be written: {error}") from error


def read_outputs(path: Path) -> TaggedOutputs:
    """Read a file that `TaggedOutputs.write` wrote; DamagedError if it cannot be read."""
    try:
        held = read_tensors(path)
        return TaggedOutputs(tuple(row.tobytes() for row in held["tags"].numpy()), held["values"])
    except (OSError, SafetensorError, KeyError) as error:
        raise DamagedError(f"{path.name}: the {FIRST_OUTPUTS} cannot be read") from error


def add_outputs(folder: Folder, outputs: TaggedOutputs | None) -> str | None:
    """Write outputs into the folder of a store; the name of the file, None where there are no outputs."""
    return folder.add("baselines", outputs.write) if outputs is not None and outputs.tags else None


def outputs_of(task: Task, model: nn.Module, positions: Sequence[int], key: Key) -> TaggedOutputs | None:
    """Read what the first model of a lineage says of some records that it was trained on.

    Args:
        task: the task as the user gave it.
        model: the model.
        positions: positions of the records that the model was trained on.
        key: the store's key.

    Returns:
        The outputs; None where the records are parts of a structure, in which they change when others leave.
    """
    if task.structure is not None:
        return None
    known, names = subset_task(task, positions, mark="").task, ids_of(task)
    found = first_outputs(model, task=replace(known, ids=range(len(positions))))
    tags = (key.tag(names[positions[int(row)]]) for row in found.ids)
    return TaggedOutputs(tuple(tags), found.values)


@dataclass(frozen=True, repr=False)
class LineageOutputs(Brief):
    """The first outputs of a lineage, as one run may use them.

    Args:
        given: the outputs, by ids in the task of the run.
        tags: the tag of each record, by the same ids.
    """

    given: FirstOutputs
    tags: Mapping[RecordId, bytes]

    def left(self, after: FirstOutputs | None) -> TaggedOutputs | None:
        """What the run leaves of them; `after` is what its result has."""
        return None if after is None else TaggedOutputs(tuple(self.tags[name] for name in after.ids), after.values)


def lineage_outputs(context: StoreContext, task: Task, batch: DeletionBatch) -> LineageOutputs | None:
    """Read the first outputs of the lineage in service, for a run.

    Those of records that the run must not train on, that left the training set, or whose content is another than the
    model was trained on are left out, and so leave for good.

    Args:
        context: the open store.
        task: the task as the user gave it.
        batch: the records of the run.

    Returns:
        The outputs; None where the store has none.
    """
    file = context.history().first_outputs
    if file is None:
        return None
    held = read_outputs(context.folder.checked("baselines", file, FIRST_OUTPUTS))
    row, names = {tag: number for number, tag in enumerate(held.tags)}, ids_of(task)
    places = {at: tag for at in batch.view.positions if (tag := context.key.tag(names[at])) in row}
    changed = compare(context, task, np.array(sorted(places), dtype=np.int64)).changed
    ids: dict[RecordId, bytes] = {batch.name(at): tag for at, tag in places.items() if at not in changed}
    if not ids:
        return None
    values = held.values[[row[tag] for tag in ids.values()]]
    return LineageOutputs(FirstOutputs(tuple(ids), values), ids)


def output_faults(context: StoreContext, history: History, forgotten: Collection[bytes]) -> list[str]:
    """What is wrong with the first outputs that a store keeps, one line each; `forgotten` are tags."""
    if history.first_outputs is None:
        return []
    path = context.folder.path_of("baselines", history.first_outputs)
    if not path.is_file():  # which is named elsewhere
        return []
    try:
        count = len({*read_outputs(path).tags} & {*forgotten})
    except DamagedError as error:
        return list(error.problems)
    held = how_many(count, "forgotten record")
    return [f"baselines/{path.name}: the {FIRST_OUTPUTS} hold {held}"] if count else []
