"""What every kind of outputs promises, by the contract table: each test runs on each row."""

import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import efface.kinds
from efface.kinds import KINDS, Kind, find_kind, kind_by_key
from helpers.kind_table import KIND_ROWS, KindRow

N = 23
ROWS = pytest.mark.parametrize("row", KIND_ROWS.values(), ids=KIND_ROWS)


def drawn(row: KindRow, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Values and labels."""
    outputs, targets = row.draw(N, seed)
    return row.kind.values(outputs, targets), row.kind.labels(targets)


def expected_of(row: KindRow) -> tuple[Tensor, Tensor, Tensor]:
    """Compared values, those of another model of the same records, and labels; float64."""
    outputs, targets = row.draw(N, 0)
    others = row.draw(N, 7)[0]
    both = (row.kind.compared(row.kind.values(o, targets).double()) for o in (outputs, others))
    return (*both, row.kind.labels(targets))


def statistics(kind: Kind, values: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Everything that a kind says of single records."""
    found: dict[str, Any] = {
        "losses": kind.losses(values, labels),
        "margin": kind.margin(values, labels),
        "log_likelihood": kind.log_likelihood(values, labels),
        "useful": kind.useful(values, labels),
        "other": kind.other(values, labels),
        "confidence": kind.confidence(values),
        "sureness": kind.sureness(values),
        "modified_sureness": kind.modified_sureness(values, labels),
    }
    return {name: value for name, value in found.items() if value is not None}


def test_every_kind_has_a_row_and_is_in_the_registry() -> None:
    defined = {
        value
        for module in pkgutil.iter_modules(efface.kinds.__path__)
        for value in vars(importlib.import_module(f"efface.kinds.{module.name}")).values()
        if inspect.isclass(value) and issubclass(value, Kind) and not inspect.isabstract(value)
    }
    assert defined == set(KINDS.values()) == {type(row.kind) for row in KIND_ROWS.values()}
    assert all(key == kind.key and kind.title and kind.__doc__ for key, kind in KINDS.items())
    assert all(type(kind_by_key(key)) is kind for key, kind in KINDS.items())


@ROWS
def test_it_is_found_and_no_other_kind_is(row: KindRow) -> None:
    for seed in range(5):
        given_to = row.draw(N, seed)
        assert type(find_kind(*given_to)) is type(row.kind)
        assert [kind for kind in KINDS.values() if kind.found(*given_to)] == [type(row.kind)]


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (torch.zeros(2, 3), torch.tensor([[0.0, 1, 0], [1, 0, 0]])),  # one-hot rows: classes, or labels of which one is
        (torch.zeros(4), torch.tensor([2, 0, 7, 1])),  # counts, or classes of a model with one output by mistake
        (torch.zeros(2, 4), torch.tensor([0.5, 1.5])),  # four values for one
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8).long()),  # pictures of classes
    ],
)
def test_what_may_be_of_several_kinds_or_of_none_must_be_stated(outputs: Tensor, targets: Tensor) -> None:
    assert find_kind(outputs, targets) is None


@ROWS
def test_wrong_outputs_and_targets_are_refused_in_words(row: KindRow) -> None:
    outputs, targets = row.draw(N, 0)
    width = outputs.shape[-1] if outputs.ndim > 1 else 1
    assert row.kind.wrong_outputs(outputs, targets) is None
    for known in (width, None):
        assert row.kind.wrong_targets(targets, known) is None
    for wrong, beside in row.wrong_outputs:
        said = row.kind.wrong_outputs(wrong, beside)
        assert said is not None and "records" in said, (wrong.shape, beside.shape)
    for wrong, width_given, words in row.wrong_targets:
        said = row.kind.wrong_targets(wrong, width_given)
        assert said is not None and re.search(words, said), said


@ROWS
def test_a_row_of_values_and_one_of_labels_are_kept_of_each_record(row: KindRow) -> None:
    outputs, targets = row.draw(N, 0)
    values, labels = drawn(row)
    assert values.shape[0] == len(labels) == N and values.ndim == 2 and values.dtype == torch.float32
    assert torch.equal(row.kind.labels(labels), labels), "labels of labels are the same"
    again = row.kind.values(outputs, targets)
    again += 1  # nobody else holds them
    assert torch.equal(row.kind.values(outputs, targets), values)
    assert torch.equal(row.kind.values(outputs.half().float(), targets), row.kind.values(outputs.half(), targets))


