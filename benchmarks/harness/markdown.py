"""Numbers, settings and tables as Markdown."""

import re
from collections.abc import Iterable, Sequence

from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.results import Interval, Row, Share, Spread
from benchmarks.harness.suite import PUBLISHED, Setting
from benchmarks.harness.versions import versions_of

NONE = "–"
LONGEST = 90  # characters of a reason in a cell
REFUSED = re.compile(r"^the request was refused(?: for \d+ reasons)?:\s*-?\s*")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: int = 1) -> str:
    """A Markdown table; columns from `right` on are aligned to the right."""
    rule = [":--" if i < right else "--:" for i in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(escaped(cell) for cell in line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text in one line that ends no cell."""
    return " ".join(text.split()).replace("|", "\\|")


def number(value: float | None, places: int = 2, sign: bool = False) -> str:
    """A number of so many places, fewer where it is large; a dash for none."""
    if value is None:
        return NONE
    size, plus = abs(value), "+" if sign else ""
    if size >= 99_999.5:
        return f"{value:{plus}.1e}"
    text = f"{value:{plus},.{places if size < 99.95 else 0}f}"
    # nothing but rounding is below 0
    return text if re.search("[1-9]", text) or not text.startswith("-") else f"{plus}{text[1:]}"


def times(value: float | None) -> str:
    """How many times cheaper."""
    return number(value, 1)


def price(value: float | None) -> str:
    """Record-trainings, whole ones; a dash for none."""
    return NONE if value is None else f"{value:,.0f}"


def left(share: Share) -> str:
    """What is left with its upper bound, in round brackets where it means nothing."""
    shown = _bounded(share.share)
    return shown if share.informative or share.share.value is None else f"({shown})"


def _bounded(interval: Interval) -> str:
    text = number(interval.value)
    return text if interval.value is None or interval.high is None else f"{text} [{number(interval.high)}]"


def signed(interval: Interval) -> str:
    """A change with its interval."""
    text = number(interval.value, sign=True)
    if interval.value is None or interval.low is None or interval.high is None:
        return text
    return f"{text} [{number(interval.low, sign=True)}, {number(interval.high, sign=True)}]"


def spread(value: Spread, places: int = 3) -> str:
    """A mean ± the standard deviation over models."""
    text = number(value.mean, places)
    return text if value.mean is None or value.sd is None else f"{text} ± {number(value.sd, places)}"


def percent(share: float) -> str:
    """A share of the training records."""
    return f"{100 * share:g} %"


def request(setting: Setting) -> str:
    """The request in words: of a class or a cluster, the share asked for says nothing."""
    size = "" if setting.request in ("class", "cluster") else f" {percent(setting.share)}"
    return f"{setting.request}{size}{'' if setting.draw == PUBLISHED else f', draw {setting.draw}'}"


def titled(setting: Setting) -> str:
    """A problem and a request in words, with the number of training records where it is not the usual one."""
    known = PROBLEMS.get(setting.problem)
    size = "" if known is not None and known.usual == setting.records else f" {setting.records:,}"
    return f"{setting.problem}{size}, {request(setting)}"


def name(row: Row) -> str:
    """The method, whether published or tuned options were used, and its version where the code has another by now."""
    method = row.method if row.cell.variant == "default" else f"{row.method}, {row.cell.variant}"
    made_by, now = row.measured.get("method_version"), versions_of(row.method)["method_version"]
    return method if made_by in (None, now) else f"{method} (version {made_by})"


def plural(count: int, word: str) -> str:
    """A count with its word."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def why(row: Row) -> str:
    """Why a row failed, in few words."""
    said = REFUSED.sub("", " ".join((row.failed or "").split()))
    return f"failed: {said if len(said) <= LONGEST else f'{said[: LONGEST - 4]} ...'}"
