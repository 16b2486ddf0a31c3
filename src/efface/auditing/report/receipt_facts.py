"""The receipt of an audited request, made from the document of its report."""

from collections.abc import Mapping
from typing import Any

from efface.auditing.report.first_screen import first_screen
from efface.auditing.report.receipt import Line, Receipt
from efface.auditing.report.wording import VERDICTS
from efface.runtime.printing import by_number, how_many

TITLE = "Receipt for an erasure request"
LIMITS = (
    "Approximate unlearning gives evidence, not proof; only training anew without the records is sure to remove them "
    "from the model."
)
ELSEWHERE = (
    "The training data itself, with its backups and copies, is not changed by this.",
    "The earlier model knows the records, and so do its copies, backups and checkpoints, and models made from it.",
    "Answers and models that were given away before, logs and caches may hold them too, and records that resemble "
    "them stay in the training set.",
)
NO_CONTENTS = "This receipt holds no record and no id of a record."


def receipt_of(document: Mapping[str, Any], digest: str) -> Receipt:
    """The receipt of a valid document; of its records it says how many there are and nothing else.

    The title of the report is left out, since its user may have named a record in it.

    Args:
        document: The document.
        digest: SHA-256 of report.json, which ties the receipt to the report.
    """
    screen, status = first_screen(document), document["verdict"]["status"]
    weights = document["weights"]
    return Receipt(
        title=TITLE,
        conclusion=VERDICTS[status],
        status=status,
        made=document["created"][:10],
        parts=(
            ("The request", [Line(s) for s in screen.asked]),
            (
                "Dates and versions of the model",
                [
                    Line(f"{document['created'][:10]}, {document['created'][11:16]} UTC", "Checked on"),
                    Line(weights["original"], "Model before"),
                    Line(weights["unlearned"], "Model after"),
                ],
            ),
            (
                "What was done and tested",
                [*map(Line, screen.done), Line(_tests(document))],
            ),
            ("Result", [Line(s) for s in (*screen.found, screen.meaning[0])]),
            ("Limits", [Line(screen.meaning[1]), Line(LIMITS)]),
            ("What else may hold the data", [Line(s) for s in ELSEWHERE]),
        ),
        footer=f"{NO_CONTENTS} Made with efface {document['versions'].get('efface', '(version not recorded)')} from "
        f"report.json ({digest}).",
    )


def _tests(document: Mapping[str, Any]) -> str:
    """How many tests were made, and of which records."""
    of = by_number(document["request"]["count"], "this record", "these records")
    said = f"{_made(len(document['tests']))} of {of}"
    if (rehearsal := document["rehearsal"]) is not None:
        said += f"; {_made(len(rehearsal['tests'])).lower()} of the rehearsed ones"
    return f"{said}."


def _made(tests: int) -> str:
    return f"{how_many(tests, 'test')} {by_number(tests, 'was', 'were')} made" if tests else "No test could be made"
