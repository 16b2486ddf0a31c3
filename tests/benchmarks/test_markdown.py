"""Numbers as Markdown."""

import pytest

from benchmarks.harness.markdown import number


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (-0.001, "0.00"), (0.126, "0.13"), (468.25, "468"), (-12345.6, "-12,346"), (3e7, "3.0e+07")],
)
def test_numbers_keep_to_what_can_be_read(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_a_number_that_rounds_to_nothing_has_one_sign() -> None:
    assert [number(v, sign=True) for v in (-0.001, 0.001, -0.4)] == ["+0.00", "+0.00", "-0.40"]