@ROWS
def test_each_record_counts_alone(row: KindRow) -> None:
    outputs, targets = row.draw(N, 0)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    values, labels = drawn(row)
    torch.testing.assert_close(row.kind.values(outputs[order], targets[order]), values[order])
    whole, mixed = statistics(row.kind, values, labels), statistics(row.kind, values[order], labels[order])
    for name, found in whole.items():
        assert found.shape == (N,), name
        torch.testing.assert_close(mixed[name], found[order], msg=name)


@ROWS
def test_the_loss_is_the_one_of_torch(row: KindRow) -> None:
    outputs, targets = row.draw(N, 1)
    values, wanted = row.kind.values(outputs, targets), row.losses(outputs, targets)
    for known in (targets, row.kind.labels(targets)):  # training has the targets, an audit the labels
        torch.testing.assert_close(row.kind.losses(values, known), wanted)
        torch.testing.assert_close(row.kind.loss(values, known), wanted.mean())
    assert bool((row.kind.losses(values, targets) >= 0).all())


@ROWS
def test_margin_and_likelihood_are_their_formulas(row: KindRow) -> None:
    outputs, targets = row.draw(N, 2)
    values, labels = row.kind.values(outputs, targets), row.kind.labels(targets)
    found = {"margin": row.kind.margin(values, labels), "likelihood": row.kind.log_likelihood(values, labels)}
    slow = {"margin": row.margin, "likelihood": row.likelihood}
    for name, formula in slow.items():
        wanted = [formula(z, y) for z, y in zip(outputs.double().tolist(), targets.tolist(), strict=True)]
        assert found[name].dtype == torch.float64
        assert found[name].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-5), name
    assert bool((found["likelihood"] <= 0).all())
    # a record of which the model is surer of the target has the higher margin
    assert found["margin"].argsort().tolist() == found["likelihood"].argsort().tolist()


