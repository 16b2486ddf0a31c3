"""Figures of made-up results."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.harness.plots import draw
from efface.errors import RequestError
from helpers.benchmark_cells import cell, controls, written


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
    assert "record-trainings" in first[1].read_text()
    old = (cell("steer", "default", records=n, price=None) for n in (5000, 15000))
    before = draw(written(tmp_path / "old", *old), tmp_path / "d")[-1].read_text()
    assert "times cheaper" in before and "record-trainings" not in before
    assert draw(written(tmp_path / "few", *controls()), tmp_path / "c") == []
    with pytest.raises(RequestError, match="cannot be written"):
        draw(tier, first[0])
