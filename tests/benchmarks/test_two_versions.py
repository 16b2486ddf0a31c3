"""What two versions tell of who left: the figures by hand."""

import pytest
import torch

from benchmarks.two_versions import ATTACKS, Answers, among_first, auc, interval


def test_an_auc_counts_ties_half() -> None:
    assert auc(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0])) == 3.5 / 4
    assert auc(torch.tensor([1.0]), torch.tensor([1.0, 1.0])) == 0.5


def test_those_found_first_share_a_place_that_is_tied() -> None:
    left = torch.tensor([True, True, False, False])
    assert among_first(torch.tensor([3.0, 0.0, 2.0, 1.0]), left) == 0.5
    assert among_first(torch.tensor([3.0, 2.0, 2.0, 1.0]), left) == 0.75
    assert among_first(torch.zeros(4), left) == 0.5


def test_every_attack_is_higher_for_a_record_that_left() -> None:
    before = torch.tensor([[4.0, 0.0, 0.0], [4.0, 0.0, 0.0]]).double()
    after = torch.tensor([[0.0, 1.0, 0.0], [4.0, 0.0, 0.0]]).double()
    answers = Answers(before, after, torch.tensor([0, 0]))
    scores = {name: attack(answers).tolist() for name, attack in ATTACKS.items()}
    assert all(one > other for name, (one, other) in scores.items() if name != "before alone")
    assert scores["label only"] == [1.0, 0.0]
    assert scores["margin fell"] == pytest.approx([4 - -1, 0], abs=1.0)


def test_an_interval_needs_two_seeds() -> None:
    assert interval([]) == "-" and interval([0.5]) == "0.500"
    assert interval([0.4, 0.6]).startswith("0.500 ±")
