"""Two processes under accelerate give what one gives, each for half of the rows, and only the first one writes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import Tensor, nn

import parallel_run
from efface import EffaceError, RequestError, parallel
from efface.cli.failures import Code, guarded
from efface.parallel.maps import Share
from helpers.command_line import make_workshop
from helpers.tiny import Tiny
from parallel_run import CASES, flat, kept, run

CLOSE = 1e-5  # of the change of the weights, by Euclidean norm; buffers count as weights
# as few rows as can be run in two processes whole; all others are divided
WHOLE = ("apart", "noisy", "listened", "one row")
HALF = ("steer", "finetune", "align", "influence", "to the end", "dicts", "built", "batch norm in eval mode")
LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)
Two = tuple[list[Any], list[dict[str, Tensor]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    """What each of two processes found, and the weights that it got."""
    folder = tmp_path_factory.mktemp("two")
    make_workshop(folder)
    # no GPU, even where there are some
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [sys.executable, *LAUNCH, parallel_run.__file__, str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [f["world"] for f in found] == [2, 2]
    return found, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_what_one_gives(case: str, two: Two, tiny: Tiny) -> None:
    (main, other), weights = two
    facts, before, after = run(case, tiny)
    changed = float((after - before).norm())
    assert changed > 0 or case == "noop"
    assert float((weights[0][case] - after).norm()) <= CLOSE * changed
    # the same to the last bit in both
    assert torch.equal(weights[0][case], weights[1][case])
    assert main["cases"][case]["digest"] == other["cases"][case]["digest"]
    for name in ("outcome", "forward", "backward", "hooks"):
        assert main["cases"][case][name] == other["cases"][case][name] == facts[name], name


@pytest.mark.parametrize("case", HALF)
def test_each_process_computes_half_of_the_rows(case: str, two: Two, tiny: Tiny) -> None:
    facts, _, _ = run(case, tiny)
    for found in two[0]:
        assert found["cases"][case]["trained"] == facts["trained"] / 2 > 0


def test_reading_is_divided_too(two: Two, tiny: Tiny) -> None:
    facts, _, _ = run("to the end", tiny)
    for found in two[0]:
        # but for layers that are listened to, and the first pass of each kind
        assert found["cases"]["to the end"]["read"] < 0.8 * facts["read"]


def test_an_odd_row_goes_to_the_first_process(two: Two, tiny: Tiny) -> None:
    facts, _, _ = run("uneven", tiny)
    first, second = (found["cases"]["uneven"]["trained"] for found in two[0])
    assert first > second
    assert first + second == facts["trained"]


@pytest.mark.parametrize("case", WHOLE)
def test_what_cannot_be_divided_runs_whole_in_each_process(case: str, two: Two, tiny: Tiny) -> None:
    facts, _, _ = run(case, tiny)
    for found in two[0]:
        assert found["cases"][case]["trained"] == facts["trained"] > 0


@pytest.mark.parametrize("case", ["dropout", "batch norm"])
def test_train_mode_runs_whole_where_rows_depend_on_draws_or_on_each_other(case: str, two: Two, tiny: Tiny) -> None:
    facts, _, _ = run(case, tiny)
    assert [found["cases"][case]["trained"] for found in two[0]] == [facts["trained"]] * 2


def test_the_callers_model_and_network_stay_as_they_were(two: Two) -> None:
    assert [found["unchanged"] for found in two[0]] == [True, True]


def test_words_between_processes(two: Two) -> None:
    main, other = (found["words"] for found in two[0])
    assert main == {
        "main": True,
        "shared": {"from": 0},
        "collected": [0, 1],
        "on main": "done",
        "ran": [0],
        "refused": "EffaceError: no",
    }
    changed = {"main": False, "on main": None, "ran": [], "refused": "EffaceError: the main process failed: no"}
    assert other == {**main, **changed}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("other ids", "different ids to forget or options"),
        ("other model", "hold different models"),
        ("other records", "read different records"),
        ("wrapped", "DataParallel divides or shards the model itself"),
    ],
)
def test_what_cannot_be_done_together_is_refused_in_each_process(what: str, words: str, two: Two) -> None:
    for found in two[0]:
        assert found[what].startswith("RequestError")
        assert words in found[what]


def test_the_main_process_alone_writes_and_prints(two: Two) -> None:
    main, other = (found["command"] for found in two[0])
    assert main["saves"] == 1
    assert other == {"code": main["code"], "out": "", "err": "", "saves": 0}
    assert main["code"] in (Code.VERIFIED, Code.NOT_VERIFIED)
    answer = json.loads(main["out"])
    assert sorted(os.path.basename(path) for path in answer["files"].values()) == two[0][0]["files"]


def test_a_store_is_kept_by_the_main_process(two: Two, tiny: Tiny, tmp_path: Path) -> None:
    (main, other), weights = two
    ended, alone = kept(tiny, tmp_path / "store")
    assert main["store"] == other["store"] == ended
    assert [line.partition(",")[0] for line in ended] == ["version 2", "version 3", "nothing", "BusyError"]
    assert torch.equal(weights[0]["store"], weights[1]["store"])
    changed = float((alone - flat(tiny.model)).norm())
    assert float((weights[0]["store"] - alone).norm()) <= CLOSE * changed > 0


def test_a_refusal_is_told_once(two: Two) -> None:
    main, other = (found["refused command"] for found in two[0])
    assert "is not empty" in main["err"]
    assert other == {"code": Code.REFUSED, "out": "", "err": "", "saves": 0}
    assert main["code"] == Code.REFUSED


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [7, 8, 20])
def test_shares_cover_a_batch_evenly(rows: int, world: int) -> None:
    parts = [list(range(rows))[Share(rows, rank, world).own] for rank in range(world)]
    assert [row for part in parts for row in part] == list(range(rows))
    sizes = [len(part) for part in parts]
    assert sizes == Share(rows, 0, world).sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_one_process_needs_no_accelerate(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert parallel.start() is None
    assert parallel.is_main()
    assert parallel.share(3) == 3
    assert parallel.collect(3) == [3]
    assert parallel.on_main(lambda x: x + 1, 3) == 4
    parallel.barrier()
    _, before, after = run("noop", tiny)
    assert torch.equal(before, after)


def test_several_processes_without_accelerate_are_refused(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RequestError, match=r"2 processes .* pip install 'efface\[accelerate\]'"):
        parallel.unlearn(tiny.model, forget=tiny.forget, task=tiny.task())


def test_failures_of_one_process_alone_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for error, told in (
        (ValueError("out of memory"), "efface: process 1: ValueError: out of memory\n"),
        (EffaceError("as all"), ""),
    ):
        with pytest.raises(typer.Exit), guarded(as_json=True):
            raise error
        assert capsys.readouterr() == ("", told)


def test_nothing_is_hooked_where_there_is_one_process() -> None:
    network = nn.Linear(2, 2)
    spread = parallel.Spread()
    spread.add(network)
    rows = torch.ones(4, 2)
    assert torch.equal(network(rows), nn.functional.linear(rows, network.weight, network.bias))
    spread.close()
    assert parallel_run.hooks(network) == 0
