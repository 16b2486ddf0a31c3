"""How messages name times, and numbers of requests and versions."""

from collections.abc import Collection

import pytest

from efface.store.wording import SHOWN_RANGES, moment, numbered


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([7], "request 7"),
        ([1, 2], "requests 1-2"),
        ({5, 3, 1, 2}, "requests 1-3, 5"),
        ((4, 2, 1), "requests 1-2, 4"),
        (range(1, 10_001), "requests 1-10000"),
    ],
)
def test_consecutive_numbers_are_a_range(numbers: Collection[int], text: str) -> None:
    assert numbered("request", numbers) == text


def test_a_message_stays_short_whatever_the_numbers_are() -> None:
    odd = range(1, 2001, 2)
    text = numbered("version", odd)
    assert text.startswith("versions 1, 3, 5") and text.endswith(f", 39 and {1000 - SHOWN_RANGES} more")


def test_times_are_shown_to_the_minute_or_to_the_second() -> None:
    at = "2026-12-24T18:05:59.123+00:00"
    assert moment(at) == "2026-12-24 18:05 UTC"
    assert moment(at, to_second=True) == "2026-12-24 18:05:59 UTC"
