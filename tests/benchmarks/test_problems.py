"""Problems of the benchmark: sizes, tasks, and slightly changed copies of records."""

from dataclasses import replace

import pytest
import torch

from benchmarks.harness import problems
from benchmarks.harness.networks import tensors_of
from benchmarks.harness.problems import PROBLEMS, problem
from efface.errors import RequestError

DIGITS = PROBLEMS["noisy-digits"]


def test_problems_come_in_sizes_of_which_one_is_usual() -> None:
    for key, p in PROBLEMS.items():
        assert p.key == key and p.epochs.keys() == p.early.keys() and p.nonmembers in ("test", "holdout")
        assert all(p.early[n] <= p.epochs[n] for n in p.sizes)
    with_50000 = replace(DIGITS, epochs={5000: 1, 50000: 1})
    assert (PROBLEMS["fashion"].usual, DIGITS.usual, with_50000.usual) == (15000, 600, 5000)


@pytest.mark.parametrize("key", PROBLEMS)
def test_every_problem_has_a_usual_size(key: str) -> None:
    assert problem(key).usual in problem(key).sizes


def test_an_unknown_problem_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"there is no problem 'adutl' \(did you mean 'adult'\?\)"):
        problem("adutl")


def test_a_task_keeps_training_holdout_and_test_records_apart() -> None:
    task = DIGITS.task(600)
    parts = [tensors_of(d) for d in (task.train, task.holdout, task.test)]
    assert [len(y) for _, y in parts] == [600, 600, 597]
    assert len(torch.unique(torch.cat([x for x, _ in parts]), dim=0)) == 1797
    other = torch.zeros(600, dtype=torch.int64)
    assert torch.equal(tensors_of(DIGITS.task(600, other).train)[1], other)


def test_copies_of_records_differ_slightly_and_by_the_generator_alone() -> None:
    rows = torch.randint(0, 16, (50, 16), generator=torch.Generator().manual_seed(0)).float()
    words = torch.randint(1, 100, (50, 200), generator=torch.Generator().manual_seed(0))
    strokes = torch.full((50, 16), 50.0)
    for change_of, x in (
        (problems.nudge, rows),
        (problems.jitter, rows),
        (problems.drop_words, words),
        (problems.waver, strokes),
    ):
        first, again = (change_of(x, torch.Generator().manual_seed(1)) for _ in range(2))
        assert torch.equal(first, again) and first.shape == x.shape and first.dtype == x.dtype
        assert 0 < float((first != x).double().mean()) < 0.5
    assert problems.nudge(rows, torch.Generator()).sub(rows).abs().max() == 1
    assert set(problems.waver(strokes, torch.Generator()).unique().tolist()) == {40.0, 50.0, 60.0}
