"""A report as a short text for one screen: the verdict, its first reasons, the cost and what to do next."""

from collections import Counter
from typing import TYPE_CHECKING

from efface.auditing.report.wording import OUTCOMES, VERDICTS
from efface.errors import shorten
from efface.runtime.cost import spent
from efface.runtime.printing import brief, sheet
from efface.unlearning.result import SHOWN_IDS

if TYPE_CHECKING:
    from efface.auditing.report.build import Report


def on_one_screen(report: "Report") -> str:
    """The text of a report; ids are left out where the report withholds them."""
    verdict, inputs = report.verdict, report.inputs
    ids = shorten(inputs.request.ids, SHOWN_IDS) if inputs.options.show_ids else "ids withheld"
    outcomes = Counter(t.outcome for t in report.tests)
    counts = ", ".join(
        f"{outcomes[o]} {OUTCOMES[o].word}" for o in ("left", "open", "uninformative", "cleared") if outcomes[o]
    )
    unlearning = [] if report.result is None else [f"unlearning {spent(report.result.cost)}"]
    return sheet(
        f"Report: {VERDICTS[verdict.status]}. {verdict.sentence}",
        [
            ("reasons", verdict.reasons),
            ("records", f"{len(inputs.request.ids):,} of {len(inputs.request.train):,} training records: {ids}"),
            ("method", "not known" if inputs.method is None else brief(inputs.method)),
            ("audit", f"level {report.level}, seed {report.seed}"),
            ("tests", f"{len(report.tests)}: {counts}" if report.tests else "none"),
            ("record", _of_single_record(report)),
            ("notes", report.notes),
            ("cost", [*unlearning, f"audit {spent(report.cost)}"]),
            ("next", verdict.next_steps),
            ("more", ".verdict .tests .table .metrics .notes .document; .save(folder) writes JSON, HTML and a receipt"),
        ],
    )


def _of_single_record(report: "Report") -> list[str]:
    """What looks at the record of a request of one say; none for requests of more."""
    alone = len(report.inputs.request.ids) == 1
    return [each.sentence(0) for each in report.findings.single_records if alone and each.records]
