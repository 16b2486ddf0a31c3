"""What several tests ask of a store."""

import copy
import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from efface import RequestError, UnlearnOptions
from efface.models.checkpoint import load_weights
from efface.store import RunPlan, Store, failpoints
from helpers.tiny import mlp, weights

DAY = datetime(2031, 5, 17, 12, tzinfo=UTC)


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Set the clock that stores read."""
    monkeypatch.setattr("efface.store.clock.now", lambda: moment)


def refused(call: Any, *args: Any, **kwargs: Any) -> tuple[str, ...]:
    """The problems of a refusal, one line each."""
    with pytest.raises(RequestError) as caught:
        call(*args, **kwargs)
    assert all("\n" not in line for line in caught.value.problems)
    return caught.value.problems


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def serving(store: Store) -> dict[str, bytes]:
    """The weights that the link in the store leads to."""
    model = mlp()
    load_weights(model, store.current)
    return weights(model)


def result_of(model: nn.Module, forget: Collection[str] = (), options: UnlearnOptions | None = None, **_: Any) -> Any:
    """What a double of `unlearn` returns: a model, and the first outputs that it was given without the forget set's."""
    given = None if options is None else options.first_outputs
    left = None
    if given is not None:
        left = given.rows(np.flatnonzero([name not in forget for name in given.ids]))
    cost = SimpleNamespace(cpu_s=0.0, record_trainings=0)
    return SimpleNamespace(model=model, reference=None, cost=cost, warnings=(), first_outputs=left)


def shift(model: nn.Module, *, forget: list[str], seed: int, **others: Any) -> Any:
    """The double of `unlearn`: a copy whose weights say who was forgotten."""
    number = int.from_bytes(hashlib.sha256(" ".join([*forget, str(seed)]).encode()).digest()[:2])
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += number / 2**23  # so little that its answers stay as good
    return result_of(made, forget, **others)


def interrupt(store: Store, plan: RunPlan, point: str) -> None:
    """Let a run die at a point, as if the disk were full there."""
    failpoints.arm(f"{point}:full")
    with pytest.raises(Exception, match="No space left on device"):
        store.run(plan)
    failpoints.disarm()


def pending(store: Store) -> list[int]:
    """The numbers of the requests that wait."""
    return [r.number for r in store.status().pending]


def loaded(store: Store, number: int) -> nn.Module:
    """The model of a version."""
    model = mlp()
    load_weights(model, store.path / "checkpoints" / f"{store.history().versions[number].file}.safetensors")
    return model