@ROWS
def test_margins_are_the_same_of_what_is_compared(row: KindRow) -> None:
    values, labels = drawn(row)
    compared = row.kind.compared(values.double())
    torch.testing.assert_close(row.kind.margin(compared, labels), row.kind.margin(values, labels), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(row.kind.compared(compared), compared)
    torch.testing.assert_close(row.kind.erase(values.double()), compared)
    hidden = row.kind.is_hidden(compared)
    assert hidden.shape == compared.shape and not bool(hidden.any())
    assert row.kind.shown(compared) == compared.shape[1]


@ROWS
def test_gradients_are_those_of_finite_differences(row: KindRow) -> None:
    outputs, targets = row.draw(N, 3)
    labels = row.kind.labels(targets)
    pull = {
        "losses": lambda z: row.kind.losses(row.kind.values(z, targets), targets),
        "margin": lambda z: row.kind.margin(row.kind.values(z, targets), labels),
        "compared": lambda z: row.kind.compared(row.kind.values(z, targets)).sin().sum(1),
    }
    generator = torch.Generator().manual_seed(0)
    for name, function in pull.items():
        z = outputs.clone().requires_grad_()
        grad = torch.autograd.grad(function(z).sum(), z)[0].double()
        for _ in range(3):
            way = torch.randn(outputs.shape, generator=generator)
            slope = (function(outputs + 1e-3 * way) - function(outputs - 1e-3 * way)).double() / 2e-3
            found = (grad * way).flatten(1).sum(1) if grad.ndim > 1 else grad * way
            torch.testing.assert_close(found, slope, rtol=5e-3, atol=5e-3, msg=lambda m, name=name: f"{name}: {m}")


@ROWS
def test_useful_and_guessed_are_shares(row: KindRow) -> None:
    values, labels = drawn(row)
    for share in (row.kind.useful(values, labels), row.kind.guessed(labels)):
        assert share.shape == (N,) and share.dtype == torch.float64 and float(share.max()) <= 1
        assert not row.kind.is_probable or float(share.min()) >= 0
    measured = row.kind.measured(labels)
    assert type(measured) is type(row.kind) and measured.measured(labels) == measured


@ROWS
def test_probabilities_bound_each_other(row: KindRow) -> None:
    values, labels = drawn(row)
    confidence, sureness = row.kind.confidence(values), row.kind.sureness(values)
    if not row.kind.is_probable:
        assert confidence is None and sureness is None and row.kind.modified_sureness(values, labels) is None
        return
    assert confidence is not None and sureness is not None
    assert bool((confidence >= row.kind.log_likelihood(values, labels) - 1e-6).all())
    # the mean of log p is at most its maximum
    assert bool((sureness <= confidence + 1e-6).all()) and bool((confidence <= 0).all())


@ROWS
@settings(max_examples=25, deadline=None)
@given(share=st.lists(st.floats(0, 1), min_size=N, max_size=N), seed=st.integers(0, 100))
def test_with_margin_gives_the_margin_that_is_wanted(row: KindRow, share: list[float], seed: int) -> None:
    values, labels = drawn(row, seed)
    low, high = row.margins
    wanted = low + (high - low) * torch.tensor(share, dtype=torch.float64)
    compared = row.kind.compared(values.double())
    moved = row.kind.with_margin(compared, labels, wanted)
    assert moved.shape == compared.shape and moved.dtype == compared.dtype
    torch.testing.assert_close(row.kind.margin(moved, labels), wanted, rtol=1e-6, atol=1e-6)
    own = row.kind.with_margin(compared, labels, row.kind.margin(compared, labels))
    torch.testing.assert_close(own, compared, rtol=1e-6, atol=1e-6)


@ROWS
def test_aligned_has_an_inverse_and_keeps_the_size_of_steps(row: KindRow) -> None:
    compared, expected, labels = expected_of(row)
    aligned = row.kind.aligned(compared, expected, labels)
    torch.testing.assert_close(row.kind.unaligned(aligned, expected, labels), compared)
    step = compared - expected
    found = row.kind.aligned_step(step, expected, labels)
    torch.testing.assert_close(row.kind.aligned(expected, expected, labels) + found, aligned)
    # a step keeps its size, whatever the record's target
    torch.testing.assert_close(found.abs().sort(1).values, step.abs().sort(1).values)


def taught(row: KindRow, outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs that steps down the loss made right."""
    z = outputs.clone().requires_grad_()
    for _ in range(200):
        loss = row.kind.losses(row.kind.values(z, targets), targets).sum()
        z = (z - 0.5 * torch.autograd.grad(loss, z)[0]).detach().requires_grad_()
    return z.detach()


@ROWS
def test_right_answers_are_known_better_and_are_useful(row: KindRow) -> None:
    outputs, targets = row.draw(N, 5)
    labels = row.kind.labels(targets)
    after = row.kind.values(taught(row, outputs, targets), targets)
    assert bool((row.kind.margin(after, labels) > row.kind.margin(row.kind.values(outputs, targets), labels)).all())
    assert float(row.kind.useful(after, labels).mean()) > 0.95


@ROWS
@pytest.mark.parametrize("size", [1e4, 60.0, 1e-4, 0.0])
@pytest.mark.parametrize("are_right", [False, True])
def test_extreme_outputs_stay_finite(row: KindRow, size: float, are_right: bool) -> None:
    outputs, targets = row.draw(N, 4)
    labels = row.kind.labels(targets)
    extreme = size * (taught(row, outputs, targets) if are_right else outputs.sign()).requires_grad_()
    values = row.kind.values(extreme, targets)
    found = statistics(row.kind, values, labels)
    assert [name for name, v in found.items() if not bool(v.isfinite().all())] == []
    compared = row.kind.compared(values.double()).detach()
    wanted = torch.full((N,), sum(row.margins) / 2, dtype=torch.float64)
    torch.testing.assert_close(row.kind.margin(row.kind.with_margin(compared, labels, wanted), labels), wanted)
    for name in ("losses", "margin"):
        (grad,) = torch.autograd.grad(found[name].sum(), extreme, retain_graph=True)
        assert bool(grad.isfinite().all()), name


@ROWS
def test_whether_there_is_one_class_is_said_alike(row: KindRow) -> None:
    _, labels = drawn(row)
    classes = row.kind.classes(labels)
    assert (classes is not None) == row.kind.has_classes
    of_class = torch.zeros(N, dtype=torch.bool) if classes is None else classes == 1
    assert torch.equal(row.kind.is_erased(labels, (1,)), of_class)
