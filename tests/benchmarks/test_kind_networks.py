"""Networks and recipes of targets that are no classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Subset, TensorDataset

from benchmarks.harness import kind_networks
from benchmarks.harness.kind_networks import LossFit, sequence_loss
from benchmarks.harness.networks import Fit
from benchmarks.harness.problems import PROBLEMS, Problem
from benchmarks.harness.requests import margins_of
from benchmarks.harness.sets import Data

OTHERS = [p for p in PROBLEMS.values() if p.loss is not None]


def made_up(problem: Problem, records: int = 24) -> Data:
    """Random records of a problem's shapes."""
    generator = torch.Generator().manual_seed(0)
    if problem.key == "houses":
        return Data(torch.randn(records, 8, generator=generator), torch.randn(records, 1, generator=generator), records)
    if problem.key == "topics":
        x = torch.randint(0, 100, (records, 150), generator=generator)
        return Data(x, torch.randint(0, 2, (records, 40), generator=generator).float(), records)
    x = torch.randint(1, 27, (records, 20), generator=generator)
    y = x.roll(-1, 1)
    y[:, -1] = -100
    return Data(x, y, records)


@pytest.mark.parametrize("problem", OTHERS, ids=lambda p: p.key)
def test_a_network_gives_outputs_of_its_kind_and_learns(problem: Problem) -> None:
    data, kind = made_up(problem), problem.rules
    torch.manual_seed(0)
    model = problem.build()
    with torch.no_grad():
        outputs = model(data.x)
    width = outputs.shape[-1]
    assert kind.wrong_outputs(outputs, data.y) is None and kind.wrong_targets(data.y, width) is None
    usual = problem.fit(problem.usual)
    assert isinstance(usual, LossFit) and usual.loss is problem.loss
    losses = list(LossFit(30, 1e-2, batch=8, loss=usual.loss).passes(model, data.x, data.y, 0))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("problem", OTHERS, ids=lambda p: p.key)
def test_a_task_states_its_kind(problem: Problem) -> None:
    data = made_up(problem)
    small = Problem("made", lambda: data, problem.build, 8, 8, {8: 1}, {8: 1}, rules=problem.rules, loss=problem.loss)
    task = small.task(8)
    assert task.rules.key == problem.rules.key
    assert task.rules.measured(task.rules.labels(data.y[:8])) == task.rules  # what it must know is measured
    margins = margins_of(task, problem.build())
    assert margins.shape == (8,) and bool(margins.isfinite().all())


def test_by_the_loss_of_classes_a_recipe_is_the_usual_one() -> None:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    data = Subset(TensorDataset(x, (x[:, 0] > 0).long()), np.arange(0, 50, 2).tolist())
    models = []
    for fit in (Fit(3, 1e-2, batch=10), LossFit(3, 1e-2, batch=10)):
        torch.manual_seed(0)
        models.append(nn.Linear(4, 2))
        fit(models[-1], data, seed=1)
    assert torch.equal(models[0].weight, models[1].weight) and not models[1].training


def test_positions_that_are_ignored_do_not_count() -> None:
    logits = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(0, 7, (3, 5), generator=torch.Generator().manual_seed(1))
    targets[0, 2:], targets[2, 4] = kind_networks.IGNORED, kind_networks.IGNORED
    counts = targets != kind_networks.IGNORED
    assert torch.allclose(sequence_loss(logits, targets), F.cross_entropy(logits[counts], targets[counts]))
