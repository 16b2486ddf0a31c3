"""Text in messages."""

from efface.runtime.text import MAX_NAME, shorten


def test_the_first_names_and_how_many_more() -> None:
    assert shorten([]) == ""
    assert shorten(["a", 1, "b"]) == "'a', 1, 'b'"
    assert shorten(range(7)) == "0, 1, 2 and 4 more"
    assert shorten(range(7), 5) == "0, 1, 2, 3, 4 and 2 more"


def test_a_long_name_is_cut() -> None:
    shown = shorten(["x" * 500])
    assert len(shown) == MAX_NAME and shown.endswith("...")
