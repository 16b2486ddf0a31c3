"""What a folder of results calls for."""

from pathlib import Path

from benchmarks.harness.tables.overview import render
from helpers.benchmark_cells import cell, controls, lines, written


def test_noisy_digits_stand_in_the_columns_of_public_tools(tmp_path: Path) -> None:
    how = {"problem": "noisy-digits", "records": 600, "share": 0.1}
    folder = written(tmp_path, *controls(**how), cell("steer", "default", **how), cell("ssd", failed="why", **how))
    text = render(folder)
    assert "## Beside public tools" in text and "## Headline" not in text
    assert lines(text.split("## Price")[0], "| ")[2:] == [
        "| original | 1.000 ± 0.010 | 1.000 ± 0.010 | 0.860 ± 0.010 | 0.600 ± 0.010 | 0.200 |  |",
        "| a second retrained model (the floor) | 0.900 ± 0.010 | 0.980 ± 0.010 | 0.855 ± 0.010 | 0.520 | 0.100 "
        "| 1.0 |",
        "| steer | 0.900 ± 0.010 | 0.980 ± 0.010 | 0.855 ± 0.010 | 0.520 | 0.100 | 30.0 |",
        "| ssd, published | failed: why |  |  |  |  |  |",
    ]
