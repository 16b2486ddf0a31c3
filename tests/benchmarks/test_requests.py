"""Kinds of deletion requests: which records each takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.harness import requests, sets
from benchmarks.harness.networks import tensors_of
from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import KINDS, BenchRequest, make_request
from efface.types import Indices

DIGITS = PROBLEMS["noisy-digits"]


def asked_for(kind: str, draw: int, tmp_path: Path, share: float = 0.05) -> BenchRequest:
    return make_request(DIGITS, 600, kind, share, draw, tmp_path)


@pytest.fixture
def without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memorised records by a made-up score."""
    score = np.random.default_rng(1).normal(size=600)
    monkeypatch.setattr(requests, "memorisation_scores", lambda *_: score)


@pytest.mark.usefixtures("without_training")
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_is_the_same_again_and_another_draw_takes_others(kind: str, tmp_path: Path) -> None:
    first, again, other = (asked_for(kind, draw, tmp_path) for draw in (0, 0, 1))
    assert np.array_equal(first.forget, again.forget) and not np.array_equal(first.forget, other.forget)
    assert len(np.unique(first.forget)) == len(first.forget) and np.array_equal(first.forget, np.sort(first.forget))
    assert (
        np.array_equal(np.sort(np.concatenate([first.forget, first.retain])), np.arange(600)) and first.records == 600
    )
    if kind in ("random", "memorised", "flipped", "sequence"):
        assert len(first.forget) == 30
    assert len(first.parts) == (4 if kind == "sequence" else 1)


def test_a_class_request_takes_every_record_of_a_class(tmp_path: Path) -> None:
    for draw, label in ((0, 3), (2, 5)):
        asked = asked_for("class", draw, tmp_path)
        y = tensors_of(asked.task.train)[1]
        assert np.array_equal(asked.forget, np.flatnonzero((y == label).numpy())) and len(asked.forget)


def test_a_flipped_request_has_wrong_labels_at_the_forget_records_alone(tmp_path: Path) -> None:
    asked = asked_for("flipped", 0, tmp_path)
    ours, given_ = tensors_of(asked.task.train)[1], sets.noisy_digits().y[:600]
    assert np.array_equal(np.flatnonzero((ours != given_).numpy()), asked.forget)
    assert int(ours.min()) >= 0 and int(ours.max()) <= 9


def test_parts_of_a_sequence_partition_the_forget_set_of_a_random_request(tmp_path: Path) -> None:
    asked = asked_for("sequence", 0, tmp_path)
    whole = np.concatenate(asked.parts)
    assert len(np.unique(whole)) == len(whole) and np.array_equal(np.sort(whole), asked.forget)
    assert np.array_equal(asked.forget, asked_for("random", 0, tmp_path).forget)
    assert {len(p) for p in asked.parts} <= {7, 8}


def test_a_cluster_lies_together(tmp_path: Path) -> None:
    asked = asked_for("cluster", 0, tmp_path)
    x = tensors_of(asked.task.train)[0].flatten(1)

    def spread(rows: Indices) -> float:
        return float((x[rows] - x[rows].mean(0)).square().sum(1).mean())

    assert 10 <= len(asked.forget) <= 180
    assert spread(asked.forget) < 0.8 * spread(np.arange(600))


def test_memorised_records_are_those_that_models_know_only_if_they_saw_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = np.arange(0, 90)  # whose margin is higher in models that saw them

    def halves(*_: Any) -> tuple[Any, list[Any]]:
        rng = np.random.default_rng(0)
        inside = np.stack([rng.permutation(np.arange(600) % 2 == 0) for _ in range(8)])
        return inside, list(inside)

    def margins(_: Any, saw: Any) -> Tensor:
        return torch.from_numpy(np.where(np.isin(np.arange(600), known) & saw, 5.0, 0.0))

    monkeypatch.setattr(requests, "half_models", halves)
    monkeypatch.setattr(requests, "margins_of", margins)
    thirds = [asked_for("memorised", draw, tmp_path).forget for draw in range(3)]
    taken = np.sort(np.concatenate(thirds))
    assert len(np.unique(taken)) == 90
    # all but those with too few models on one side
    assert np.isin(taken, known).mean() > 0.85
