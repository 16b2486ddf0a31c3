"""What steer is aimed at, on made-up results."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.results import Row, read
from benchmarks.harness.tables.bars import bar_lines
from benchmarks.harness.tables.prices import prices
from helpers.benchmark_cells import cell, lines, tabled, written

CLEAN: dict[str, Any] = {"left": 0.1, "retain": 0.1, "cpu_s": 1.0}
NEAR, FAR = (1.0,) * 6, (2.0, 2.1, 1.9, 2.0, 2.05, 1.95)  # of four originals


def rows(folder: Path, *cells: dict[str, Any]) -> tuple[Row, ...]:
    return read(written(folder, *cells))


def line(found: tuple[Row, ...], start: str) -> str:
    (only,) = (text for text in bar_lines(found) if text.startswith(f"- {start}"))
    return only


@pytest.mark.parametrize(
    ("start", "good", "bad", "missed"),
    [
        ("A price", {"price": 12_000.0}, {"price": 13_500.0}, "fashion, random 1 % (13,500, by 1,500)"),
        ("A price", {"price": 19_000.0, "share": 0.1}, {"price": 31_000.0, "share": 0.1}, "10 % (31,000, by 1,000)"),
        ("Looks", {"looks": 0.08}, {"looks": 0.25}, "fashion, random 1 % (25.0 %, by 15.0 %)"),
        ("Cheaper", {"cpu_s": 4.0}, {"cpu_s": 6.0}, "fashion, random 1 % (10.00, by 5.00)"),
        ("Cheaper", {"cpu_s": 1.5, "records": 60_000}, {"cpu_s": 2.0, "records": 60_000}, "(30.00, by 10.00)"),
        ("Cheaper", {"problem": "mnist", "cpu_s": 12.0}, {"problem": "mnist", "cpu_s": 15.0}, "(4.00, by 1.00)"),
        ("Excess d2 on retain", {"retain": 0.14}, {"retain": 0.2}, "fashion, random 1 % (0.10, by 0.05)"),
        ("Share", {"left": 0.2}, {"left": 0.45}, "fashion, random 1 % (0.45, by 0.25)"),
        ("Share", {"left": 0.3, "problem": "adult"}, {"left": 0.35, "problem": "adult"}, "(0.35, by 0.05)"),
        ("Share", {"left": 0.3, "problem": "text"}, {"left": 0.35, "problem": "text"}, "(0.35, by 0.05)"),
        ("Share", {"left": 0.45, "request": "cluster"}, {"left": 0.55, "request": "cluster"}, "(0.55, by 0.05)"),
        ("A forgotten class", {"predicted": 0.0}, {"predicted": 0.24}, "(0.240, by 0.240)"),
        ("Share left by the other", {"left": 0.3}, {"left": 0.4}, "fashion, random 1 % (0.45, by 0.10)"),
        ("The nearest test", {"left": 0.8}, {"left": 1.5}, "fashion, random 1 % (1.50, by 0.50)"),
    ],
)
def test_a_bar_says_what_is_missed_and_by_how_much(
    start: str, good: dict[str, Any], bad: dict[str, Any], missed: str, tmp_path: Path
) -> None:
    start = {
        "Share": "Share left by margin",
        "Excess d2 on retain": "Excess d2 on retain records rises by at most 0.05:",
    }.get(start, start)
    if "predicted" in good:
        good, bad = {**good, "request": "class"}, {**bad, "request": "class"}
    reached = rows(tmp_path / "good", cell("steer", "default", **{**CLEAN, **good}))
    assert line(reached, start).endswith(": 1 of 1 row.")
    short = rows(tmp_path / "bad", cell("steer", "default", **{**CLEAN, **bad}))
    assert line(short, start).endswith(f"{missed}.") and ": 0 of 1 row. Missed: " in line(short, start)


def test_what_was_not_measured_means_nothing_or_failed_is_told_apart(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        cell("steer", "default", **CLEAN, price=None),
        cell("steer", "default", **CLEAN, request="memorised", vague=("margin",)),
        cell("steer", "default", problem="adult", failed="the loss became nan"),
    )
    price = line(found, "A price")
    assert price.endswith(": 1 of 2 rows. Missed: adult, random 1 % (failed). Not known or without meaning in 1 row.")
    assert line(found, "Share left by margin").endswith("(failed). Not known or without meaning in 1 row.")
    assert not any("class" in text.split(":")[0] for text in bar_lines(found) if text.startswith("- A forgotten"))
    assert bar_lines(rows(tmp_path / "none", cell("ssd"))) == []


def test_a_baseline_counts_where_it_is_nearer_on_the_same_originals_and_leaves_retain_alone(tmp_path: Path) -> None:
    steer = cell("steer", "default", **CLEAN, pairs=FAR)
    start = "No baseline at a quarter"
    nearer = cell("ssd", retain=0.1, pairs=NEAR)
    beaten = line(rows(tmp_path / "a", steer, nearer), start)
    assert ": 0 of 1 row. Missed: fashion, random 1 % (ssd, published: +1.00 [" in beaten
    for number, harmless in enumerate(
        (
            cell("ssd", retain=0.9, pairs=NEAR),  # it moves retain records
            cell("ssd", retain=0.1, cpu_s=20.0, pairs=NEAR),  # it is dear
        )
    ):
        own = rows(tmp_path / str(number), steer, harmless, cell("align", retain=0.1, pairs=(3.0,) * 6))
        assert line(own, start).endswith(": 1 of 1 row.")
    # results from before products were kept
    assert not any(start in text for text in bar_lines(rows(tmp_path / "old", steer, cell("ssd", retain=0.1))))


def test_prices_by_phase_and_dashes_for_results_from_before(tmp_path: Path) -> None:
    new, old = cell("steer", "default", **CLEAN), cell("steer", "default", problem="adult", **CLEAN, price=None)
    text = prices(read(tabled(tmp_path / "a.csv", new, old, cell("ssd"))))
    assert lines(text, "| fashion") == [
        "| fashion, random 1 % | 8,460 / 0.90 | 540 / 0.10 | 9,000 / 1.00 | 6 % | 900,000 |"
    ]
    assert lines(text, "| adult") == ["| adult, random 1 % | – / 0.90 | – / 0.10 | – / 1.00 | – | – |"]
    assert prices(read(written(tmp_path / "none", cell("ssd")))) == ""
