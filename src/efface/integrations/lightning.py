"""Lightning: a task from a LightningModule and a DataModule, and a checkpoint of the unlearned module."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from efface.errors import RequestError, kind_of
from efface.integrations import library
from efface.models.running import device_of
from efface.runtime.files import as_path, atomic_write
from efface.runtime.options import clear_calls
from efface.task import Task
from efface.unlearning.result import Result

LOADERS = ("val", "test", "predict")


@clear_calls()
def make_task(
    module: Any,
    data: Any,
    *,
    holdout: Any,
    test: Any = None,
    trainer: Callable[[], Any] | None = None,
    **fields: Any,
) -> Task:
    """A task from a LightningModule and a LightningDataModule.

    Args:
        module: The trained module; its `forward` returns logits.
        data: The data module; `train` is the data set of its `train_dataloader()`.
        holdout: Records that the module never saw: a data set, or the name of the loader that holds them, `test`,
            `predict` or `val`.
        test: Further records, to measure accuracy, in the same way.
        trainer: Makes a Trainer like the one that trained the module, such as `lambda: Trainer(max_epochs=10)`; it
            gives `Task.fit`.
        fields: Other fields of the task, such as `unpack` where a batch is no pair, or `build_model`.

    Raises:
        RequestError: Lightning is missing, `data` is no data module, or it has several training loaders.
    """
    if not hasattr(data, "train_dataloader"):
        raise RequestError(f"data: expected a LightningDataModule, got {kind_of(data)}")
    data.prepare_data()
    for stage in ("fit", "test"):
        data.setup(stage)
    loader = _loader(data, "train")
    made: dict[str, Any] = {"train": loader.dataset, "holdout": _dataset(data, holdout), "test": _dataset(data, test)}
    made |= {"collate": loader.collate_fn, "batch_size": 256}
    if holdout == "val":
        made["holdout_used_for"] = "validation during training"
    if (build := _builder(module)) is not None:
        made["build_model"] = build
    if trainer is not None:
        if not callable(trainer):
            raise RequestError(
                "trainer: expected a function that makes a Trainer, such as lambda: Trainer(max_epochs=5)"
            )
        made["fit"] = LightningFit(trainer, loader)
    return Task(**{**made, **fields})


@clear_calls()
def save(result: Result, path: str | Path) -> None:
    """Write a checkpoint that the module's own `load_from_checkpoint` reads: weights and hyperparameters.

    It holds no state of an optimiser and no callbacks, since these remember the erased records.

    Args:
        result: The result of `efface.unlearn` for a LightningModule.
        path: The file, ending in .ckpt; it is replaced in one step.

    Raises:
        RequestError: The model is no LightningModule, or the file cannot be written.
    """
    target = as_path("path", path)
    if target.suffix != ".ckpt" or not target.absolute().parent.is_dir():
        raise RequestError(f"{path}: expected a file that ends in .ckpt, in a folder that exists")
    make = _library(result.model).Trainer
    trainer = make(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(result.model)
    with atomic_write(target) as temporary:
        trainer.save_checkpoint(temporary, weights_only=True)


class LightningFit:
    """A task's `fit` by a Trainer that is made anew for each training.

    Args:
        trainer: Makes the Trainer.
        loader: The loader of the original training, for its batch size and collate function.
    """

    def __init__(self, trainer: Callable[[], Any], loader: "DataLoader[Any]") -> None:
        self.trainer, self.loader = trainer, loader

    def __call__(self, model: Any, dataset: Any, seed: int) -> None:
        """Train a module in place on other records; the random generators are seeded already."""
        device, old = device_of(model), self.loader
        last = old.drop_last and len(dataset) > (old.batch_size or 1)
        records: DataLoader[Any] = DataLoader(
            dataset, old.batch_size or 1, shuffle=True, collate_fn=old.collate_fn, drop_last=last
        )
        self.trainer().fit(model, records)
        model.to(device)


def _library(module: nn.Module) -> Any:
    """The library that a module's class comes from: `lightning.pytorch` or `pytorch_lightning`."""
    for kind in type(module).__mro__:
        if kind.__name__ == "LightningModule":
            name = kind.__module__.partition(".")[0]
            return library("lightning.pytorch" if name == "lightning" else name, "lightning")
    library("lightning.pytorch", "lightning")
    raise RequestError(f"expected a LightningModule, got {kind_of(module)}")


def _loader(data: Any, name: str) -> "DataLoader[Any]":
    loader = getattr(data, f"{name}_dataloader")()
    if not isinstance(loader, DataLoader):
        raise RequestError(
            f"data: expected {name}_dataloader() to return one DataLoader, got {kind_of(loader)}: give its data set"
        )
    return loader


def _dataset(data: Any, given: Any) -> Any:
    """A data set as it is, or that of a loader by name."""
    if isinstance(given, str):
        if given not in LOADERS:
            raise RequestError(
                f"expected a data set or the name of a loader, one of {', '.join(LOADERS)}, got {given!r}"
            )
        if given == "predict":
            data.setup("predict")
        return _loader(data, given).dataset
    return given


def _builder(module: Any) -> Callable[[], nn.Module] | None:
    """A function that makes an untrained module by its hyperparameters; None if these do not suffice."""
    _library(module)
    kind, noted = type(module), dict(module.hparams_initial)
    parameters = inspect.signature(kind).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    if needed - noted.keys():
        return None  # efface then resets a copy, or asks for build_model
    known = {p.name for p in parameters}
    return lambda: kind(**{name: value for name, value in noted.items() if name in known})
