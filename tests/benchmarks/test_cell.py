"""From a cell's options to a method."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import efface
from benchmarks.harness.cell import resolve, why_failed
from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import BenchRequest, make_request
from efface.data.splits import make_splits
from efface.errors import DivergedError, RequestError
from efface.unlearning.evidence import Outcome


def random_request(cache: Path, share: float = 0.05) -> BenchRequest:
    return make_request(PROBLEMS["noisy-digits"], 600, "random", share, 0, cache)


def test_lengths_in_passes_become_steps(tmp_path: Path) -> None:
    request = random_request(tmp_path, 0.1)
    for options, over in (({"epochs": 2.0}, None), ({"forget_epochs": 2.0}, 60)):
        made: Any = resolve("finetune", {"lr": 0.5, "batch": 16, **options}, request, (600, 60), seed=3)
        if over is None:
            parts = make_splits(np.arange(60), 600, 600, 3)
            over = len(parts.retain) - len(parts.audit_reference)
            assert 300 < over < 540
        assert made.lr == 0.5 and made.steps == made.every == 2 * -(-over // 16)
    short: Any = resolve("finetune", {"epochs": 1e-6}, request, (600, 60), seed=3)
    assert short.steps == 1


def test_other_options_are_passed_on_and_checked(tmp_path: Path) -> None:
    request = random_request(tmp_path)
    assert resolve("steer", {}, request, (600, 30), 0) == efface.methods.get("steer", {})
    with pytest.raises(RequestError, match="lr"):
        resolve("finetune", {"lr": -1.0}, request, (600, 30), 0)


def test_a_failed_cell_says_why_in_one_line_without_advice() -> None:
    evidence = efface.Evidence((), Outcome.UTILITY_FLOOR, "accuracy fell", 0, 0.5, 0.05, 1)
    nothing = efface.NothingUnlearnedError(
        "no step could be kept", efface.methods.Steer(), 0, evidence, efface.Cost(), ()
    )
    assert "next: " in str(nothing)
    assert why_failed(nothing) == "nothing was unlearned: no step could be kept"
    assert why_failed(DivergedError("the loss\nbecame nan")) == "the loss became nan"
