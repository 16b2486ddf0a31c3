"""Commands that make requests of one problem: what they print, on a few models of the smallest one."""

import numpy as np
import pytest
import torch

from benchmarks import attack, choosing, few, sequence
from efface.attacks.ulira import ulira
from efface.errors import RequestError
from helpers.benchmark_command import Done

# the models of the smoke suite
SMALL = ("noisy-digits", "--records", "200", "--draw", "1")


def small(smoke: Done, models: int, *words: str) -> list[str]:
    return [*SMALL, "--models", str(models), "--retrained", "4", "--cache", str(smoke.cache), *words]


@pytest.mark.filterwarnings("ignore::efface.errors.EffaceWarning")
def test_a_sequence_is_compared_with_one_request_of_the_same_records(
    smoke: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence.main(small(smoke, 3, "--requests", "2", "--share", "0.05"))
    said = capsys.readouterr()
    title, *rest = said.out.splitlines()
    assert title == (
        "noisy-digits, 200 records, draw 1: 2 requests of 5 % in a row and one of 2 x 5 %; 3 originals, "
        "4 retrained models"
    )
    assert [line.split(":")[0] for line in rest if not line.startswith(" ")] == [
        "2 in a row, kept at the first model",
        "2 in a row, kept at the version before",
        "one request",
        "d2 of retain after 2 in a row",
        "share left, 2 in a row over one request",
    ]
    assert sum("record-trainings" in line for line in rest) == 3 and "kept at the first model\n" in said.err
    assert sum("of the nearest retain records" in line for line in rest) == 3


@pytest.mark.filterwarnings("ignore::efface.errors.EffaceWarning")
def test_options_are_tried_on_one_request(smoke: Done, capsys: pytest.CaptureFixture[str]) -> None:
    choosing.main(small(smoke, 3, "--share", "0.1", "--set", "steps=4"))
    title, shown = capsys.readouterr().out.splitlines()
    assert title.startswith("noisy-digits, 200 records, draw 1: random 10 %, 20 forgotten, steer steps=4; 3 originals")
    assert "margin " in shown and "record-trainings" in shown and "steps 0." in shown
    with pytest.raises(RequestError, match="stps"):
        choosing.main(small(smoke, 3, "--set", "stps=4"))


def test_a_ratio_is_told_only_where_something_is_left() -> None:
    assert sequence.ratio(0.3, 0.2) == "1.50"
    assert sequence.ratio(0.3, -0.01) == "no ratio, 0.300 and -0.010"


@pytest.mark.filterwarnings("ignore::efface.errors.EffaceWarning")
def test_the_attack_is_made_on_doing_nothing_unlearned_and_retrained_models(
    smoke: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    attack.main([*small(smoke, 4, "--share", "0.1"), "--retrained", "8"])
    title, *rest = capsys.readouterr().out.splitlines()
    assert "random 10 %, 20 forgotten" in title and "4 originals, 8 retrained" in title
    assert [line.split(":")[0] for line in rest] == ["margin", "other classes"]
    for line in rest:
        assert all(name in line for name in ("doing nothing ", "unlearned ", "retrained halves "))
    with pytest.raises(SystemExit):
        attack.main(small(smoke, 4, "--share", "0.1"))


def test_an_interval_of_the_attack_is_that_of_a_jackknife_over_both_kinds() -> None:
    draw = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(5, 30, generator=draw) + shift for shift in (0.5, 0.0))
    value, low, high = attack.accuracy(ours, theirs)
    variance = 0.0
    for kind in (0, 1):
        sides = [ours, theirs]
        without = []
        for i in range(5):
            cut = list(sides)
            cut[kind] = torch.stack([row for j, row in enumerate(sides[kind]) if j != i])
            without.append(ulira(*cut).accuracy)
        variance += 4 / 5 * sum((w - sum(without) / 5) ** 2 for w in without)
    assert value == ulira(ours, theirs).accuracy
    assert (value - low, high - value) == pytest.approx((1.959964 * variance**0.5,) * 2, rel=1e-6)


@pytest.mark.filterwarnings("ignore::efface.errors.EffaceWarning")
def test_requests_of_few_records_are_ranked_beside_retrained_models(
    smoke: Done, capsys: pytest.CaptureFixture[str]
) -> None:
    few.main(small(smoke, 2, "--repeats", "3", "--sizes", "1", "2"))
    title, *rest = capsys.readouterr().out.splitlines()
    assert "3 requests of each size; 2 originals, 4 retrained models" in title
    assert [line for line in rest if not line.startswith(" ")] == ["1 of 200 records", "2 of 200 records"]
    assert sum("record-trainings each; test accuracy" in line for line in rest) == 2
    with pytest.raises(SystemExit):
        few.main(small(smoke, 2, "--repeats", "21"))


def test_ranks_are_compared_on_the_same_records() -> None:
    rng = np.random.default_rng(0)
    record = rng.uniform(0.2, 0.8, 400)  # what a record does to every model's rank drops out of a difference
    found = np.stack([record + 0.15, record + 0.01 * rng.normal(size=400), record], 1)
    lines = few.told(found)
    assert lines[0].startswith(f"doing nothing: mean rank {found[:, 0].mean():.3f} [")
    assert "KS p" in lines[1] and "KS p" not in lines[2]
    assert lines[3] == "doing nothing less retrained: +0.150 [+0.150, +0.150], not within 0.05"
    gap = found[:, 1] - found[:, 2]
    half = 1.644854 * gap.std(ddof=1) / 20
    shown = f"{gap.mean():+.3f} [{gap.mean() - half:+.3f}, {gap.mean() + half:+.3f}]"
    assert lines[4] == f"unlearned less retrained: {shown}, within 0.05"
