"""How messages name times, and numbers of requests and versions. Light to import."""

from collections.abc import Collection

SHOWN_RANGES = 20


def moment(at: str, to_second: bool = False) -> str:
    """A time in UTC as messages show it: to the minute, or to the second where times are compared."""
    return f"{at[:10]} {at[11 : 19 if to_second else 16]} UTC"


def numbered(what: str, numbers: Collection[int]) -> str:
    """Numbers of requests or versions as text, with consecutive ones as ranges.

    Args:
        what: what they number, such as `request`.
        numbers: at least one number.

    Returns:
        Such as `requests 1-3, 7`; after SHOWN_RANGES ranges, how many more there are.
    """
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    shown = ", ".join("-".join(map(str, ends)) for ends in ranges[:SHOWN_RANGES])
    more = sum(ends[-1] - ends[0] + 1 for ends in ranges[SHOWN_RANGES:])
    return f"{what}{'s' * (len(numbers) != 1)} {shown}" + f" and {more:,} more" * bool(more)
