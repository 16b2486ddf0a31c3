"""How many bytes of tensors are alive at a time, which unlike a process's memory is the same on every run."""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class Peak:
    """The bytes that were made within a block and are alive, and the most that ever were."""

    alive: int = 0
    most: int = 0


class _Counting(TorchDispatchMode):
    def __init__(self, peak: Peak) -> None:
        super().__init__()
        self._peak, self._seen = peak, weakref.WeakSet[Any]()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(given):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return given

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._seen:
            return
        self._seen.add(storage)
        size, peak = storage.nbytes(), self._peak
        peak.alive += size
        peak.most = max(peak.most, peak.alive)

        def freed() -> None:
            peak.alive -= size

        weakref.finalize(storage, freed)


@contextmanager
def live_memory() -> Iterator[Peak]:
    """Count the storages of all tensors that are made within the block."""
    peak = Peak()
    with _Counting(peak):
        yield peak
