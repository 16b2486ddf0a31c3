"""timm's and torchvision's image models: a task with untrained networks, and training images without augmentation."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import Subset

from efface.errors import RequestError, kind_of, shorten
from efface.integrations import library
from efface.runtime.options import clear_calls
from efface.task import Task


@clear_calls()
def make_task(
    model: nn.Module,
    *,
    train: Any,
    holdout: Any,
    architecture: str | None = None,
    create: Mapping[str, Any] | None = None,
    eval_transform: Any = None,
    **fields: Any,
) -> Task:
    """A task from an image model of timm or torchvision.

    Args:
        model: The trained model.
        train: All records that it was trained on: pairs of image and class. If they are drawn by a random transform,
            `Task.eval_records` are the same images by `eval_transform`.
        holdout: Records that the model never saw, without random transforms.
        architecture: The name that `timm.create_model`, or `torchvision.models.get_model`, made the model by; by
            default what a model of timm notes of itself.
        create: Further arguments of that call, such as `{"img_size": 32}`. With `pretrained` among them the model is
            fine-tuned.
        eval_transform: The transform of `train` without what is random; by default, for a model of timm, the one that
            timm makes of the model's own settings.
        fields: Other fields of the task, such as `test`, `ids` or `fit`.

    Raises:
        RequestError: The library is missing, the arguments make another network than `model`, or `train` has a
            transform, and there is no `eval_transform` for it.
    """
    noted = getattr(model, "pretrained_cfg", None)
    made: dict[str, Any] = {"train": train, "holdout": holdout, **fields}
    if "build_model" not in made:
        build = Builder(noted is not None, _name(model, noted, architecture), _arguments(model, noted, create))
        build.check(model)
        made["build_model"] = build
        made.setdefault("fine_tuned", bool(build.arguments.get("pretrained")))
    if "eval_records" not in made and transform_of(train) is not None:
        if eval_transform is None and noted is None:
            raise RequestError("train has a transform: give eval_transform=, the same without what is random")
        made["eval_records"] = without_augmentation(train, eval_transform or _own_transform(model))
    return Task(**made)


class Builder:
    """Makes a network by name: a task's `build_model`.

    Args:
        by_timm: Whether timm makes it, and else torchvision.
        name: Its name there.
        arguments: Further arguments of the call.
    """

    def __init__(self, by_timm: bool, name: str, arguments: Mapping[str, Any]) -> None:
        self.by_timm, self.name, self.arguments = by_timm, name, dict(arguments)

    def __call__(self) -> nn.Module:
        """A new network."""
        if self.by_timm:
            return library("timm", "timm").create_model(self.name, **self.arguments)  # type: ignore[no-any-return]
        return library("torchvision.models", "timm").get_model(self.name, **self.arguments)  # type: ignore[no-any-return]

    def check(self, model: nn.Module) -> None:
        """Refuse arguments that make another network than `model`, with the names of weights that differ."""
        call = "timm.create_model" if self.by_timm else "torchvision.models.get_model"
        arguments = {k: v for k, v in self.arguments.items() if k not in ("pretrained", "weights")}
        given = shorten([f"{k}={v!r}" for k, v in arguments.items()], 6, str)
        try:
            shapes = _shapes(Builder(self.by_timm, self.name, arguments)())
        except RequestError:  # the library is missing
            raise
        except Exception as error:  # an unknown name or argument of theirs
            raise RequestError(
                f"{call}({self.name!r}, {given}) failed ({error}): give architecture= and create="
            ) from None
        own = _shapes(model)
        if odd := [name for name in {**own, **shapes} if own.get(name) != shapes.get(name)]:
            raise RequestError(
                f"{call}({self.name!r}, {given}) makes another network ({shorten(odd, show=str)} differ): give what "
                "made the model, such as architecture='resnet18' and create={'num_classes': 10}"
            )


def transform_of(data: Any) -> Any:
    """The transform of a data set, or of the data set within a Subset; None without one."""
    while isinstance(data, Subset):
        data = data.dataset
    return getattr(data, "transform", None)


def without_augmentation(data: Any, transform: Any) -> Any:
    """A data set with the same images as another, read by another transform; the first one does not change.

    Args:
        data: A data set with an attribute `transform`, as those of torchvision and timm have it, or a Subset of one.
        transform: The transform of images.

    Raises:
        RequestError: The data set has no such attribute.
    """
    if isinstance(data, Subset):
        return Subset(without_augmentation(data.dataset, transform), data.indices)
    if not hasattr(data, "transform"):
        raise RequestError(f"expected a data set with an attribute 'transform', got {kind_of(data)}: give eval_records")
    plain_copy = copy.copy(data)
    plain_copy.transform = transform
    if (both := getattr(data, "transforms", None)) is not None:  # torchvision's, by which images and targets are read
        plain_copy.transforms = type(both)(transform, both.target_transform)
    return plain_copy


def _name(model: nn.Module, noted: Any, architecture: str | None) -> str:
    if architecture is None and noted is None:
        raise RequestError(
            "a model of torchvision does not note its name: give architecture=, such as 'resnet18', and create=, such "
            "as {'num_classes': 10}"
        )
    return architecture or str(noted["architecture"])


def _arguments(model: nn.Module, noted: Any, create: Mapping[str, Any] | None) -> dict[str, Any]:
    classes = {} if noted is None else {"num_classes": model.num_classes}
    return {**classes, **(create or {})}


def _own_transform(model: nn.Module) -> Any:
    data = library("timm.data", "timm")
    return data.create_transform(**data.resolve_model_data_config(model), is_training=False)


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}
