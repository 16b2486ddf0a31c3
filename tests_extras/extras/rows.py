"""Small records of numbers: noisy classes around corners, and real values."""

import torch
from torch import Tensor, nn

FEATURES, CLASSES = 16, 3


def classes(n: int, seed: int, noise: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % CLASSES
    x = torch.randn(n, FEATURES, generator=generator)
    x[torch.arange(n), y] += 3.5
    drawn = torch.randint(CLASSES, (n,), generator=generator)
    return x, torch.where(torch.rand(n, generator=generator) < noise, drawn, y)


def values(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FEATURES, generator=generator)
    return x, (x[:, :1] - x[:, 1:2] + torch.randn(n, 1, generator=generator)).float()


class Net(nn.Module):
    """A network for these records, which may end in a softmax or a sigmoid."""

    def __init__(self, outputs: int = CLASSES, end: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 48), nn.ReLU(), nn.Linear(48, outputs))
        self.end = end or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.body(x))  # type: ignore[no-any-return]
