"""Numbers as Markdown."""

import pytest

from benchmarks.harness.markdown import name, number
from benchmarks.harness.records import flatten
from benchmarks.harness.results import row_of
from efface.methods import REGISTRY
from helpers.benchmark_cells import cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (-0.001, "0.00"), (0.126, "0.13"), (468.25, "468"), (-12345.6, "-12,346"), (3e7, "3.0e+07")],
)
def test_numbers_keep_to_what_can_be_read(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_a_number_that_rounds_to_nothing_has_one_sign() -> None:
    assert [number(v, sign=True) for v in (-0.001, 0.001, -0.4)] == ["+0.00", "+0.00", "-0.40"]


def test_a_row_of_another_version_of_a_method_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row_of(flatten(cell(*made))) for made in (("steer", "default"), ("ssd", "tuned"))]
    assert [name(row) for row in rows] == ["steer", "ssd, tuned"]
    made_by = REGISTRY["steer"].version
    monkeypatch.setattr(REGISTRY["steer"], "version", made_by + 1)
    assert [name(row) for row in rows] == [f"steer (version {made_by})", "ssd, tuned"]
