"""skorch: a task from a fitted net, whatever its module ends in, and a net with the unlearned weights."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from efface.errors import RequestError, kind_of
from efface.integrations import library
from efface.kinds import Binary, Classes, Kind, Regression
from efface.models.running import device_of
from efface.runtime.options import clear_calls
from efface.task import Task, call_model
from efface.unlearning.result import Result

SMALLEST = 1e-8  # what skorch adds to probabilities before it takes their logarithm


@clear_calls()
def make_task(net: Any, X: Any, y: Any = None, *, holdout: Any, test: Any = None, **fields: Any) -> Task:
    """A task from a fitted skorch net and the data that `fit` was called with.

    What `train_split` set aside for validation was not trained on, so it is no part of `Task.train`. Ids are the
    numbers of rows in X, unless `ids` names each row of X.

    Args:
        net: A fitted `NeuralNetClassifier`, `NeuralNetBinaryClassifier` or `NeuralNetRegressor`.
        X: What `fit` was called with.
        y: The targets that `fit` was called with; None if X holds them.
        holdout: Records that the net never saw: a pair of X and y, or a data set.
        test: Further records, to measure accuracy, in the same form.
        fields: Other fields of the task, such as `ids`, one for each row of X.

    Raises:
        RequestError: skorch is missing, the net is not fitted or of another kind, or which rows it was trained on
            cannot be found again.
    """
    lib = library("skorch", "skorch")
    if not isinstance(net, lib.NeuralNet):
        raise RequestError(f"expected a skorch net, got {kind_of(net)}")
    if not getattr(net, "initialized_", False):
        raise RequestError("the net is not fitted: call net.fit(X, y) first, or load its parameters")
    kind, forward = _outputs(lib, net)
    train, validation = _parts(net, X, y)
    made: dict[str, Any] = {
        "train": train,
        "holdout": _dataset(net, holdout),
        "test": None if test is None else _dataset(net, test),
        "kind": kind,
        "forward": forward,
        "build_model": Untrained(net),
        "fit": SkorchFit(net, validation),
    }
    for name in ("ids", "groups"):
        if name in fields and isinstance(train, Subset) and not isinstance(fields[name], str):
            every = list(fields.pop(name))
            made[name] = [every[i] for i in train.indices]
    if isinstance(train, Subset) and "ids" not in made:
        made["ids"] = np.asarray(train.indices)
    return Task(**{**made, **fields})


@clear_calls()
def make_net(result: Result, net: Any) -> Any:
    """A copy of a fitted net with the unlearned weights, with a new optimiser and without the history of training.

    Args:
        result: The result of `efface.unlearn` for `net.module_`.
        net: The net; it does not change.

    Returns:
        A fitted net: it predicts, and its `save_params` writes files that skorch loads.
    """
    new = copy.deepcopy(net)
    new.module_.load_state_dict(result.model.state_dict())
    new._initialize_optimizer()  # the old one's running means remember the records
    new.history_ = library("skorch.history", "skorch").History()
    return new


class Untrained:
    """Makes the untrained module of a net: a task's `build_model`."""

    def __init__(self, net: Any) -> None:
        self.net = _like(net)

    def __call__(self) -> nn.Module:
        """A new module."""
        return _like(self.net).initialize().module_  # type: ignore[no-any-return]


class SkorchFit:
    """A task's `fit` by a net's own arguments; the rows of validation stay those of the original training."""

    def __init__(self, net: Any, validation: Any) -> None:
        self.net, self.validation = _like(net), validation

    def __call__(self, model: nn.Module, dataset: Any, seed: int) -> nn.Module:
        """Train the weights of a module on other records; the random generators are seeded already."""
        helper = library("skorch.helper", "skorch")
        split = None if self.validation is None else helper.predefined_split(self.validation)
        net = _like(self.net).set_params(train_split=split, verbose=0).initialize()
        net.module_.load_state_dict(model.state_dict())
        net.partial_fit(dataset, y=None)
        return net.module_.to(device_of(model))  # type: ignore[no-any-return]


def logarithm(model: nn.Module, inputs: Any) -> Tensor:
    """Logits of a module that ends in a softmax, as skorch's own loss reads it."""
    return (call_model(model, inputs).float() + SMALLEST).log()


def log_odds(model: nn.Module, inputs: Any) -> Tensor:
    """The logit of a module that ends in a sigmoid."""
    return torch.logit(call_model(model, inputs).float(), eps=1e-6)


def _outputs(lib: Any, net: Any) -> tuple[Kind, Any]:
    """The kind of a net, and how its module's outputs become what the kind takes: both are stated by its criterion."""
    loss = net.criterion_
    if isinstance(net, lib.NeuralNetRegressor):
        if isinstance(loss, nn.MSELoss):
            return Regression(), call_model
        if isinstance(loss, nn.HuberLoss | nn.SmoothL1Loss):
            return Regression(trained_by="huber", delta=getattr(loss, "delta", 1.0)), call_model
    elif isinstance(net, lib.NeuralNetBinaryClassifier):
        if isinstance(loss, nn.BCEWithLogitsLoss):
            return Binary(), call_model
        if isinstance(loss, nn.BCELoss):
            return Binary(), log_odds
    elif isinstance(loss, nn.NLLLoss):
        return Classes(), logarithm
    elif isinstance(loss, nn.CrossEntropyLoss):
        return Classes(), call_model
    raise RequestError(
        f"{type(net).__name__} with {type(loss).__name__}: expected a classifier with NLLLoss or CrossEntropyLoss, a "
        "binary one with BCEWithLogitsLoss, or a regressor with MSELoss or HuberLoss"
    )


def _parts(net: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """The data sets of training and validation, as `fit` split them; None for validation without a split."""
    train, validation = net.get_split_datasets(X, y)
    repeated, _ = net.get_split_datasets(X, y)
    if isinstance(train, Subset) and not np.array_equal(train.indices, repeated.indices):
        raise RequestError(
            "train_split draws other rows each time, so which rows the net was trained on is not known: give the net a "
            "split with a random_state"
        )
    return train, validation


def _dataset(net: Any, given: Any) -> Any:
    return net.get_dataset(*given) if isinstance(given, tuple) else given


def _like(net: Any) -> Any:
    """A net with the same arguments that was not initialised; nothing is printed."""
    from sklearn.base import clone

    return clone(net)
