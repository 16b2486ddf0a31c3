"""Progress bars go to standard error, on a terminal or where they are asked for."""

import pytest

from efface.runtime.progress import track


class Terminal:
    """Standard error as a terminal, or not."""

    encoding = "utf-8"

    def __init__(self, is_terminal: bool) -> None:
        self.is_terminal, self.text = is_terminal, ""

    def isatty(self) -> bool:
        return self.is_terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    ("is_terminal", "show", "total", "shown"),
    [
        (True, None, 3, True),
        (False, None, 3, False),
        (False, True, 3, True),
        (True, False, 3, False),
        (True, None, 0, False),
    ],
)
def test_a_bar_is_shown_where_it_helps(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, show: bool | None, total: int, shown: bool
) -> None:
    stream = Terminal(is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "100")
    with track("training", total, show) as advance:
        for _ in range(2):
            advance()
    assert ("training" in stream.text and "2/3" in stream.text) is shown
    assert bool(stream.text) is shown


def test_a_bar_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal(True))
    with pytest.raises(ZeroDivisionError), track("training", 3):
        raise ZeroDivisionError
    with track("again", 1) as advance:  # Rich allows one live display at a time
        advance()
