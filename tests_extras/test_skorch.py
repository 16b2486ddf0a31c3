"""skorch: nets with every end of a module as tasks, and nets that predict and load as skorch's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import ValidSplit
from torch import nn

import efface
from efface.integrations.skorch import make_net, make_task
from efface.kinds import Binary, Classes, Regression
from efface.models.init import fresh_model
from extras.pages import code_lines, run_page
from extras.rows import Net, classes, values
from extras.runs import FORGET, forgot, margins, moved, unlearn

X, y = (t.numpy() for t in classes(300, 0))
X_UNSEEN, y_UNSEEN = (t.numpy() for t in classes(200, 1))
HOLDOUT = (X_UNSEEN, y_UNSEEN)
FITTING: dict[str, Any] = {"optimizer": torch.optim.Adam, "lr": 5e-3, "max_epochs": 25, "batch_size": 50, "verbose": 0}


def fitted(kind: Any = NeuralNetClassifier, end: nn.Module | None = None, **more: Any) -> Any:
    torch.manual_seed(0)
    return kind(Net, module__end=end, **{**FITTING, **more}).fit(X, y)


@pytest.fixture(scope="module")
def net() -> Any:
    """skorch's default: the module ends in a softmax, and a fifth of the rows is set aside."""
    return fitted(end=nn.Softmax(-1))


@pytest.fixture(scope="module")
def result(net: Any) -> efface.Result:
    return unlearn(net.module_, make_task(net, X, y, holdout=HOLDOUT), forget=_trained(net)[:30])


def _trained(net: Any) -> list[int]:
    return [int(i) for i in net.get_split_datasets(X, y)[0].indices]


def test_a_net_with_a_softmax_end_is_unlearned_and_given_back(result: efface.Result, net: Any, tmp_path: Path) -> None:
    forgot(result)
    new = make_net(result, net)
    assert isinstance(new, NeuralNetClassifier) and len(new.history_) == 0
    assert moved(new.module_, result.model) == set() and moved(new.module_, net.module_)
    assert not new.optimizer_.state and net.optimizer_.state, "running means of the optimiser remember the records"
    assert new.score(*HOLDOUT) > 0.6
    new.save_params(f_params=tmp_path / "p.safetensors", use_safetensors=True)
    loaded = NeuralNetClassifier(Net, module__end=nn.Softmax(-1), **FITTING).initialize()
    loaded.load_params(f_params=tmp_path / "p.safetensors", use_safetensors=True)
    assert np.allclose(loaded.predict_proba(X), new.predict_proba(X))


def test_rows_of_validation_are_no_training_records(result: efface.Result, net: Any) -> None:
    assert len(result.task.train) == 240 and list(result.task.ids) == _trained(net)
    left_out = sorted(set(range(300)) - set(_trained(net)))
    with pytest.raises(efface.RequestError):
        efface.check(net.module_, task=result.task, forget=left_out[:3])
    named = make_task(net, X, y, holdout=HOLDOUT, ids=[f"row-{k}" for k in range(300)])
    assert list(named.ids) == [f"row-{k}" for k in _trained(net)]
    drawn = fitted(end=nn.Softmax(-1), max_epochs=1, train_split=ValidSplit(0.2))
    with pytest.raises(efface.RequestError, match="draws other rows each time"):
        make_task(drawn, X, y, holdout=HOLDOUT)


def test_a_module_that_ends_in_logits_gives_the_same_task() -> None:
    net = fitted(criterion=nn.CrossEntropyLoss, train_split=None)
    task = make_task(net, X, y, holdout=HOLDOUT)
    assert task.kind == Classes() and len(task.train) == 300
    soft = fitted(end=nn.Softmax(-1), train_split=None, max_epochs=1)
    soft.module_.load_state_dict(net.module_.state_dict())
    expected = margins(net.module_, task, FORGET)
    given = margins(soft.module_, make_task(soft, X, y, holdout=HOLDOUT), FORGET)
    assert torch.allclose(given, expected, atol=1e-2), "a softmax taken for logits would halve every margin"


def test_the_fit_is_the_nets_own(result: efface.Result, net: Any) -> None:
    fresh = fresh_model(result.task, net.module_, 4)
    assert moved(fresh, net.module_)
    trained = result.task.fit(fresh, torch.utils.data.Subset(result.task.train, list(range(30, 240))), 4)
    assert margins(trained, result.task, list(range(30, 90))).mean() > 2


def test_kinds_and_ends_are_those_of_the_criterion() -> None:
    torch.manual_seed(0)
    x, target = (t.numpy() for t in values(300, 0))
    net = NeuralNetRegressor(Net, module__outputs=1, **FITTING).fit(x, target)
    task = make_task(net, x, target, holdout=tuple(t.numpy() for t in values(200, 1)))
    assert task.kind == Regression() and margins(net.module_, task, FORGET).shape == (30,)
    two = (y == 0).astype(np.float32)
    pair = NeuralNetBinaryClassifier(Net, module__outputs=1, **FITTING).fit(X, two)
    held = (X_UNSEEN, (y_UNSEEN == 0).astype(np.float32))
    task = make_task(pair, X, two, holdout=held)
    assert task.kind == Binary() and margins(pair.module_, task, FORGET).shape == (30,)
    odd = fitted(criterion=nn.MultiMarginLoss, max_epochs=1)
    with pytest.raises(efface.RequestError, match="NeuralNetClassifier with MultiMarginLoss"):
        make_task(odd, X, y, holdout=HOLDOUT)


def test_what_is_no_fitted_net_is_refused() -> None:
    with pytest.raises(efface.RequestError, match="expected a skorch net, got Net"):
        make_task(Net(), X, y, holdout=HOLDOUT)
    with pytest.raises(efface.RequestError, match="not fitted"):
        make_task(NeuralNetClassifier(Net), X, y, holdout=HOLDOUT)


def test_the_page_runs_in_five_lines(net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = {"net": net, "X": X, "y": y, "X_holdout": X_UNSEEN, "y_holdout": y_UNSEEN}
    names = run_page("skorch", world | {"forget_ids": _trained(net)[:3]})
    assert names["new_net"].predict(X).shape == (300,)
    assert len(code_lines("skorch")) <= 5


def test_a_net_given_as_a_network_names_what_makes_the_task(net: Any, result: efface.Result) -> None:
    with pytest.raises(efface.RequestError, match=r"its \.module_; or efface\.integrations\.skorch\.make_task"):
        efface.check(net, task=result.task, forget=_trained(net)[:3])
