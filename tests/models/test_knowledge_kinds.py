"""For every kind of outputs, untrained networks are refused and trained ones are not, however badly they are scaled."""

import pytest
import torch
from torch import Tensor, nn

from efface import MultiLabel, Regression, Tokens
from efface.data.checks import Findings
from efface.data.records import Records
from efface.kinds import CLASSES
from efface.models.kind import with_kind
from efface.models.knowledge import check_knowledge
from helpers.kinds import BUILDERS, KEYS, tiny_kind, train

ALIKE = pytest.mark.parametrize("key", KEYS)


def problems(key: str, model: nn.Module, **changes: object) -> list[str]:
    tiny, found = tiny_kind(key), Findings()
    task = tiny.task(**changes)
    task = with_kind(model, task, Records(task.train, task))
    check_knowledge(model, task, Records(task.train, task), found)
    return found.problems


@ALIKE
def test_an_untrained_network_is_refused_and_a_trained_one_is_not(key: str) -> None:
    torch.manual_seed(1)
    (line,) = problems(key, BUILDERS[key]())
    assert line.startswith("the model knows nothing of its training records: ")
    assert ("its R2" in line) is (key == "regression")
    assert problems(key, tiny_kind(key).model) == []


@ALIKE
def test_a_network_that_was_trained_a_little_is_taken(key: str) -> None:
    torch.manual_seed(0)
    little = train(key, BUILDERS[key](), *tiny_kind(key).data["train"].tensors, steps=40)
    assert problems(key, little) == []


def test_labels_whose_logits_are_shifted_and_scaled_are_known() -> None:
    """As those of a model that was trained with a weight on rare labels."""
    model = tiny_kind("multilabel").model
    assert problems("multilabel", model, forward=lambda m, x: 3 * m(x) + 30) == []


def test_small_real_values_that_correlate_by_luck_are_no_knowledge() -> None:
    """Of 40 untrained networks whose outputs are a tenth of the scale, few pass on targets that they never saw."""
    tiny = tiny_kind("regression")
    x, y = tiny.data["train"].tensors
    standard = torch.utils.data.TensorDataset(x, (y - y.mean(0)) / y.std(0))
    passed = 0
    for seed in range(40):
        torch.manual_seed(seed)
        passed += not problems("regression", BUILDERS["regression"](), train=standard)
    assert passed <= 4


@pytest.mark.parametrize(
    ("rules", "targets", "expected"),
    [
        (CLASSES, torch.tensor([0, 1, 1, 1]), [0.25, 0.75, 0.75, 0.75]),
        (MultiLabel(), torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 1]]), [3 / 8, 3 / 8, 3 / 8, 1 / 8]),
        (Tokens(), torch.tensor([[0, 0, -100], [1, 0, 1]]), [0.6, (0.4 * 0.6 * 0.4) ** (1 / 3)]),
    ],
)
def test_the_best_constant_answer_by_hand(rules: object, targets: Tensor, expected: list[float]) -> None:
    for batches in ([targets], [*targets.split(1)]):
        torch.testing.assert_close(rules.constant(batches).exp(), torch.tensor(expected, dtype=torch.float64))


def test_the_best_constant_answer_to_real_values_is_their_mean() -> None:
    constant = Regression(scale=(2.0,)).constant([torch.tensor([0.0, 4.0]), torch.tensor([8.0])])
    torch.testing.assert_close(constant, torch.tensor([-2.0, 0.0, -2.0], dtype=torch.float64))
