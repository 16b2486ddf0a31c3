"""Steer on each kind: forget records end nearer to models that were trained without them than they were."""

from functools import cache

import pytest
import torch
from torch import Tensor

import efface
from efface.kinds import kind_by_key
from efface.numerics.logits import symlog
from helpers.kinds import BUILDERS, KEYS, tiny_kind, train

RETRAINED = 3


@cache
def distances(key: str) -> tuple[float, float]:
    """The mean squared distance of margins from the retrained models' mean, before and after."""
    case = tiny_kind(key)
    x, y = case.data["train"].tensors
    forget = torch.tensor(case.forget)
    kind = kind_by_key(key).measured(kind_by_key(key).labels(y))
    keep = torch.ones(len(x), dtype=torch.bool).index_fill(0, forget, False)

    @torch.no_grad()
    def margins(model: torch.nn.Module) -> Tensor:
        values = kind.values(model(x[forget]), y[forget])
        return symlog(kind.margin(values, kind.labels(y[forget])))

    others = []
    for seed in range(RETRAINED):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(100 + seed)
            others.append(margins(train(key, BUILDERS[key](), x[keep], y[keep])))
    wanted = torch.stack(others).mean(0)
    result = efface.unlearn(case.fresh(), task=case.task(), forget=list(case.forget), method="steer", seed=0)
    return tuple(float((margins(m) - wanted).square().mean()) for m in (case.model, result.model))  # type: ignore[return-value]


@pytest.mark.parametrize("key", KEYS)
def test_forget_records_end_nearer_to_retrained_models(key: str) -> None:
    before, after = distances(key)
    assert after < 0.6 * before
