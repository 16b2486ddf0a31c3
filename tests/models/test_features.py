"""What a model computes below its last layer, and what a last layer fitted afresh to it still knows."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import efface
from efface import Task, UnlearnOptions
from efface.data.records import Records
from efface.kinds.heads import RIDGE, probe
from efface.metrics.membership import conditional_auc
from efface.models.features import penultimate
from efface.models.running import logits_of
from efface.numerics.logits import margin
from efface.runtime.cost import Meter
from helpers.memorised import FORGET, HOLDOUT, TRAIN, Memorised
from helpers.networks import Functional
from helpers.tiny import CLASSES, FEATURES, RECORDS, Tiny, bits, mlp

UNCHECKED = UnlearnOptions(evaluate=False, checks=False)  # of an untrained network


def features_of(task: Task, model: nn.Module, positions: Any, train: bool = True) -> tuple[Tensor, Tensor] | None:
    return penultimate(
        task, model, Records(task.train if train else task.holdout, task), np.asarray(positions), Meter()
    )


def test_features_are_what_the_last_layer_reads(tiny: Tiny) -> None:
    model, meter, at = tiny.fresh().train(), Meter(), np.array([5, 2, 9, 9, 100, 7, 0])
    before = bits(model)
    found = penultimate(tiny.task(batch_size=3), model, Records(tiny.task().train, tiny.task()), at, meter)
    assert found is not None
    features, logits = found
    assert features.shape == (7, 48) and features.dtype == logits.dtype == torch.float32
    assert torch.allclose(model[2](features), logits)  # type: ignore[index]
    assert torch.allclose(features, model[:2](tiny.x[at]))  # type: ignore[index]
    task = tiny.task()
    assert torch.allclose(logits, logits_of(task, model, Records(task.train, task), at, Meter()))
    assert not features.requires_grad and bits(model) == before
    assert not any(m._forward_hooks for m in model.modules())
    assert meter.cost().total.forward == 7


class Odd(nn.Module):
    """The head is registered first and called by name, after a layer with as many columns, and before a wider one."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, CLASSES)
        self.narrow = nn.Linear(FEATURES, CLASSES)
        self.wide = nn.Linear(CLASSES, 4)
        self.unused = nn.Linear(4, CLASSES)
        self.aside = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.wide(self.narrow(x)))
        logits = self.head(input=inner)
        return logits + 0 * self.aside(inner).sum()  # type: ignore[no-any-return]


class Averaged(nn.Module):
    """Logits of every half of the record, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(FEATURES // 2, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.reshape(len(x), 2, -1))).mean(1)  # type: ignore[no-any-return]


def test_the_last_layer_is_the_last_that_runs_and_fits(tiny: Tiny) -> None:
    model = Odd()
    found = features_of(tiny.task(), model, [0, 1, 2])
    assert found is not None and torch.allclose(found[0], F.relu(model.wide(model.narrow(tiny.x[:3]))))
    model = Averaged()
    found = features_of(tiny.task(), model, [0, 1, 2])
    inner = model.body(tiny.x[:3].reshape(3, 2, -1))
    assert found is not None and torch.allclose(found[0], inner.flatten(1))
    task = tiny.task()
    found = penultimate(task, model, Records(task.train, task), np.arange(3), Meter(), pooled=True)
    assert found is not None and torch.allclose(found[0], inner.mean(1))


class Stubborn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor) -> Tensor:
        self.inner(x)
        raise OSError("as users' models do")


def test_models_without_such_a_layer_have_no_features(tiny: Tiny) -> None:
    linear = nn.Linear(FEATURES, CLASSES)
    for model in (linear, nn.Sequential(nn.Flatten(), nn.Dropout(), linear), Functional()):
        assert features_of(tiny.task(), model, range(10)) is None
        assert not any(m._forward_hooks for m in model.modules())
    stubborn = Stubborn().train()
    with pytest.raises(OSError, match="as users"):
        features_of(tiny.task(), stubborn, range(10))
    assert not any(m._forward_hooks for m in stubborn.modules()) and stubborn.training


def test_sequences_of_several_lengths_have_no_common_features(tiny: Tiny) -> None:
    def cut(model: nn.Module, x: Tensor) -> Tensor:
        return model(x[:, None].expand(-1, len(x), -1)).mean(1)  # type: ignore[no-any-return]

    assert features_of(tiny.task(forward=cut, batch_size=4), tiny.model, range(6)) is None
    assert features_of(tiny.task(forward=cut, batch_size=3), tiny.model, range(6)) is not None


class Padded(nn.Module):
    """A transformer that packs padded records into nested tensors, as torch does by default in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(FEATURES, 2, 16, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(x))  # type: ignore[no-any-return]

    def read(self, x: Tensor) -> Tensor:
        padding = torch.zeros(len(x), 3, dtype=torch.bool)
        padding[:, 2] = x[:, 0] > 0
        steps = x[:, None] * torch.arange(1.0, 4.0)[:, None]
        return self.encoder(steps, src_key_padding_mask=padding)[:, 0]  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_layers_may_read_nested_tensors(tiny: Tiny) -> None:
    torch.manual_seed(0)
    model, task = Padded().eval(), tiny.task()
    with torch.no_grad():
        expected = model.read(tiny.x[:6])
    found = features_of(task, model, range(6))
    assert found is not None and torch.allclose(found[0], expected, atol=1e-5)
    run = efface.unlearn(model, forget=tiny.forget, task=task, method="fnn", options=UNCHECKED)
    assert run.model is not model


