"""Tables by request, size, share and kind of network."""

from pathlib import Path

from benchmarks.harness.results import read
from benchmarks.harness.tables.grids import curves
from benchmarks.harness.tables.overview import render
from helpers.benchmark_cells import cell, controls, lines, written


def test_a_folder_of_many_kinds_of_requests_shows_the_field(tmp_path: Path) -> None:
    letter = {"problem": "letter", "records": 12500}
    folder = written(
        tmp_path,
        *controls(request="class", predicted=0.0, **letter),
        cell("steer", "default", request="class", predicted=0.01, **letter),
        cell("ssd", request="class", predicted=None, **letter),
        cell("steer", "default", request="sequence", share=0.1, cpu_s=12.0, **letter),
        cell("ssd", request="sequence", share=0.1, failed="no", **letter),
        cell("ssd", request="flipped", draw=1, left=1.5, vague=("margin",), **letter),
    )
    text = render(folder)
    field = text.split("## The field")[1].split("## All")[0]
    assert lines(field, "| method") == ["| method | flipped 1 %, draw 1 | class | sequence 10 % |"]
    assert lines(field, "| steer") == ["| steer |  | 0.010, 1.25, 30.0x, 9,000 | 0.50 [0.60], +0.20, 20.0x, 9,000 |"]
    assert lines(field, "| noop") == ["| noop |  | 0.000, 1.25 |  |"]
    assert lines(field, "| ssd") == [
        "| ssd, published | (1.50 [1.60]), +0.20, 30.0x, 9,000 | 0.50 [0.60], +0.20, 30.0x, 9,000 | failed: no |"
    ]
    assert "**letter**, 12,500 records" in field and "Of a class: how often" in field
    assert "## Headline" not in text  # there is no random or memorised request with steer


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
    text = render(others)
    assert "## Curves" in text and "**fashion, 15,000 records** by share forgotten" in text
    assert curves(read(usual, others)).split("\n\n", 1)[1].split("\n\n- ")[0] == "\n\n".join(
        (
            "**fashion, 1 % forgotten** by training records",
            "| method | 5,000 | 15,000 |\n| :-- | --: | --: |\n"
            "| steer | 0.30 [0.40], +0.20, 30.0x, 9,000 | 0.20 [0.30], +0.20, 30.0x, 9,000 |",
            "**fashion, 15,000 records** by share forgotten",
            "| method | 0.1 % | 1 % |\n| :-- | --: | --: |\n"
            "| steer | (0.40 [0.50]), +0.20, 30.0x, 9,000 | 0.20 [0.30], +0.20, 30.0x, 9,000 |",
            "**fashion, 5,000 records, 1 % forgotten** by kind of network",
            "| method | usual | resnet |\n| :-- | --: | --: |\n"
            "| steer | 0.30 [0.40], +0.20, 30.0x, 9,000 | 0.60 [0.70], +0.20, 30.0x, 9,000 |",
        )
    )
    assert curves(read(usual)) == ""
