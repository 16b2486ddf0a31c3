"""What the first screen of a report says was done: how the model was changed, and how it was checked."""

from collections.abc import Iterator, Mapping
from typing import Any

from efface.auditing.report.wording import METHODS_REFERENCE, times
from efface.runtime.printing import by_number, how_many

Document = Mapping[str, Any]


def what_was_done(document: Document) -> Iterator[str]:
    """What was done to the model, and how it was checked: two sentences, or three with a rehearsal."""
    yield _change(document)
    these = by_number(document["request"]["count"], "this record", "these records")
    yield (
        f"The check (level {document['level']}) compared how the model answers to {these} and to records that it never "
        f"saw, {_help(document)}."
    )
    if document["rehearsal"] is not None:
        rehearsed = how_many(document["rehearsal"]["records"], "other training record")
        yield f"So few records show little alone, so the same process was tried on {rehearsed} of the same kind."


def _help(document: Document) -> str:
    """What models the check had beside the two that it compares, as far as the document names them."""
    others = [m for m in document["models"] if m["what"] not in ("original", "unlearned", METHODS_REFERENCE)]
    anew = ["retrained" in m["what"] for m in others]
    if any(anew) or any(test["retrained"] is not None for test in document["tests"]):
        if all(anew):
            return "with the help of models that were trained anew"
        return "with the help of further models, some of them trained anew"
    if not others:
        return "without any further model"
    models = by_number(len(others), "one further model", "further models")
    said = any("said to" in m["trained_on"] for m in others)
    saw = f"{by_number(len(others), 'is', 'are')} said to have seen neither" if said else "saw neither"
    return f"with the help of {models} that {saw}"


def _change(document: Document) -> str:
    method, ratio = document["method"], document["cost"]["ratio_cpu"]
    if is_unchanged(document):
        return "Nothing was changed: the model is still the one that learned from the records."
    if method is None:
        return "How the model was changed is not recorded in this report."
    if method["key"] == "retrain":
        return "The model was trained anew without the records."
    cost = ""
    if ratio is not None and ratio > 0:
        less = "less computing time than" if ratio < 1 else "the computing time of"
        cost = f"; that took {times(ratio)} {less} training anew"
    return (
        f"efface changed the trained model so that it forgets, without training it anew (method {method['key']}){cost}."
    )


def is_unchanged(document: Document) -> bool:
    """Whether the model is still the original."""
    weights = document["weights"]
    return bool(weights["original"] == weights["unlearned"])
