"""Making a store: everything is checked first, and the finished store appears in one step."""

import os
import uuid
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from efface.data.checks import Findings
from efface.data.contents import check_batch
from efface.data.reading import check_reading
from efface.data.records import Records
from efface.data.similar import alike
from efface.errors import RequestError, collect_errors, shorten
from efface.kinds import Kind
from efface.models.checkpoint import extra_state, weights_digest
from efface.models.checks import check_model
from efface.models.kind import with_kind
from efface.models.knowledge import check_knowledge
from efface.models.weights_file import find_weights
from efface.models.wrappers import plain_network
from efface.runtime.devices import resolve_device
from efface.runtime.kinds import network_problem
from efface.runtime.provenance import versions
from efface.store.build import save
from efface.store.context import StoreContext, Transaction
from efface.store.database import Database
from efface.store.drift import answers_of
from efface.store.entries import FingerprintSums
from efface.store.files import hash_of
from efface.store.fingerprint_rows import replace_all
from efface.store.fingerprints import fingerprints_at
from efface.store.first_outputs import TaggedOutputs, add_outputs, outputs_of
from efface.store.keys import Key, make_key
from efface.store.naming import id_kinds, name_settings, names_for_store
from efface.store.noted_kind import kind_settings
from efface.store.place import check_new_store
from efface.store.settings import StoreSettings, check_settings
from efface.store.task_view import ids_of
from efface.store.whole_folder import whole_folder
from efface.task import Task, check_task, missing_build_model


@dataclass(frozen=True)
class NewStore:
    """A store that is to be made.

    Args:
        folder: its folder, which must not exist yet.
        key_path: the file that its key is written to, outside of the folder.
        task: the task; it needs `build_model`.
        model: its first version.
        settings: its settings.
        progress: whether to show progress; by default on a terminal.
    """

    folder: Path
    key_path: Path
    task: Task
    model: nn.Module
    settings: StoreSettings
    progress: bool | None = None

    def create(self, device: str) -> None:
        """Make the store and its key.

        Args:
            device: name of the device that the store is to use; it is only checked here.

        Raises:
            RequestError: an argument is invalid, with every problem; nothing was made.
            StorageError: a file could not be written; what was made is removed.
        """
        problems: list[str] = []
        collect_errors(problems, check_new_store, self.folder, self.key_path)
        collect_errors(problems, check_settings, self.settings)
        collect_errors(problems, resolve_device, device)
        model = collect_errors(problems, plain_network, self.model)
        task = None if model is None else collect_errors(problems, _checked_task, self.task, model)
        if problems or model is None or task is None:
            raise RequestError(problems)
        with ExitStack() as undo, whole_folder(self.folder) as making:
            making.add_subfolders()
            key = make_key(self.key_path)
            undo.callback(self._drop_key)
            file = making.add("checkpoints", lambda path: save(model, path))
            baseline = making.add("baselines", answers_of(task, model).write)
            outputs = add_outputs(making, self._outputs(task, model, key))
            database = Database(making.database)
            database.create()
            context = StoreContext.begin(making, database, key)
            with context.writing() as transaction:
                transaction.append("created", self._created(key.fingerprint, task.rules))
                sums = self._write_fingerprints(transaction)
                transaction.append("version", self._first_version(file, baseline, outputs, sums))
            context.note_head()
            making.serve(file)

    def _drop_key(self) -> None:
        """Remove the key of a store that was not made."""
        if not os.path.lexists(self.folder):
            self.key_path.unlink(missing_ok=True)

    def _created(self, fingerprint: str, rules: Kind) -> dict[str, Any]:
        settings = self.settings
        source = None if settings.source is None else Path(settings.source).absolute()
        if source is not None and source.is_dir():
            source = find_weights(source).path
        return {
            "store": str(uuid.uuid4()),
            "task": settings.task_path,
            "source": None if source is None else str(source),
            "key": fingerprint,
            "settings": {
                "grace_days": float(settings.grace_days),
                "limits": asdict(settings.limits),
                "notice_returns": settings.notice_returns,
                "records": len(self.task.train),
                "id_kinds": id_kinds(self.task),
                **name_settings(names_for_store(self.task)),
                **kind_settings(rules),
                "source_hash": None if source is None else hash_of(source),
                "made_with": versions(),
            },
        }

    def _outputs(self, task: Task, model: nn.Module, key: Key) -> TaggedOutputs | None:
        names = names_for_store(task)
        task = replace(task, ids=None if names.by_position else names.ids)
        return outputs_of(task, model, range(len(task.train)), key)

    def _first_version(self, file: str, baseline: str, outputs: str | None, sums: FingerprintSums) -> dict[str, Any]:
        return {
            "number": 1,
            "parent": None,
            "lineage": 1,
            "kind": "original",
            "run": None,
            "file": file,
            "weights": weights_digest(self.model),
            "requests": [],
            "baseline": baseline,
            "answers": baseline,
            "first_outputs": outputs,
            "contents": 1,
            "drift": None,
            "audit": None,
            "fingerprints": sums.noted(),
        }

    def _write_fingerprints(self, transaction: Transaction) -> FingerprintSums:
        """Write the fingerprint of each training record."""
        names = names_for_store(self.task)
        task = replace(self.task, ids=None if names.by_position else names.ids)
        similar = alike(ids_of(task))
        rows = fingerprints_at(task, transaction.key, np.arange(len(task.train)), similar, self.progress)
        return replace_all(transaction, rows, FingerprintSums())


def _checked_task(task: Task, model: nn.Module) -> Task:
    """The task with its kind, once it is checked."""
    found = Findings()
    collect_errors(found.problems, check_task, task)
    has_valid_fields = not found.problems
    if problem := network_problem(model):
        found.problems.append(f"model: {problem}")
    if isinstance(task, Task) and task.build_model is None:
        found.problems.append(missing_build_model())
    if not has_valid_fields:
        raise RequestError(found.problems)
    parts = {"training": task.eval_records or task.train, "holdout": task.holdout}
    for name, data in parts.items():
        if not len(data):
            needs = "that the model never saw" if name == "holdout" else "that the model was trained on"
            found.problems.append(f"the {name} set is empty: efface needs records {needs}")
    if found.problems:
        raise RequestError(found.problems)
    task = with_kind(model, task, Records(parts["training"], task))
    records = {name: Records(data, task) for name, data in parts.items()}
    if all([check_reading(data, name, found) for name, data in records.items()]) and isinstance(model, nn.Module):
        with torch.no_grad():
            width = check_model(model, task, records["training"], found)
        if width is not None and (names := extra_state(model)):
            found.problems.append(
                f"the model has state that is no tensor ({shorten(names, show=str)}), which a store's weights files "
                "cannot hold: let its constructor, and so Task.build_model, make it"
            )
        if width is not None and task.kind is None:  # which the targets are to blame for
            check_batch(records["training"].read([0]), task.rules, width, "training", found)
        if width is not None and not found.problems:
            # no run could unlearn from a model that knows nothing, and requests would wait past their dates
            check_knowledge(model, task, records["training"], found)
    collect_errors(found.problems, names_for_store, task)
    if found.problems:
        raise RequestError(found.problems)
    return task
