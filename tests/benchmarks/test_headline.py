"""The headline of made-up results, branch by branch."""

from pathlib import Path

from benchmarks.harness.results import read
from benchmarks.harness.tables.bars import bar_lines
from benchmarks.harness.tables.headline import bars, headline, summary
from helpers.benchmark_cells import cell, lines, written


def test_the_headline_says_every_hit_and_every_miss(tier: Path) -> None:
    text = headline(read(tier))
    assert lines(text, "| fashion") == [
        "| fashion, random 1 % | 150 of 15,000 | 20.0 (10.0) | 9,000 (900,000) | 0.20 [0.30] | 0.25 [0.35] | "
        "(0.35 [0.45]) | 0.10, +0.05 [+0.01, +0.09] | 0.860 / 0.855 / 0.861 | finetune, tuned | 0.25 [0.45] | +0.00 | "
        "12.0 | yes (overlap); yes |"
    ]
    assert lines(text, "| adult") == [
        "| adult, memorised 1 % | 150 of 15,000 | 10.0 (5.0) | 9,000 (900,000) | (0.50 [0.60]) | – | 0.65 [0.75] | "
        "0.10, +0.10 [+0.06, +0.14] | 0.860 / 0.855 / 0.861 | finetune, published | 0.10 | +2.90 | 6.0 | no; yes |"
    ]
    assert lines(text, "- ")[: len(bar_lines(read(tier)))] == bar_lines(read(tier))
    assert lines(text, "- ")[len(bar_lines(read(tier))) :] == [
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
    text = summary(read(tier))
    assert lines(text, "| fashion") == ["| fashion, random 1 % | 15,000 | 20.0 | 0.20 [0.30] | 0.860 / 0.855 / 0.861 |"]
    assert summary(()) == ""


def test_a_failed_or_dear_steer_is_shown_as_one(tmp_path: Path) -> None:
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
    text = headline(found)
    assert lines(text, "| fashion") == [
        "| fashion, random 1 % | 150 of 15,000 | failed: the loss became nan | – | – | – | – | – | – | "
        "finetune, published | 0.50 [0.60] | +0.20 | 30.0 | –; – |"
    ]
    assert lines(text, "| adult")[0].endswith("| none | – | – | – | – |")
    text = "\n".join(bars(found))
    assert "1 of 3 data sets (news). Missed: fashion (–), adult (1.0)." in text
    assert "0 of 1 row. Missed: fashion, random 1 % (steer failed). No baseline is that cheap in 2 of 3 rows." in text
    assert "- steer itself costs more than a quarter of retraining: adult, random 1 %." in text
    assert headline(read(written(tmp_path / "none", cell("ssd")))) == ""