def test_the_head_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, generator=generator) * torch.logspace(-2, 3, 8)
    y = (x / torch.logspace(-2, 3, 8))[:, :4].argmax(1)
    y[::7] = (y[::7] + 1) % 4
    scaled = ((x - x.mean(0)) / x.std(0).clamp_min(1e-3 * float(x.std(0).max()))).numpy()
    theirs = LogisticRegression(C=1 / (RIDGE * 300), tol=1e-8, max_iter=1000).fit(scaled, y.numpy())
    found = probe(x, y, 4)(x)
    assert found.shape == (300, 4) and found.dtype == torch.float64
    expected = torch.from_numpy(theirs.predict_proba(scaled))
    assert found.softmax(1).numpy() == pytest.approx(expected.numpy(), abs=5e-3)
    with torch.no_grad():
        assert torch.equal(probe(x, y, 4)(x), found)


def test_the_head_stands_odd_features_and_absent_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 5, generator=generator)
    y = (x[:, 0] > 0).long()
    x[:, 3], x[:, 4] = 0.1, 1e-9 * x[:, 4]
    strange = x.clone()
    strange[:, 3:] = 1.0
    logits = probe(x, y, 4)(strange)
    assert bool(logits.isfinite().all()) and float((logits.argmax(1) == y).double().mean()) > 0.9
    assert bool(torch.isfinite(probe(torch.ones(20, 3), y[:20], 2)(torch.ones(4, 3))).all())


def auc(known: Memorised, model: nn.Module, refit: bool) -> float:
    """How well the margin tells forget records from nonmembers: the model's own, or that of a head fitted afresh."""
    retain = np.setdiff1d(np.arange(TRAIN), FORGET)
    task, nonmembers = known.task, np.arange(HOLDOUT)
    targets = Records(task.holdout, task).targets(nonmembers)
    seen = [features_of(task, model, at, train) for at, train in ((retain, True), (FORGET, True), (nonmembers, False))]
    assert all(s is not None for s in seen)
    (fit_on, _), (members, own), (others, theirs) = (s for s in seen if s is not None)
    if refit:
        head = probe(fit_on, known.y[retain], CLASSES)
        own, theirs = head(members), head(others)
    return conditional_auc(margin(own, known.y[list(FORGET)]), margin(theirs, targets)).value


def test_a_fresh_head_shows_what_a_last_layer_hides(known: Memorised) -> None:
    """A last layer alone that was trained again from nothing gives the same evidence as the original's."""
    hidden = copy.deepcopy(known.original)
    assert isinstance(hidden, nn.Sequential)
    with torch.no_grad():
        hidden[2].weight.copy_(torch.randn(hidden[2].weight.shape, generator=torch.Generator().manual_seed(0)))
    retrained = [auc(known, m, refit=True) for m in known.retrained]
    assert auc(known, hidden, refit=False) < 0.6, "nothing is seen at its output"
    assert auc(known, hidden, refit=True) == pytest.approx(auc(known, known.original, refit=True), abs=1e-6)
    assert auc(known, hidden, refit=True) > max(retrained) + 0.05
    assert np.mean(retrained) == pytest.approx(0.5, abs=0.1)


def test_a_request_may_hold_every_record(tiny: Tiny) -> None:
    assert features_of(tiny.task(), tiny.model, range(RECORDS)) is not None
