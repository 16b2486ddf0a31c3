"""Numbers as people read them."""

from efface.auditing.report.wording import chance, number, percent, ratio
from efface.runtime.printing import duration


def test_numbers_read_well() -> None:
    minus, dash = "\N{MINUS SIGN}", "\N{EN DASH}"
    shown = [number(value) for value in (None, 0.0, 0.51234, -2.5, 12345, 12345.6, 0.00001, True, "x")]
    assert shown == [dash, "0.000", "0.512", f"{minus}2.500", "12,345", "12,346", f"1.00e{minus}05", "True", "x"]
    assert [duration(value) for value in (0.0123, 59.96, 600, 9000)] == ["0.0123 s", "60.0 s", "10.0 min", "2.5 h"]
    assert [chance(value) for value in (None, 0.5, 0.0123, 0.00123, 0.0)] == [
        dash,
        "0.50",
        "0.012",
        "0.0012",
        "< 0.0001",
    ]
    assert [percent(value) for value in (0.0006, 0.02, 1.0)] == ["0.06%", "2%", "100%"]
    assert [ratio(value) for value in (0.0255, 1.5)] == ["39.2 times less CPU time than", "1.5 times the CPU time of"]
