"""Results of the benchmark as tables and figures: made-up cells give the text that they should, branch by branch."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from helpers.benchmark_cells import cell, controls, tuning, written

from benchmarks.harness.markdown import number
from benchmarks.harness.plots import draw
from benchmarks.harness.results import read, read_tunings
from benchmarks.harness.stored import has_results
from benchmarks.harness.tables.grids import curves
from benchmarks.harness.tables.headline import bars, headline, large, standings, summary
from benchmarks.harness.tables.overview import render
from efface.errors import RequestError

REFUSED = "the request was refused:\n  - the loss became nan: try a smaller | learning rate"


@pytest.fixture
def tier(tmp_path: Path) -> Path:
    """Two data sets, one request each, with tuned and failed baselines."""
    adult = {"problem": "adult", "request": "memorised"}
    return written(
        tmp_path / "tier",
        *controls(),
        cell("steer", "default", left=0.2, retain=0.15, cpu_s=3.0, vague=("logits",)),
        cell("finetune", left=0.9, retain=0.1, cpu_s=20.0),
        cell("finetune", "tuned", left=0.25, retain=0.1, half=0.2, cpu_s=5.0, tuning_s=12.0),
        cell("ssd", failed=REFUSED),
        cell("salun", left=None, cpu_s=1.0),
        *controls(**adult),
        cell(
            "steer", "default", left=0.5, retain=0.2, cpu_s=6.0, missing=("other_classes",), vague=("margin",), **adult
        ),
        cell("finetune", left=0.1, half=None, retain=3.0, cpu_s=10.0, dirty=True, **adult),
        tuning("finetune", 12.0),
    )


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_the_headline_says_every_hit_and_every_miss(tier: Path) -> None:
    told = headline(read(tier))
    assert lines(told, "| fashion") == [
        "| fashion, random 1 % | 150 of 15,000 | 20.0 (10.0) | 0.20 [0.30] | 0.25 [0.35] | (0.35 [0.45]) | "
        "0.10, +0.05 [+0.01, +0.09] | 0.860 / 0.855 / 0.861 | finetune, tuned | 0.25 [0.45] | +0.00 | 12.0 | "
        "yes (overlap); yes |"
    ]
    assert lines(told, "| adult") == [
        "| adult, memorised 1 % | 150 of 15,000 | 10.0 (5.0) | (0.50 [0.60]) | – | 0.65 [0.75] | "
        "0.10, +0.10 [+0.06, +0.14] | 0.860 / 0.855 / 0.861 | finetune, published | 0.10 | +2.90 | 6.0 | no; yes |"
    ]
    assert lines(told, "- ") == [
        "- 15 times cheaper than retraining (CPU) in every row: 1 of 2 data sets (fashion). Missed: adult (10.0).",
        "- 15 times cheaper than early-stopped retraining (CPU) in every row: 0 of 2 data sets. "
        "Missed: fashion (10.0), adult (5.0).",
        "- Nearer to retrained models than every baseline at a quarter of retraining's cost, by margin on forget "
        "records: 1 of 2 rows. Missed: adult, memorised 1 % (by finetune, published).",
        "- Nearer to retrained models than every baseline at a quarter of retraining's cost, by forget + retain: "
        "2 of 2 rows.",
        "- In 1 of 2 rows doing nothing is not surely away from retrained models by margin (they are counted above).",
        "- Retraining's cost is an epoch timed beside each method, times the length of training. Over whole "
        "retrainings, timed too, that is 0.98 to 0.98: ratios are no more exact than that.",
    ]


def test_the_summary_says_the_same_in_few_columns(tier: Path) -> None:
    told = summary(read(tier))
    assert lines(told, "| fashion") == [
        "| fashion, random 1 % | 20.0 (10.0) | 0.20 [0.30] | 0.860 / 0.855 / 0.861 | "
        "finetune, tuned: 0.25 [0.45], 12.0 | yes; yes |"
    ]
    assert lines(told, "- ") == bars(standings(read(tier)))
    assert summary(()) == ""


def test_the_bar_of_60000_records_is_told_where_there_are_some(tmp_path: Path) -> None:
    sizes = [cell("steer", "default", records=n, cpu_s=c) for n, c in ((15_000, 3.0), (60_000, 1.5))]
    assert large(read(written(tmp_path / "small", sizes[0]))) == ""
    told = curves(read(written(tmp_path / "both", *sizes)))
    assert told.endswith("\n\n- 30 times cheaper with 60,000 records: 1 of 1 (fashion 40.0).")


def test_a_failed_or_dear_steer_is_told_as_one(tmp_path: Path) -> None:
    adult, news = {"problem": "adult"}, {"problem": "news", "records": 12500}
    folder = written(
        tmp_path,
        cell("steer", "default", failed="the loss became nan"),
        cell("finetune"),
        cell("steer", "default", cpu_s=30.0, **adult),
        cell("ssd", cpu_s=20.0, **adult),
        cell("steer", "default", cpu_s=1.0, **news),
    )
    found = read(folder)
    told = headline(found)
    assert lines(told, "| fashion") == [
        "| fashion, random 1 % | 150 of 15,000 | failed: the loss became nan | – | – | – | – | – | finetune, published "
        "| 0.50 [0.60] | +0.20 | 30.0 | –; – |"
    ]
    assert lines(told, "| adult")[0].endswith("| none | – | – | – | – |")
    text = "\n".join(bars(standings(found)))
    assert "1 of 3 data sets (news). Missed: fashion (–), adult (2.0)." in text
    assert "0 of 1 row. Missed: fashion, random 1 % (steer failed). No baseline is that cheap in 2 of 3 rows." in text
    assert "- steer itself costs more than a quarter of retraining: adult, random 1 %." in text
    assert headline(read(written(tmp_path / "none", cell("ssd")))) == ""


def test_the_full_table_holds_every_row_in_order(tier: Path) -> None:
    told = render(tier)
    first = told.split("**fashion, random 1 %**")[1].split("**adult")[0]
    assert first.splitlines()[0] == (
        ": 15,000 records, 150 forgotten (1 %); 60 epochs (early-stopped 30); 32 retrained models, 4 or 16 unlearned a "
        "row; a retraining takes 60.0 CPU s (a whole one: 61.0)."
    )
    assert [line.split(" | ")[0] for line in lines(first, "| ")][2:] == [
        "| noop",
        "| retrain",
        "| steer",
        "| finetune, published †",
        "| finetune, tuned",
        "| salun, published",
        "| ssd, published",
    ]
    accuracies = "0.900 ± 0.010 | 0.980 ± 0.010 | 0.855 ± 0.010 | 0.520"
    assert lines(first, "| finetune, tuned") == [
        "| finetune, tuned | 0.25 [0.45] | 0.35 [0.55] | 0.30 [0.50] | 0.40 [0.60] | 0.45 [0.65] | +0.00 | +0.05 | "
        f"{accuracies} | 5.00 ± 0.50 | 12.0 | 10.8 | 6.0 | 12.0 |"
    ]
    # a statistic that is none, and what has no cost
    assert lines(first, "| finetune, published")[0].endswith("| 20.00 ± 0.50 | 3.0 | 2.7 | 1.5 |  |")
    assert lines(first, "| salun")[0].startswith("| salun, published | – | – | – | – | – | +0.20 | +0.05 |")
    assert lines(first, "| noop")[0].endswith("| 0.00 | – | – | – |  |")
    # a failed row has as many columns as any other
    failed = lines(first, "| ssd")[0]
    assert failed.startswith("| ssd, published | failed: the loss became nan: try a smaller \\| learning rate | – |")
    assert failed.replace("\\|", "").count("|") == lines(first, "| noop")[0].count("|")
    assert "1 tuning of 2 draws took 12 CPU s in all" in told
    assert "commit 0123456789ab or 0123456789ab with uncommitted changes; CPU Made-up CPU, 2 cores" in told
    assert "Linux-made-up" not in told


def test_a_folder_of_many_kinds_of_requests_shows_the_field(tmp_path: Path) -> None:
    letter = {"problem": "letter", "records": 12500}
    folder = written(
        tmp_path,
        *controls(request="class", predicted=0.0, **letter),
        cell("steer", "default", request="class", predicted=0.01, **letter),
        cell("ssd", request="class", predicted=None, **letter),
        cell("steer", "default", request="sequence", share=0.1, cpu_s=12.0, **letter),
        cell("ssd", request="sequence", share=0.1, failed="no", **letter),
        cell("ssd", request="flipped", draw=2, left=1.5, vague=("margin",), **letter),
    )
    told = render(folder)
    field = told.split("## The field")[1].split("## All")[0]
    assert lines(field, "| method") == ["| method | flipped 1 %, draw 2 | class | sequence 10 % |"]
    assert lines(field, "| steer") == ["| steer |  | 0.010, 1.25, 30.0x | 0.50 [0.60], +0.20, 20.0x |"]
    assert lines(field, "| noop") == ["| noop |  | 0.000, 1.25 |  |"]
    assert lines(field, "| ssd") == [
        "| ssd, published | (1.50 [1.60]), +0.20, 30.0x | 0.50 [0.60], +0.20, 30.0x | failed: no |"
    ]
    assert "**letter**, 12,500 records" in field and "Of a class: how often" in field
    assert "## Headline" not in told  # there is no random or memorised request with steer


def test_curves_join_folders_and_leave_out_what_does_not_vary(tmp_path: Path) -> None:
    usual = written(
        tmp_path / "usual",
        cell("steer", "default", left=0.2),
        cell("ssd", "tuned"),
        cell("align"),
        cell("steer", "default", problem="noisy-digits", records=600),
    )
    others = written(
        tmp_path / "others",
        cell("steer", "default", left=0.9),  # the first folder's counts
        cell("steer", "default", records=5000, left=0.3),
        cell("steer", "default", share=0.001, left=0.4, vague=("margin",)),
        cell("ssd", records=5000),
        cell("steer", "default", problem="fashion-resnet", records=5000, left=0.6),
    )
    told = render(others)
    assert "## Curves" in told and "**fashion, 15,000 records** by share forgotten" in told
    assert curves(read(usual, others)).split("\n\n", 1)[1] == "\n\n".join(
        (
            "**fashion, 1 % forgotten** by training records",
            "| method | 5,000 | 15,000 |\n| :-- | --: | --: |\n"
            "| steer | 0.30 [0.40], +0.20, 30.0x | 0.20 [0.30], +0.20, 30.0x |",
            "**fashion, 15,000 records** by share forgotten",
            "| method | 0.1 % | 1 % |\n| :-- | --: | --: |\n"
            "| steer | (0.40 [0.50]), +0.20, 30.0x | 0.20 [0.30], +0.20, 30.0x |",
            "**fashion, 5,000 records, 1 % forgotten** by kind of network",
            "| method | usual | resnet |\n| :-- | --: | --: |\n"
            "| steer | 0.30 [0.40], +0.20, 30.0x | 0.60 [0.70], +0.20, 30.0x |",
        )
    )
    assert curves(read(usual)) == ""


def test_noisy_digits_stand_in_the_columns_of_public_tools(tmp_path: Path) -> None:
    how = {"problem": "noisy-digits", "records": 600, "share": 0.1}
    folder = written(tmp_path, *controls(**how), cell("steer", "default", **how), cell("ssd", failed="why", **how))
    told = render(folder)
    assert "## Beside public tools" in told and "## Headline" not in told
    assert lines(told.split("## All")[0], "| ")[2:] == [
        "| original | 1.000 ± 0.010 | 1.000 ± 0.010 | 0.860 ± 0.010 | 0.600 ± 0.010 | 0.200 |  |",
        "| a second retrained model (the floor) | 0.900 ± 0.010 | 0.980 ± 0.010 | 0.855 ± 0.010 | 0.520 | 0.100 "
        "| 1.0 |",
        "| steer | 0.900 ± 0.010 | 0.980 ± 0.010 | 0.855 ± 0.010 | 0.520 | 0.100 | 30.0 |",
        "| ssd, published | failed: why |  |  |  |  |  |",
    ]


def test_what_is_wrong_with_a_folder_is_told_at_once(tmp_path: Path) -> None:
    empty, bad = tmp_path / "empty", written(tmp_path / "bad", cell("steer", "default"), cell("ssd"), cell("align"))
    empty.mkdir()
    written(empty, tuning("ssd", 1.0))
    assert not has_results(empty) and not has_results(tmp_path / "absent") and has_results(bad)
    files = sorted(bad.iterdir())
    files[0].write_text("{half")
    files[1].write_text(json.dumps({**cell("ssd"), "schema": 99}))
    told = cell("steer", "default")
    told["cost"]["epoch_cpu_s"] = "fast"
    files[2].write_text(json.dumps(told))
    (bad / "other.json").write_text("[1]")
    (bad / "less.json").write_text("{}")
    with pytest.raises(RequestError) as caught:
        read(empty, tmp_path / "absent", bad)
    said = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 7
    for words in ("no results in it", "no such folder", "expected schema 2, got 99", "expected a number, got 'fast'"):
        assert words in said
    assert "less.json: is no result of the benchmark (no 'schema')" in said
    (empty / "x-tuning.json").write_text("null")
    with pytest.raises(RequestError, match=r"x-tuning\.json"):
        read_tunings(empty)


def test_tunings_tell_their_cost(tier: Path) -> None:
    (found,) = read_tunings(tier)
    assert (found.method, found.draws, found.cpu_s, found.setting.draw) == ("finetune", 2, 12.0, 0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (-0.001, "0.00"), (0.126, "0.13"), (468.25, "468"), (-12345.6, "-12,346"), (3e7, "3.0e+07")],
)
def test_numbers_keep_to_what_can_be_read(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_a_number_that_rounds_to_nothing_has_one_sign() -> None:
    assert [number(v, sign=True) for v in (-0.001, 0.001, -0.4)] == ["+0.00", "+0.00", "-0.40"]


def test_figures_are_the_same_each_time_and_only_where_there_is_something_to_draw(tier: Path, tmp_path: Path) -> None:
    written(tier, cell("steer", "default", records=5000), cell("steer", "default", share=0.1))
    first, second = (draw(tier, tmp_path / name) for name in ("a", "b"))
    assert [p.name for p in first] == ["pareto.svg", "curves.svg"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["curves.svg", "pareto.svg"]
    text = first[0].read_text()
    assert ET.fromstring(text).tag.endswith("svg") and "<dc:date" not in text and "mathdefault" not in text
    for words in ("fashion, random 1 %", "adult, memorised 1 %", "steer", "noop", "a share of retraining"):
        assert words in text
    assert draw(written(tmp_path / "few", *controls()), tmp_path / "c") == []
    with pytest.raises(RequestError, match="cannot be written"):
        draw(tier, first[0])
