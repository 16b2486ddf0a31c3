"""The benchmark's results as Markdown: each table under a name, and what a folder of results calls for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.markdown import name, number, spread, table, times, why
from benchmarks.harness.results import Row, Spread, by_setting, read, read_tunings
from benchmarks.harness.tables.full import full
from benchmarks.harness.tables.grids import curves, curves_of, field
from benchmarks.harness.tables.headline import headline, summary
from benchmarks.harness.tables.prices import prices

DIGITS = "noisy-digits"
FIELD = 3  # kinds of requests from which a table of them is worth its place
PUBLIC = ("accuracy forget", "accuracy retain", "accuracy test", "auc")  # columns that public tools are quoted in


def render(place: Path) -> str:
    """Every table that results call for.

    Args:
        place: a folder that `run` wrote to, or a committed table.

    Raises:
        RequestError: there are no results, or damaged ones.
    """
    rows, tunings = read(place), read_tunings(place)
    problems = {r.setting.problem for r in rows}
    steered = {r.setting.request for r in rows if r.method == "steer"}
    parts: list[tuple[str, str]] = []
    if problems == {DIGITS}:
        parts.append(("Beside public tools", digits(rows)))
    elif steered & {"random", "memorised"}:
        parts.append(("Headline", headline(rows)))
    if len({r.setting.request for r in rows}) >= FIELD:
        parts.append(("The field", field(rows)))
    if curves_of(rows):
        parts.append(("Curves", curves(rows)))
    if "steer" in {r.method for r in rows}:
        parts.append(("Price by phases", prices(rows)))
    parts.append(("All that was measured", full(rows, tunings)))
    return "\n\n".join((*(f"## {title}\n\n{text}" for title, text in parts), machine(rows))) + "\n"


def digits(rows: Iterable[Row]) -> str:
    """Noisy digits in the columns that public tools are quoted in, and how many times cheaper; nothing for no rows."""
    lines = []
    for setting, own in by_setting(r for r in rows if r.setting.problem == DIGITS).items():
        for row in own:
            if row.failed is not None:
                lines.append([name(row), why(row), *[""] * len(PUBLIC), ""])
            elif row.method == "noop":
                lines.append(_public("original", row, "original"))
            else:
                label = "a second retrained model (the floor)" if row.method == "retrain" else name(row)
                lines.append(_public(label, row, "unlearned"))
        models = f"{setting.originals} originals and {setting.retrained} retrained models"
    if not lines:
        return ""
    shown = table(("", "FA", "RA", "TA", "loss-attack AUC", "JS to retrained", "cheaper"), lines)
    return (
        f"{shown}\n\n{models}, ± the standard deviation over models; FA / RA / TA: accuracy on forget (with the noisy "
        "labels), retain and clean test records; JS: mean Jensen-Shannon divergence of outputs on forget records to "
        "retrained models, in nats."
    )


def machine(rows: Sequence[Row]) -> str:
    """One line: the code, the machine and the versions that results were made with; all that there were."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        git, versions, on = (row.made_on.get(key, {}) for key in ("git", "versions", "machine"))
        commit = str(git["commit"])[:12] if git.get("commit") else "unknown"
        _add(found, "commit", f"{commit}{' with uncommitted changes' if git.get('dirty') else ''}")
        _add(
            found,
            "CPU",
            f"{on.get('cpu', 'unknown')}, {on.get('cores', '?')} cores, {on.get('threads', '?')} thread(s)",
        )
        _add(found, "device", str(on.get("device", "unknown")))
        for key, version in versions.items():
            if key == "platform":  # a kernel's build number, which no result depends on
                continue
            _add(found, key, str(version))
    shown = (f"{key} {' or '.join(values)}" for key, values in found.items())
    return f"Made with {'; '.join(shown)}."


def _public(label: str, row: Row, group: str) -> list[str]:
    distance = Spread(row.single("divergence", group))
    cheaper = "" if group == "original" else times(row.cost.cheaper)
    return [label, *(spread(row.spread(key, group)) for key in PUBLIC), number(distance.mean, 3), cheaper]


def _add(found: dict[str, dict[str, None]], key: str, value: str) -> None:
    found.setdefault(key, {})[value] = None


TABLES: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "headline": headline,
    "summary": summary,
    "prices": prices,
    "full": full,
    "field": field,
    "curves": curves,
    "digits": digits,
    "machine": machine,
}
