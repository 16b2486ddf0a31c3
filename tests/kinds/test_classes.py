"""Classes that a model masks or that are erased, and one logit as a special case of two."""

import pytest
import torch
from torch import Tensor

from efface.kinds import Binary, Classes
from efface.numerics.logits import MASKED
from helpers.kind_table import integers, normals

N, C = 31, 4
KIND, BINARY = Classes(), Binary()


def with_a_masked_class(mask: float) -> tuple[Tensor, Tensor, Tensor]:
    """Values with class 2 masked, those without it, and labels among the others."""
    few, y = normals(N, C - 1, seed=0), integers(C - 1, N, seed=0)
    where = [0, 1, 3]
    outputs = torch.full((N, C), mask).index_copy(1, torch.tensor(where), few)
    labels = torch.tensor(where)[y]
    return KIND.values(outputs, labels), KIND.values(few, y), labels


@pytest.mark.parametrize("mask", [-1e4, -torch.inf, torch.finfo(torch.float32).min])
def test_a_masked_class_counts_for_nothing(mask: float) -> None:
    values, few, labels = with_a_masked_class(mask)
    own = labels.where(labels < 3, 2)
    for name in ("losses", "margin", "log_likelihood", "useful", "other", "modified_sureness"):
        found, wanted = getattr(KIND, name)(values, labels), getattr(KIND, name)(few, own)
        torch.testing.assert_close(found, wanted, msg=name)
    for name in ("confidence", "sureness"):
        torch.testing.assert_close(getattr(KIND, name)(values), getattr(KIND, name)(few), msg=name)
    compared = KIND.compared(values.double())
    assert torch.equal(KIND.is_hidden(compared), torch.tensor([False, False, True, False]).expand(N, -1))
    torch.testing.assert_close(compared[:, [0, 1, 3]], KIND.compared(few.double()))
    assert bool(compared.isfinite().all()) and KIND.shown(compared) == 3
    hidden = KIND.hide_like(torch.zeros(N, C, dtype=torch.float64), compared)
    assert torch.equal(hidden, torch.tensor([0.0, 0.0, MASKED, 0.0], dtype=torch.float64).expand(N, -1))


def test_a_masked_class_has_no_head() -> None:
    values, _, labels = with_a_masked_class(-1e4)
    head = KIND.head(normals(N, 3, seed=1), labels, values)
    assert head is not None
    found = head(normals(5, 3, seed=2))
    assert bool((found[:, 2] == MASKED).all()) and bool(found[:, [0, 1, 3]].abs().max() < 100)


def test_an_erased_class_is_as_low_as_the_lowest_other() -> None:
    values, labels = normals(N, C, seed=3).double(), integers(C, N, seed=3)
    erased = KIND.erase(values, (1,))
    kept = erased[:, [0, 2, 3]]
    torch.testing.assert_close(erased[:, 1], kept.amin(1))
    torch.testing.assert_close(kept.mean(1), torch.zeros(N, dtype=torch.float64))
    torch.testing.assert_close(kept - kept[:, :1], values[:, [0, 2, 3]] - values[:, :1])
    assert torch.equal(KIND.is_erased(labels, (1,)), labels == 1)


def test_the_label_is_the_first_coordinate_then_come_the_likeliest() -> None:
    expected, labels = KIND.compared(normals(N, C, seed=4).double()), integers(C, N, seed=4)
    aligned = KIND.aligned(expected, expected, labels)
    assert aligned[:, 0].tolist() == expected.gather(1, labels[:, None]).squeeze(1).tolist()
    assert bool((aligned[:, 1:].diff(dim=1) <= 0).all())


def test_one_logit_is_two_classes_in_every_function() -> None:
    z, y = normals(N, seed=5), integers(2, N, seed=5)
    one = BINARY.values(z, y)
    two = KIND.values(torch.stack([-z / 2, z / 2], 1), y)  # the same odds, at another level
    for name in ("losses", "margin", "log_likelihood", "useful", "modified_sureness"):
        torch.testing.assert_close(getattr(BINARY, name)(one, y), getattr(KIND, name)(two, y), msg=name)
    for name in ("confidence", "sureness"):
        torch.testing.assert_close(getattr(BINARY, name)(one), getattr(KIND, name)(two), msg=name)
    assert BINARY.other(one, y) is None is KIND.other(two, y)
    compared = BINARY.compared(one.double())
    torch.testing.assert_close(compared, KIND.compared(two.double()))
    wanted, expected = normals(N, seed=6).double(), KIND.compared(normals(N, 2, seed=7).double())
    for name, args in {"with_margin": (y, wanted), "aligned": (expected, y), "aligned_step": (expected, y)}.items():
        assert torch.equal(getattr(BINARY, name)(compared, *args), getattr(KIND, name)(compared, *args)), name
    assert torch.equal(BINARY.guessed(y), KIND.guessed(y))
    features = normals(N, 3, seed=8)
    heads = BINARY.head(features, y, one), KIND.head(features, y, two)
    assert heads[0] is not None and heads[1] is not None
    torch.testing.assert_close(heads[0](features), heads[1](features))


def test_targets_of_one_logit_may_be_of_any_type_and_shape() -> None:
    z, y = normals(N, seed=5), integers(2, N, seed=5)
    for targets in (y.bool(), y.float(), y[:, None].double(), y[:, None]):
        assert torch.equal(BINARY.labels(targets), y)
        torch.testing.assert_close(
            BINARY.losses(BINARY.values(z[:, None], targets), targets), BINARY.losses(BINARY.values(z, y), y)
        )
