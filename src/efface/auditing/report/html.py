"""The report as one self-contained page, without scripts or external files, and with all text escaped."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from efface.auditing.report import csv_files, page_rows, plots
from efface.auditing.report.plots.roc import rates
from efface.auditing.report.wording import OUTCOMES, STEPS, SYMBOLS, VERDICTS, chance, duration, number, percent, ratio

if TYPE_CHECKING:
    from jinja2 import Template


def render(document: Mapping[str, Any]) -> str:
    """Render the page of a valid document; the same document always gives the same bytes."""
    shown, hidden = page_rows.records(document["records"])
    metrics, footnotes = page_rows.metrics(document["metrics"])
    curves = document["roc"]
    return _template().render(
        doc=document,
        verdict=VERDICTS[document["verdict"]["status"]],
        symbol=SYMBOLS[document["verdict"]["status"]],
        tiles=page_rows.tiles(document),
        contents=page_rows.contents(document),
        steps=STEPS,
        outcomes=OUTCOMES,
        figures=_figures(document),
        data=_data(document),
        tests=page_rows.tests(document["tests"]),
        rates=None if curves is None else {who: rates(curves, who) for who, c in curves["models"].items() if c},
        metrics=metrics,
        footnotes=footnotes,
        has_retrained=page_rows.has_retrained(document),
        records=shown,
        hidden_records=hidden,
        has_positions=any(record["position"] is not None for record in shown),
        has_descriptions=any(record["description"] is not None for record in shown),
    )


def _figures(document: Mapping[str, Any]) -> dict[str, Markup | None]:
    evidence, curves = document["evidence"], document["roc"]
    drawn = {
        "scores": plots.distributions(document["distributions"]),
        "tests": plots.effects(document["tests"]),
        "roc": None if curves is None else plots.roc(curves),
        "steps": None if evidence is None else plots.evidence(evidence),
        "cost": plots.cost(document["cost"]),
    }
    # the figures are the only markup that is not escaped; plots escapes the text within them
    return {name: None if svg is None else Markup(svg) for name, svg in drawn.items()}


def _data(document: Mapping[str, Any]) -> dict[str, str | None]:
    """Data URLs of the numbers behind each figure and behind the table of records."""
    evidence, curves = document["evidence"], document["roc"]
    return {
        "scores": csv_files.address(csv_files.scores(document["distributions"])),
        "tests": csv_files.address(csv_files.tests(document["tests"])),
        "roc": None if curves is None else csv_files.address(csv_files.roc(curves)),
        "steps": None if evidence is None else csv_files.address(csv_files.evidence(evidence)),
        "cost": csv_files.address(csv_files.cost(document["cost"])),
        "records": csv_files.address(csv_files.records(document["records"])),
    }


@cache
def _template() -> "Template":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_source),
    )
    environment.filters.update(number=number, chance=chance, percent=percent, duration=duration, ratio=ratio)
    return environment.get_template("page.html.j2")


def _source(name: str) -> str:
    return files("efface.auditing.report").joinpath(name).read_text(encoding="utf-8")
