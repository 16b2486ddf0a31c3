"""The report as one self-contained page, without scripts or external files, and with all text escaped."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from efface.auditing.report import csv_files, page_rows, plots
from efface.auditing.report.captions import captions
from efface.auditing.report.first_screen import first_screen, flagging
from efface.auditing.report.links import Terms, terms_of
from efface.auditing.report.plots.roc import rates
from efface.auditing.report.wording import OUTCOMES, STEPS, SYMBOLS, VERDICTS, chance, number, percent, ratio
from efface.runtime.printing import duration, how_many
from efface.runtime.templates import page_templates

if TYPE_CHECKING:
    from jinja2 import Template


def render(document: Mapping[str, Any]) -> str:
    """Render the page of a valid document; the same document always gives the same bytes."""
    shown, hidden = page_rows.records(document["records"])
    beside = page_rows.beside_tests(document["metrics"])
    metrics, footnotes = page_rows.metrics(beside)
    glossary = terms_of(document)
    curves, tests, ranked = document["roc"], document["tests"], document["records"]
    has_distances = any(test["kind"] == "distance" for test in tests)
    return _template().render(
        doc=document,
        verdict=VERDICTS[document["verdict"]["status"]],
        symbol=SYMBOLS[document["verdict"]["status"]],
        answers=first_screen(document).answers,
        terms=Terms(glossary),
        glossary=list(glossary.items()),
        definitions={key: term.definition for key, term in glossary.items()},
        captions=captions(document),
        reasons=page_rows.reasons(document),
        could_not_tell=sum(test["outcome"] in ("open", "uninformative") for test in tests),
        other_models=page_rows.models(document),
        contents=page_rows.contents(document),
        steps=STEPS,
        outcomes=OUTCOMES,
        figures=_figures(document),
        data=_data(document),
        tests=page_rows.tests(tests),
        tests_have_retrained=any(test["retrained"] is not None for test in tests),
        distances=has_distances,
        define_d2=not has_distances and any(metric["kind"] == "distance" for metric in beside),
        rates=None if curves is None else {who: rates(curves, who) for who, c in curves["models"].items() if c},
        metrics=metrics,
        metrics_count=len(beside),
        footnotes=footnotes,
        has_retrained=page_rows.has_retrained(document),
        records=shown,
        hidden_records=hidden,
        flagging=flagging(document),
        flagged=sum(record["flagged"] for record in ranked),
        flagged_of=len(ranked),
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
    environment = page_templates("efface.auditing.report")
    environment.filters.update(
        number=number, chance=chance, percent=percent, duration=duration, ratio=ratio, how_many=how_many
    )
    return environment.get_template("page.html.j2")
