"""Two processes give what one gives, in float64, each for half of the rows."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from efface import RequestError
from helpers.processes import CASES, double, erase
from helpers.tiny import Tiny

CLOSE = 1e-9  # of the change of the weights, by Euclidean norm: float64 rounds at 1e-16
WHOLE = ("batch norm", "dropout")  # in train mode, that is; reading is divided


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("two")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "helpers.processes")
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONWARNINGS"] = "error::FutureWarning"
    environment["PYTHONPATH"] = os.pathsep.join([str(tests), *sys.path])
    done = subprocess.run(
        [sys.executable, *launch, str(folder)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_what_one_gives(case: str, two: list[Any]) -> None:
    alone = CASES[case](double())
    changed = float((alone.after - alone.before).norm())
    assert changed > 0
    for found in (process["cases"][case] for process in two):
        assert torch.equal(found["before"], alone.before)
        assert float((found["after"] - alone.after).norm()) <= CLOSE * changed
        assert torch.equal(found["after"], two[0]["cases"][case]["after"])
        assert (found["backward"], found["outcome"], found["tidy"]) == (alone.backward, alone.outcome, True)


@pytest.mark.parametrize("case", ["steer", "finetune", "scrub", "l1_sparse", "cfk", "named"])
def test_each_process_computes_half_of_the_rows(case: str, two: list[Any]) -> None:
    alone = CASES[case](double())
    for process in two:
        # the last batch of an epoch may be odd, and then a row is computed twice
        assert alone.rows / 2 <= process["cases"][case]["rows"] <= 0.51 * alone.rows


@pytest.mark.parametrize("case", WHOLE)
def test_train_mode_takes_whole_batches_where_rows_depend_on_draws_or_on_each_other(case: str, two: list[Any]) -> None:
    assert [process["cases"][case]["rows"] for process in two] == [CASES[case](double()).rows] * 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        *((name, f"{name} is not divided among processes") for name in ("ssd", "msg", "salun", "sfron", "influence")),
        ("wrapped", "DistributedDataParallel divides or shards the model itself"),
        ("other model", "different models, ids to forget, methods or seeds"),
        ("other ids", "different models, ids to forget, methods or seeds"),
        ("other records", "read different records"),
    ],
)
def test_what_cannot_be_divided_is_refused_in_each_process(asked: str, words: str, two: list[Any]) -> None:
    for process in two:
        assert process["refused"][asked].startswith("RequestError: ")
        assert words in process["refused"][asked]


def test_where_no_step_could_be_kept_each_process_says_so(two: list[Any]) -> None:
    for process in two:
        assert process["refused"]["ruinous"].startswith(
            "NothingUnlearnedError: nothing was unlearned by neggrad_plus: no"
        )


def test_processes_that_never_met_are_refused(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RequestError, match="init_process_group first"):
        erase(tiny, tiny.model)
