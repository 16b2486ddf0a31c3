"""What a run shows while it works."""

import io
import sys

import pytest

from benchmarks.progress import show_progress


def test_a_terminal_shows_a_line_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys, "stderr", shown)
    with show_progress() as done:
        done("first [of] two", 90.0)
    assert "first [of] two" in shown.getvalue() and "about 90.0 s left" in shown.getvalue()
