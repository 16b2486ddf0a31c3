"""PEFT: only the adapters of a model are unlearned; all copies share its base, and adapters come back as a folder."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efface.data.records import Records
from efface.errors import RequestError, kind_of
from efface.integrations import library, new_folder, transformers
from efface.models.running import logits_of, mode
from efface.runtime.cost import Meter
from efface.runtime.options import clear_calls
from efface.task import Task
from efface.unlearning.result import Result

COMPARED = 500  # training and holdout records whose margins by the base alone are compared, of each
SURE = 1e-3  # p value from which on the base is said to know training records


class SharedBase:
    """A PEFT model that copies of its adapters share: a copy of it is itself."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedBase":
        return self


class Adapters(nn.Module):
    """The trainable weights of a PEFT model, as a network of their own; a call runs the model with them.

    Copies hold adapters only. The base is no part of the network, so that nothing can move it.

    Args:
        model: The PEFT model, whose adapters are trainable; it is not changed.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.base = SharedBase(model)
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        held = dict(model.named_parameters())
        # in a list, since the names of the PEFT model hold dots, which no name of a parameter may
        self.weights = nn.ParameterList([nn.Parameter(held[name].detach().clone()) for name in self.names])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the PEFT model returns with these adapters."""
        model = self.base.model
        if model.device != self.weights[0].device:
            model.to(self.weights[0].device)
        with mode(model, self.training):
            return torch.func.functional_call(model, dict(zip(self.names, self.weights, strict=True)), args, kwargs)

    @contextmanager
    def put_in(self) -> Iterator[Any]:
        """The PEFT model with these adapters in it for the block; what the block changes of them is kept here."""
        held = dict(self.base.model.named_parameters())
        before = {name: held[name].detach().clone() for name in self.names}
        with torch.no_grad():
            for name, own in zip(self.names, self.weights, strict=True):
                held[name].copy_(own)
        try:
            yield self.base.model
        finally:
            with torch.no_grad():
                for name, own in zip(self.names, self.weights, strict=True):
                    own.copy_(held[name])
                    held[name].copy_(before[name])


@clear_calls()
def make_task(
    source: Any,
    *,
    base_saw_records: bool,
    train: Any = None,
    holdout: Any = None,
    tokenizer: Any = None,
    collator: Callable[[list[Any]], Any] | None = None,
    **fields: Any,
) -> tuple[Adapters, Task]:
    """The adapters of a PEFT model as the model to unlearn, and the task.

    Args:
        source: The PEFT model of a transformers model, or the Trainer that trained it.
        base_saw_records: Whether the base was trained on the records, too. Then they cannot be erased by adapters.
        train: All records that the adapters were trained on.
        holdout: Records that neither the adapters nor the base saw.
        tokenizer: As in `efface.integrations.transformers.make_task`.
        collator: As there.
        fields: What else that function takes, or other fields of the task.

    Returns:
        What `efface.unlearn` takes as model, and as task.

    Raises:
        RequestError: The base was trained on the records, by what is stated or by what its outputs show; or the
            adapters are frozen.
    """
    library("peft", "peft")
    lib = library("transformers", "peft")
    given = transformers.of_trainer(source) if isinstance(source, lib.Trainer) else {"model": source}
    model = given["model"]
    _check(model, base_saw_records)
    task = transformers.make_task(
        model.get_base_model(),
        train=given.get("train") if train is None else train,
        holdout=holdout,
        tokenizer=tokenizer or given.get("tokenizer"),
        collator=collator or given.get("collator"),
        pretrained=False,
        **fields,
    )
    fit = fields.get("fit", given.get("fit"))
    task = replace(
        task,
        fine_tuned=True,
        build_model=fields.get("build_model", lambda: Adapters(_untrained(model))),
        fit=None if fit is None else AdapterFit(fit),
    )
    _check_base(model, task)
    return Adapters(model), task


