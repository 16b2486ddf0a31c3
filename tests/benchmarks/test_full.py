"""The full table of made-up results."""

from pathlib import Path

from benchmarks.harness.tables.overview import render
from helpers.benchmark_cells import lines


def test_the_full_table_holds_every_row_in_order(tier: Path) -> None:
    text = render(tier)
    first = text.split("**fashion, random 1 %**")[1].split("**adult")[0]
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
        f"{accuracies} | 5.00 ± 0.50 | 12.0 | 10.8 | 9,000 | 12.0 |"
    ]
    # a statistic that is none, and what has no cost
    assert lines(first, "| finetune, published")[0].endswith("| 20.00 ± 0.50 | 3.0 | 2.7 | 9,000 |  |")
    assert lines(first, "| salun")[0].startswith("| salun, published | – | – | – | – | – | +0.20 | +0.05 |")
    assert lines(first, "| noop")[0].endswith("| 0.00 | – | – | – |  |")
    # a failed row has as many columns as any other
    failed = lines(first, "| ssd")[0]
    assert failed.startswith("| ssd, published | failed: the loss became nan: try a smaller \\| learning rate | – |")
    assert failed.replace("\\|", "").count("|") == lines(first, "| noop")[0].count("|")
    assert "1 tuning of 2 draws took 12 CPU s in all" in text
    assert "commit 0123456789ab or 0123456789ab with uncommitted changes; CPU Made-up CPU, 2 cores" in text
    assert "Linux-made-up" not in text
