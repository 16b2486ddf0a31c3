"""The last layer that each kind fits afresh, beside scikit-learn's of the same objective."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from efface.kinds.heads import RIDGE
from helpers.kind_table import KIND_ROWS, KindRow, normals

N, D = 150, 5
WITH_HEAD = {name: row for name, row in KIND_ROWS.items() if row.has_head}


def sklearn_logits(x: np.ndarray, y: np.ndarray, share: float) -> np.ndarray:
    """Logits of a logistic regression with mean loss + RIDGE / 2 |w|^2, where the mean counts `share`."""
    fitted = LogisticRegression(C=share / (RIDGE * len(x)), tol=1e-9, max_iter=10_000).fit(x, y)
    return np.asarray(fitted.decision_function(x))


def by_sklearn(row: KindRow, x: np.ndarray, labels: Tensor) -> np.ndarray:
    """What steps compare, by one or several models of scikit-learn."""
    y, key = labels.numpy(), row.kind.key
    if key == "classes":
        z = sklearn_logits(x, y, 1.0)
        return z - z.mean(1, keepdims=True)
    if key == "binary":  # the weights of two classes are half of the odds' each, so that their squares are half
        z = sklearn_logits(x, y, 2.0)
        return np.stack([-z, z], 1) / 2
    if key == "multilabel":
        return np.stack([sklearn_logits(x, one, 1 / y.shape[1]) for one in y.T], 1)
    unit = np.array(getattr(row.kind, "scale", ()) or (1.0,))
    return unit * Ridge(alpha=RIDGE * y.size, tol=1e-10).fit(x, y / unit).predict(x).reshape(y.shape)


@pytest.mark.parametrize("row", WITH_HEAD.values(), ids=WITH_HEAD)
def test_a_head_is_the_model_of_scikit_learn(row: KindRow) -> None:
    x = normals(N, D, seed=0) * torch.tensor([1.0, 5.0, 0.1, 2.0, 1.0]) + torch.arange(float(D))
    outputs, targets = row.draw(N, 0)
    kind, labels = row.kind, row.kind.labels(targets)
    if not kind.is_probable:  # something to learn
        labels = labels + x @ normals(D, labels.shape[1], seed=1)
    scaled = ((x - x.mean(0)) / x.std(0)).double().numpy()
    head = kind.head(x, labels, kind.values(outputs, targets))
    assert head is not None
    wanted = torch.from_numpy(by_sklearn(row, scaled, labels))
    torch.testing.assert_close(kind.compared(head(x)), wanted, rtol=1e-3, atol=2e-3)
    assert head(x[:1]).shape == (1, kind.values(outputs, targets).shape[1])


@pytest.mark.parametrize("row", [row for row in KIND_ROWS.values() if not row.has_head])
def test_some_kinds_know_no_such_layer(row: KindRow) -> None:
    outputs, targets = row.draw(4, 0)
    labels = row.kind.labels(targets)
    assert row.kind.head(normals(4, D, seed=0), labels, row.kind.values(outputs, targets)) is None