@clear_calls()
def save(result: Result, folder: str | Path) -> None:
    """Write the unlearned adapters as PEFT's `save_pretrained` does, without the base.

    Args:
        result: The result of `efface.unlearn` on a task of this module.
        folder: A new folder; it appears as a whole or not at all.

    Raises:
        RequestError: The model is no `Adapters`, or the folder cannot be written.
    """
    if not isinstance(result.model, Adapters):
        raise RequestError(f"expected the result for adapters, got one for a {kind_of(result.model)}")
    with new_folder(folder) as temporary, result.model.put_in() as model:
        model.save_pretrained(temporary)


class AdapterFit:
    """A task's `fit` that trains adapters by one that trains a PEFT model."""

    def __init__(self, fit: Callable[[Any, Any, int], Any]) -> None:
        self.fit = fit

    def __call__(self, model: nn.Module, dataset: Any, seed: int) -> None:
        """Train adapters in place."""
        assert isinstance(model, Adapters)
        with model.put_in() as peft_model:
            self.fit(peft_model, dataset, seed)


def _check(model: Any, base_saw_records: object) -> None:
    if not hasattr(model, "peft_config") or not hasattr(model, "get_base_model"):
        raise RequestError(f"expected a PEFT model, or the Trainer of one, got {kind_of(model)}")
    if not isinstance(base_saw_records, bool):
        raise RequestError(f"base_saw_records: expected True or False, got {base_saw_records!r}")
    if base_saw_records:
        raise RequestError(
            "the base was trained on the records: adapters can hide what it knows of them, but whoever takes the "
            "adapters off sees it again. Unlearn the base, or train new adapters on a base that never saw them"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise RequestError("the adapters are frozen: load them by PeftModel.from_pretrained(..., is_trainable=True)")
    if any(getattr(m, "track_running_stats", False) for m in model.modules()):
        raise RequestError(
            "the base has BatchNorm, whose running statistics training moves: they are no part of the adapters, and "
            "would stay as they are"
        )


def _check_base(model: Any, task: Task) -> None:
    """Refuse a base that knows training records better than holdout records when its adapters are off."""
    from scipy.stats import mannwhitneyu

    if task.train is None or task.holdout is None:
        return  # the task's own checks say so
    margins = []
    rng, wrapped = np.random.default_rng(0), _WithoutAdapters(model)
    for data in (task.train, task.holdout):
        records = Records(data, task)
        at = np.sort(rng.permutation(len(records))[:COMPARED])
        values = logits_of(task, wrapped, records, at, Meter())
        margins.append(task.rules.margin(values, records.targets(at)).numpy())
    test = mannwhitneyu(*margins, alternative="greater")
    if test.pvalue < SURE:
        share = test.statistic / (len(margins[0]) * len(margins[1]))
        raise RequestError(
            f"the base knows training records better than holdout records with its adapters off (AUC {share:.2f}, "
            f"p = {test.pvalue:.1g}): either it was trained on them, and adapters cannot erase them, or the holdout is "
            "of another kind than train"
        )


class _WithoutAdapters(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self.model.disable_adapter():
            return self.model(*args, **kwargs)


def _untrained(model: Any) -> Any:
    """A PEFT model on the same base, whose weights it shares, with adapters as they are before training."""
    lib = library("peft", "peft")
    config = copy.deepcopy(model.peft_config[model.active_adapter])
    config.inference_mode = False
    frozen: list[Tensor] = [p for p in model.parameters() if not p.requires_grad]
    shared: dict[int, Any] = {id(t): t for t in (*frozen, *model.buffers())}
    fresh = copy.deepcopy(model, shared)
    wrapper = library("peft.utils", "peft").ModulesToSaveWrapper
    for module in fresh.modules():
        # `unload` would keep the trained layer, such as a classifier, in place of the one before training
        if isinstance(module, wrapper):
            for own in module.modules_to_save.values():
                own.load_state_dict(module.original_module.state_dict())
    return lib.get_peft_model(fresh.unload(), config, adapter_name=model.active_adapter)
