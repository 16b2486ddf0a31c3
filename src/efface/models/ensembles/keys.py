"""Keys of trained models in the cache: one hash of everything that determines a model.

A key covers `RECIPE_VERSION`, the content of the records and their order, the recipe and the task's hooks or
`Task.fit` and a dataset of the user's own class, the untrained network (code, structure and weights), the seed, torch's
version and settings, and the kind of device. What it does not cover is described in `efface.models.ensembles.hashing`.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset, TensorDataset

from efface.data.records import Records
from efface.models.ensembles.hashing import content_hash, structure
from efface.models.ensembles.training import ModelJob, Workload
from efface.models.ensembles.workers import SETTINGS
from efface.models.running import device_of
from efface.runtime.seeds import seeded
from efface.task import Task

# to be raised when training gives other weights, because of changes here or in `efface.models`
RECIPE_VERSION = 1


def model_keys(load: Workload, fresh: Sequence[nn.Module]) -> list[str]:
    """Compute the cache key of each model; each dataset is read once.

    Args:
        load: The models to train.
        fresh: Their untrained networks.

    Returns:
        A key for each model.

    Raises:
        UnhashableError: Something that the models come from has no hash.
    """
    if not load.jobs:
        return []
    shared = content_hash([RECIPE_VERSION, torch.__version__, [now() for now, _ in SETTINGS], _training(load)])
    networks = [(structure(m), [n for n, p in m.named_parameters() if p.requires_grad]) for m in fresh]
    parts = zip(load.jobs, networks, _data_hashes(load), strict=True)
    return [content_hash([shared, job.start, job.seed, network, data]) for job, network, data in parts]


def _training(load: Workload) -> list[object]:
    task, device = load.jobs[0].task, device_of(load.original).type
    around = [] if task.structure is None else [task.structure]
    if task.fit is not None:
        return [device, task.fit, *around]
    return [device, load.recipe, task.unpack, task.forward, task.collate, *around]


def _data_hashes(load: Workload) -> list[str]:
    """The content of each job's records, in order."""
    alike: dict[int, list[ModelJob]] = {}
    for job in load.jobs:
        alike.setdefault(id(job.task), []).append(job)
    rows = {key: _rows(jobs) for key, jobs in alike.items()}
    return [
        hashlib.sha256("".join(rows[id(j.task)][at] for at in j.positions.tolist()).encode()).hexdigest()
        for j in load.jobs
    ]


def _rows(jobs: Sequence[ModelJob]) -> dict[int, str]:
    """The content of every record that some job of a task is trained on, by its position."""
    task, positions = jobs[0].task, np.unique(np.concatenate([job.positions for job in jobs])).tolist()
    records = Records(task.eval_records or task.train, task)
    with seeded(0):  # a dataset may draw at random as it is read
        if records.is_sliceable:
            hashes = [content.hex() for content in records.hashes(positions)]
        else:  # hooks may leave out what Task.fit reads, so these are hashed as the dataset gives them
            hashes = [content_hash(records.dataset[at]) for at in positions]
    own = "" if task.fit is None else _own(task)
    return {at: content + own for at, content in zip(positions, hashes, strict=True)}


def _own(task: Task) -> str:
    """The content of a dataset of which `Task.fit` may read more than records; empty if there is no more.

    Where a task has eval_records, the others may be drawn at random, and are known by their dataset alone.
    """
    dataset: object = task.train
    while type(dataset) is Subset:
        dataset = dataset.dataset
    if task.eval_records is None and type(dataset) in (TensorDataset, list, tuple):
        return ""
    return content_hash(task.train)
