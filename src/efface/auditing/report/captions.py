"""What stands below the figures of a report: true of the very figure, which differs by what was measured."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

# why the run's own measurement and the audit's tests differ although both are conditional AUCs
RUN_AND_AUDIT = (
    "The audit's tests differ from it: they use other holdout records, other scores and, but for level quick, "
    "reference models trained afresh. The run has a single quick reference, which began at weights that knew the "
    "forget records. The audit alone decides. Its effects are a conditional AUC less that of a model that never saw "
    "the records."
)


def captions(document: Document) -> dict[str, str]:
    """The text below each figure, by the id of its section."""
    return {
        "tests": _tests(document["tests"]),
        "scores": _scores(document["distributions"]),
        "roc": "" if document["roc"] is None else _roc(document["roc"]),
        "steps": (
            "The conditional AUC by which the run decides when to stop. It compares the margins of the forget records "
            f"with those of holdout records that are kept for the run. {RUN_AND_AUDIT}"
        ),
    }


def _tests(tests: list[Document]) -> str:
    kinds = {test["kind"] for test in tests}
    said = [
        "Filled circles are the unlearned model: the line with end marks is the interval that detects a trace, the "
        "broad bar the equivalence interval, which must lie within the grey for the test to clear the model. Hollow "
        "circles are the original."
    ]
    if any(test["retrained"] is not None for test in tests):
        said.append("Diamonds are retrained models, each held out and judged against the others.")
    if kinds - {"distance"}:
        said.append(
            "Effects on an AUC may lie on either side: below zero, forget records score lower than records that the "
            "model never saw."
        )
    if "distance" in kinds:
        said.append("A distance is a share of doing nothing's and has no side; below zero it is chance.")
    return " ".join(said)


def _scores(distributions: Document) -> str:
    said = (
        "The margin of each record. Records that a model remembers lie further to the right than under a model that "
        "never saw them."
    )
    if distributions["retrained"] is not None:
        return (
            f"{said} The forget records should lie where the retrained model has them, which is not where the holdout "
            "lies if they are harder or easier than it."
        )
    return (
        f"{said} If the forget records are as difficult as the holdout, the two should be spread alike after "
        "unlearning; harder ones lie further to the left under any model."
    )


def _roc(curves: Document) -> str:
    retrained = "; dotted: retrained" if curves["models"]["retrained"] is not None else ""
    return (
        f"{curves['statistic']}. Dashed: original; solid: unlearned{retrained}. Forget records are compared with "
        "never-seen records of all difficulties. The left end stands for one of "
        f"{curves['negatives']:,} never-seen records; in the grey part the curves rest on fewer than ten, and are "
        "coarse. A curve on the diagonal is no better than guessing."
    )
