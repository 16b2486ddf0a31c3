"""Data sets and models that efface refuses."""

from collections import UserDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from efface import RequestError, Task
from helpers.calls import unlearn
from helpers.tiny import CLASSES, FEATURES, HOLDOUT, RECORDS, Tiny, bits, mlp

Break = Callable[[Tiny], dict[str, Any]]
NAN = float("nan")


def task(**changes: Callable[[Tiny], Any]) -> Break:
    """A request whose task differs in some fields."""
    return lambda tiny: {"task": tiny.task(**{name: make(tiny) for name, make in changes.items()})}


def forget(value: Any) -> Break:
    return lambda tiny: {"forget": value}


def model(make: Callable[[Tiny], Any]) -> Break:
    return lambda tiny: {"model": make(tiny)}


def method(value: Any) -> Break:
    return lambda tiny: {"method": value}


def put(values: Tensor, at: int | tuple[int, int], value: Any) -> Tensor:
    """A copy with one entry (or row) replaced."""
    copy = values.clone()
    copy[at] = value
    return copy


def data(x: Tensor, y: Any) -> TensorDataset:
    return TensorDataset(x, y)


class Augmenting(Dataset):
    """Turns half of the records round, each time others; number 7 always comes as it is."""

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny

    def __len__(self) -> int:
        return RECORDS

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        turned = at != 7 and torch.rand(()) < 0.5
        return self.tiny.x[at].flip(0) if turned else self.tiny.x[at], self.tiny.y[at]


class Unreadable(Dataset):
    """Records of which one cannot be read."""

    def __init__(self, tiny: Tiny, at: int) -> None:
        self.tiny, self.at = tiny, at

    def __len__(self) -> int:
        return RECORDS

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        if at == self.at:
            raise OSError("no such file")
        return self.tiny.x[at] + 1, self.tiny.y[at]


class Streaming(IterableDataset):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(())

    def __len__(self) -> int:
        return RECORDS


class Scaled(nn.Module):
    """A parameter of its own, and no way to reset it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.net(x)


class Wrapped(nn.Module):
    """The model's logits, changed by a function."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.change = mlp(), change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.net(x))


class Mapped(Dataset):
    """Records whose inputs are a mapping that is no dict."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, at: int) -> tuple[UserDict[str, Tensor], Tensor]:
        return UserDict(x=self.x[at]), self.y[at]


class Adapted(nn.Linear):
    """A layer whose reset leaves its adapter as it is, since it was written for the layer alone."""

    def __init__(self) -> None:
        super().__init__(FEATURES, 8)
        self.down, self.up = nn.Parameter(torch.randn(FEATURES, 2)), nn.Parameter(torch.zeros(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.down @ self.up


class Demanding(nn.Linear):
    """Resets itself only when given the scale."""

    def reset_parameters(self, scale: float | None = None) -> None:
        if hasattr(self, "built"):
            raise TypeError("reset_parameters() wants a scale")
        self.built = True
        super().reset_parameters()


def adapted() -> nn.Module:
    return nn.Sequential(Adapted(), nn.ReLU(), nn.Linear(8, CLASSES))


def bag() -> nn.Module:
    """Reads words, of which 0 is padding."""
    return nn.Sequential(nn.EmbeddingBag(64, 16, mode="sum", padding_idx=0), nn.Linear(16, CLASSES))


def padded(tiny: Tiny, holdout_first: Sequence[int]) -> Task:
    """Texts of two words in training and of up to five in the holdout; number 7 in training is (3, 1), of class 0."""
    pairs = [(torch.tensor([2 + i % 60, 2 + i // 60]), i % CLASSES) for i in range(RECORDS)]
    pairs[7] = (torch.tensor([3, 1]), 0)
    held = [(torch.tensor([1, 2 + i % 60, 2 + i // 60, 1, 1]), i % CLASSES) for i in range(HOLDOUT)]
    held[0] = (torch.tensor(holdout_first), 0)

    def collate(rows: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        return pad_sequence([r[0] for r in rows], batch_first=True), torch.tensor([r[1] for r in rows])

    return tiny.task(train=pairs, holdout=held, collate=collate)


def poisoned(tiny: Tiny) -> nn.Module:
    broken = tiny.fresh()
    with torch.no_grad():
        broken[2].bias[0] = float("nan")
    return broken


def fails(_: Any) -> Any:
    raise ValueError("no such\nthing")


def check_refused(broken: Break, message: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """That `unlearn` refuses a request with a line that holds the message, before any work."""

    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("work began")

    for name in ("reference.reference_model", "reference.CounterfactualLogits", "driver.run_steps"):
        monkeypatch.setattr(f"efface.unlearning.{name}", work)
    before, state = bits(tiny.model), torch.get_rng_state()
    with pytest.raises(RequestError) as caught:
        # some options are refused already here
        request = {"model": tiny.model, "forget": tiny.forget, "task": tiny.task(), **broken(tiny)}
        state = torch.get_rng_state()
        unlearn(**request)
    assert message in str(caught.value)
    assert all("\n" not in line for line in caught.value.problems)
    assert bits(tiny.model) == before
    assert torch.equal(torch.get_rng_state(), state)
