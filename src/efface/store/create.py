"""Making a store: everything is checked first, and what is made is seen whole or not at all."""

import math
import os
import shutil
import uuid
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import IterableDataset

from efface.data.checks import Findings, check_reading
from efface.data.ids import RecordIndex
from efface.data.records import Records
from efface.errors import RequestError, collect_errors
from efface.models.checkpoint import weights_digest
from efface.models.checks import check_model
from efface.runtime.devices import resolve_device
from efface.runtime.provenance import versions
from efface.store.build import save
from efface.store.context import StoreContext, beside, check_outside
from efface.store.database import Database, named
from efface.store.drift import Limits, write_answers
from efface.store.files import Folder, hash_of
from efface.store.keys import key_exists, make_key
from efface.task import Task, missing_build_model

GRACE_DAYS = 30.0
MAX_GRACE = 365_000.0


def create(
    target: Path,
    task: Task,
    model: nn.Module,
    key: Path | None,
    source: Path | None,
    task_path: str | None,
    grace_days: float,
    limits: Limits,
    device: str,
) -> tuple[Path, Path]:
    """Make a store and its key, and give the places of both; see `Store.create`."""
    key_path = key or beside(target)
    problems: list[str] = []
    for check in (_check_place, _check_key):
        collect_errors(problems, check, target, key_path)
    collect_errors(problems, _check_settings, grace_days, limits)
    collect_errors(problems, _check_source, source)
    collect_errors(problems, resolve_device, device)
    collect_errors(problems, _check_task, task, model)
    if problems:
        raise RequestError(problems)
    # made beside its place and then moved there, so that no half-made store is ever seen
    making = Folder(_unfinished(target))
    with ExitStack() as undo:
        with named(target):
            making.create()
        undo.callback(shutil.rmtree, making.path, ignore_errors=True)
        secret = make_key(key_path)
        undo.callback(key_path.unlink, missing_ok=True)
        with named(target):
            file = making.keep("checkpoints", lambda path: save(model, path))
            baseline = making.keep("baselines", lambda path: write_answers(task, model, path))
        database = Database(making.database)
        database.create()
        core = StoreContext.begin(making, database, secret)
        with core.writing() as book:
            book.append(
                "created",
                {
                    "store": str(uuid.uuid4()),
                    "task": task_path,
                    "source": None if source is None else str(source),
                    "key": secret.fingerprint,
                    "settings": {
                        "grace_days": float(grace_days),
                        "limits": asdict(limits),
                        "records": len(task.train),
                        "by_position": task.ids is None,
                        "source_hash": None if source is None else hash_of(source),
                        "made_with": versions(),
                    },
                },
            )
            book.append(
                "version",
                {
                    "number": 1,
                    "parent": None,
                    "lineage": 1,
                    "kind": "original",
                    "run": None,
                    "file": file,
                    "weights": weights_digest(model),
                    "requests": [],
                    "baseline": baseline,
                    "drift": None,
                    "audit": None,
                },
            )
        core.note_head()
        making.serve(file)
        with named(target):
            making.path.rename(target)
        undo.pop_all()
    return target, key_path


def _unfinished(target: Path) -> Path:
    """Where a store is made before it is moved to its place."""
    return target.with_name(f".{target.name}.new")


def _check_place(target: Path, _: Path) -> None:
    if os.path.lexists(target):
        raise RequestError(f"{target}: there is something already; name another folder (--store)")
    if os.path.lexists(_unfinished(target)):
        raise RequestError(
            f"{_unfinished(target)}: an efface init is at work there or was interrupted; it holds a copy of the model: "
            "remove it, and the key that was made with it"
        )
    if not target.parent.is_dir():
        raise RequestError(f"{target}: there is no folder {target.parent} to make the store in (--store)")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise RequestError(f"{target}: cannot be made in {target.parent}, which cannot be written to (--store)")


def _check_key(target: Path, key_path: Path) -> None:
    check_outside(target, key_path)
    if os.path.lexists(key_path):
        raise key_exists(key_path)


def _check_source(source: Path | None) -> None:
    if source is not None and not source.is_file():
        raise RequestError(f"{source}: there is no such file, which the model is said to come from")


def _check_settings(grace_days: float, limits: Limits) -> None:
    values = {"grace_days": grace_days, **asdict(limits)}
    wrong = [
        f"{name}: expected a number of 0 or more, got {value!r}"
        for name, value in values.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf
    ]
    if not wrong and grace_days > MAX_GRACE:
        wrong.append(f"grace_days: expected at most {MAX_GRACE:,.0f} days, got {grace_days!r}")
    if wrong:
        raise RequestError(wrong)


def _check_task(task: Task, model: nn.Module) -> None:
    if not isinstance(task, Task):
        raise RequestError(f"task: expected an efface.Task, got {type(task).__name__}")
    found = Findings()
    if task.build_model is None:
        found.problems.append(missing_build_model())
    named_sets = {"training": task.eval_records or task.train, "holdout": task.holdout}
    for name, data in named_sets.items():
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, IterableDataset):
            found.problems.append(f"{name} records: expected a map-style dataset with a length and an index")
        elif not len(data):
            needs = "that the model never saw" if name == "holdout" else "that the model was trained on"
            found.problems.append(f"the {name} set is empty: efface needs records {needs}")
    if found.problems:
        raise RequestError(found.problems)
    records = {name: Records(data, task) for name, data in named_sets.items()}
    if all([check_reading(data, name, found) for name, data in records.items()]):
        with torch.no_grad():
            check_model(model, task, records["training"], found)
    collect_errors(found.problems, RecordIndex, task.ids, len(task.train))
    if found.problems:
        raise RequestError(found.problems)
