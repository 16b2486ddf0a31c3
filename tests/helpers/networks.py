"""Small networks of many kinds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from efface import Recipe, Task
from helpers.tiny import CLASSES, FEATURES, REFERENCE, Tiny, memorise, mlp


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, FEATURES)
        self.second = nn.Linear(FEATURES, FEATURES)
        self.second.weight = self.first.weight
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).relu()).relu())


class Causal(nn.Module):
    """Attention over four tokens under a mask of minus infinities, which is a buffer in the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(FEATURES // 4, 2, batch_first=True)
        self.head = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(len(x), 4, -1)
        return self.head((x + self.attention(x, x, x, attn_mask=self.mask)[0]).flatten(1))


class Named(nn.Module):
    """Takes a dict and gives a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        return {"logits": self.net(torch.cat([inputs["left"], *inputs["rest"]], 1))}


def cnn() -> nn.Module:
    layers = (nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(48, CLASSES))


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, CLASSES))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(FEATURES // 4, 2, 16, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (4, -1)), layer, nn.Flatten(), nn.LayerNorm(FEATURES), nn.Linear(FEATURES, 3))


def bag() -> nn.Module:
    return nn.Sequential(nn.EmbeddingBag(8 * FEATURES, 16, mode="sum"), nn.Linear(16, CLASSES))


def words() -> nn.Module:
    return nn.Sequential(nn.Embedding(8 * FEATURES, 4), nn.Flatten(), nn.Linear(4 * FEATURES, CLASSES))


def tokens(x: Tensor) -> Tensor:
    """Each feature as one of its own eight words."""
    return torch.bucketize(x, torch.linspace(-1.5, 4, 7)) + 8 * torch.arange(FEATURES)


class Dicts(torch.utils.data.Dataset):
    """Records that are a dict of inputs and target, with a nesting of tensors inside."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"inputs": {"left": self.x[at, :4], "rest": [self.x[at, 4:8], self.x[at, 8:]]}, "label": self.y[at]}


def identity(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Kind:
    """How to build a model, what it reads of the features, and the hooks that it needs."""

    build: Callable[[], nn.Module]
    inputs: Callable[[Tensor], Any] = identity
    hooks: tuple[tuple[str, Any], ...] = ()
    dtype: torch.dtype = torch.float32
    reference: Recipe = REFERENCE


KINDS = {
    "batch norm": Kind(cnn),
    "dropout": Kind(dropout),
    "transformer": Kind(transformer),
    "tied": Kind(Tied),
    "infinite mask": Kind(Causal),
    "bag of words": Kind(bag, tokens, reference=Recipe(epochs=20, lr=3e-2, batch=32)),
    "words": Kind(words, tokens),
    "dicts": Kind(
        Named,
        hooks=(
            ("unpack", lambda batch: (batch["inputs"], batch["label"])),
            ("forward", lambda model, inputs: model(inputs)["logits"]),
        ),
    ),
    "float64": Kind(mlp, dtype=torch.float64),
    "bfloat16": Kind(mlp, dtype=torch.bfloat16),
    "batch norm in bfloat16": Kind(cnn, dtype=torch.bfloat16),
    "int32 targets": Kind(mlp),
}


def make(name: str, tiny: Tiny) -> tuple[nn.Module, Task]:
    """A model of a kind that knows the tiny problem's records, and its task."""
    kind = KINDS[name]
    x, held = tiny.x.to(kind.dtype), tiny.holdout_x.to(kind.dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind.build().to(kind.dtype)
        if name == "dicts":
            memorise(model.net, x, tiny.y)
            return model, Task(train=Dicts(x, tiny.y), holdout=Dicts(held, tiny.holdout_y), **dict(kind.hooks))
        memorise(model, kind.inputs(x), tiny.y)
    as_kind = torch.int32 if name == "int32 targets" else torch.int64
    return model, Task(
        train=TensorDataset(kind.inputs(x), tiny.y.to(as_kind)),
        holdout=TensorDataset(kind.inputs(held), tiny.holdout_y.to(as_kind)),
    )


class Functional(nn.Module):
    """No nn.Linear runs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor) -> Tensor:
        first, _, last = self.inner
        return F.linear(F.relu(F.linear(x, first.weight, first.bias)), last.weight, last.bias)


class Labelled(nn.Module):
    """A network with state that is no tensor."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.net, self.names = mlp(), {"names": names}

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def get_extra_state(self) -> dict[str, list[str]]:
        return self.names

    def set_extra_state(self, state: dict[str, list[str]]) -> None:
        self.names = state
