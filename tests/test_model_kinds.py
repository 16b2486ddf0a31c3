"""Which models and records the methods take: the method proposed and one of plain descent on each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tiny import CLASSES, FEATURES, REFERENCE, Tiny, bits, memorise, mlp, weights
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import Recipe, RequestError, Task
from efface.data.records import Records
from efface.methods import Align, Influence, NegGradPlus, Retrain, Steer
from efface.models.running import logits_of
from efface.runtime.cost import Meter
from efface.unlearning.stopping import LooksUnseen


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


def plain(x: Tensor) -> Tensor:
    return x


METHODS = {
    "steer": Steer(rounds=2, steps=8),
    "neggrad_plus": NegGradPlus(steps=8, every=4),
    "influence": Influence(rounds=2, iterations=4, sample=64),
    "align": Align(steps=8, every=4),
    "retrain": Retrain(epochs=2),
}


@dataclass(frozen=True)
class Kind:
    """How to build a model, what it reads of the features, and the hooks that it needs."""

    build: Callable[[], nn.Module]
    inputs: Callable[[Tensor], Any] = plain
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


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (kind, method)
        for kind in KINDS
        for method in ("steer", "neggrad_plus", "influence", "align")
        if (kind, method) != ("bag of words", "influence")  # refused: see below
    ],
)
def test_a_kind_of_model(kind: str, method: str, tiny: Tiny) -> None:
    model, task = make(kind, tiny)
    model.train()
    before = bits(model)
    recipe = KINDS[kind].reference
    result = efface.unlearn(
        model, forget=tiny.forget, task=task, method=METHODS[method], reference=recipe, stop=LooksUnseen()
    )
    assert bits(model) == before
    ours = result.model
    # the original is given back where the steps made it worse
    assert (weights(ours) == weights(model)) == (result.evidence.chosen_step == 0)
    assert {k: v.dtype for k, v in ours.state_dict().items()} == {k: v.dtype for k, v in model.state_dict().items()}
    assert all(m.training for m in ours.modules())
    logits = logits_of(task, ours, Records(task.holdout, task), range(50), Meter())
    assert logits.shape == (50, CLASSES) and logits.isfinite().all()
    assert len(result.evidence.looks) >= 2


def test_influence_refuses_a_layer_without_second_derivatives(tiny: Tiny) -> None:
    model, task = make("bag of words", tiny)
    with pytest.raises(RequestError, match=r"does not allow that .*: use woodfisher"):
        efface.unlearn(model, forget=tiny.forget, task=task, method=METHODS["influence"], looks=False)
    other = efface.methods.get("woodfisher", {"rounds": "1", "sample": "16"})
    done = efface.unlearn(model, forget=tiny.forget, task=task, method=other, looks=False)
    assert weights(done.model) != weights(model)


@pytest.mark.parametrize("method", ["steer", "neggrad_plus", "influence", "retrain"])
def test_tied_weights_stay_tied(method: str, tiny: Tiny) -> None:
    model, task = make("tied", tiny)
    ours = efface.unlearn(
        model, forget=tiny.forget, task=task, method=METHODS[method], looks=False, reference=REFERENCE
    ).model
    assert ours.second.weight is ours.first.weight
    assert not torch.equal(ours.first.weight, model.first.weight)


@pytest.mark.parametrize("method", ["steer", "retrain"])
def test_a_mask_stays_infinite_and_can_be_saved(method: str, tiny: Tiny, tmp_path: Any) -> None:
    model, task = make("infinite mask", tiny)
    result = efface.unlearn(
        model, forget=tiny.forget, task=task, method=METHODS[method], looks=False, reference=REFERENCE
    )
    assert torch.equal(result.model.mask, model.mask)
    result.save(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("method", "moved"), [("steer", False), ("neggrad_plus", True), ("influence", False), ("align", False)]
)
def test_running_statistics_move_by_descent_alone(method: str, moved: bool, tiny: Tiny) -> None:
    """Steer judges a model as it is used, in eval mode, so it must not move them."""
    model, task = make("batch norm", tiny)
    ours = efface.unlearn(
        model, forget=tiny.forget, task=task, method=METHODS[method], looks=False, reference=REFERENCE
    ).model
    assert torch.equal(ours[2].running_mean, model[2].running_mean) != moved


def test_one_record_and_batch_norm(tiny: Tiny) -> None:
    model, task = make("batch norm", tiny)
    for method in ("neggrad_plus", "steer", "influence", "align"):
        efface.unlearn(model, forget=(7,), task=task, method=METHODS[method], looks=False, reference=REFERENCE)
