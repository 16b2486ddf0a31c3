"""The first screen of a report, for people who are no engineers: at most MAX_SENTENCES plain sentences.

What was asked, what was done, what was found, what that means and does not mean, and what to do next. All of it follows
from the document, so that page, receipt and terminal say the same.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from efface.auditing.config import least_flagged
from efface.auditing.report import meanings
from efface.auditing.report.meanings import MEANINGS, Meaning
from efface.auditing.report.what_was_done import is_unchanged, what_was_done
from efface.auditing.report.wording import number, percent
from efface.auditing.verdict import MIN_RECORDS
from efface.runtime.printing import by_number, how_many

MAX_SENTENCES = 12
Document = Mapping[str, Any]


@dataclass(frozen=True)
class FirstScreen:
    """What a report says to somebody who is no engineer, as sentences.

    Args:
        asked: What was asked.
        done: What was done.
        found: What was found; the first sentence is the conclusion.
        meaning: What that means, and what it does not mean.
        next: What to do next.
    """

    asked: tuple[str, ...]
    done: tuple[str, ...]
    found: tuple[str, ...]
    meaning: tuple[str, ...]
    next: tuple[str, ...]

    @property
    def answers(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each question and its sentences, in order."""
        return (
            ("What was asked", self.asked),
            ("What was done", self.done),
            ("What was found", self.found),
            ("What that means, and what not", self.meaning),
            ("What to do next", self.next),
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences in their order."""
        return (*self.asked, *self.done, *self.found, *self.meaning, *self.next)


def first_screen(document: Document) -> FirstScreen:
    """The sentences of a valid document."""
    return FirstScreen(
        (_asked(document["request"]),),
        tuple(what_was_done(document)),
        tuple(_found(document)),
        tuple(_meaning(document)),
        tuple(_next(document)),
    )


def flagging(document: Document) -> int | None:
    """How many records together could be flagged at the least; 1 if each could alone, None if none was tested."""
    ranked, curves = document["records"], document["roc"]
    tested = sum(record["p_unlearned"] is not None for record in ranked)
    if not tested or curves is None:
        return None
    return least_flagged(len(ranked), curves["negatives"])


def _asked(request: Document) -> str:
    count, training = request["count"], request["training_records"]
    groups = request["groups"]
    of_groups = f", from {how_many(groups, 'person or other group', 'persons or other groups')}," if groups else ""
    of_classes = ", which make up whole classes," if request["kind"] == "class" and count > 1 else ""
    were, them = by_number(count, "was", "were"), by_number(count, "it", "them")
    return (
        f"{count:,} of the {how_many(training, 'training record')}{of_groups}{of_classes} {were} to be forgotten: the "
        f"model should become as if it had never learned from {them}."
    )


def _found(document: Document) -> Iterator[str]:
    status = document["verdict"]["status"]
    yield {
        "verified": _verified,
        "verified_by_rehearsal": _by_rehearsal,
        "no_trace_found": _no_trace,
        "not_verified": _not_verified,
        "undecided": _undecided,
    }[status](document)
    if said := _tally(document, status):
        yield said
    if said := _accuracy(document):
        yield said
    if said := _flagged(document):
        yield said


def _verified(document: Document) -> str:
    cleared = _outcomes(document)["cleared"]
    tests = f"{how_many(cleared, 'test')} that would have noticed" if cleared else "the tests that would have noticed"
    lost = any(reason.startswith("caution: ") for reason in document["verdict"]["reasons"])
    return (
        f"By {tests}, the model could not be distinguished from one that never saw the records, within the limits that "
        f"were set{'; it may have lost ' + document['outputs']['utility'] if lost else ''}."
    )


def _by_rehearsal(document: Document) -> str:
    return (
        "The model that came of this trial could not be distinguished from one that never saw the records tried, "
        "within the limits set, and the requested ones do not stand out as known."
    )


def _no_trace(document: Document) -> str:
    return (
        "There was nothing to find: even before the change, no test could tell training records of this kind from "
        "never-seen ones."
    )


def _not_verified(document: Document) -> str:
    tests = how_many(len(document["tests"]), "test")
    left = _left(document)
    if left and not any(test["of_model"] for test in left):
        return f"{len(left)} of {tests} found that the method leaves traces of the records in other models."
    if left := [test for test in left if test["of_model"]]:
        what = (
            "the model was changed too far: the records now differ from never-seen ones in the other direction"
            if _is_too_far(left)
            else "the model still treats the records differently from never-seen ones"
        )
        return f"{len(left)} of {tests} found that {what}."
    if _has_lost_accuracy(document):
        return f"The model lost more of its {document['outputs']['utility']} on never-seen records than is allowed."
    if document["rehearsal"] is not None and any(s["stands_out"] for s in document["rehearsal"]["standings"]):
        return "The requested records stand out as ones that the model still knows."
    if document["rehearsal"] is not None:
        return "In the trial, the process left traces of other records of the same kind."
    return "The check found that the records are not forgotten as they should be."


def _undecided(document: Document) -> str:
    request, rehearsal = document["request"], document["rehearsal"]
    exchangeable = document["exchangeable"]
    if document["level"] == "quick" and exchangeable is not None and not exchangeable["is_exchangeable"]:
        return (
            "Nothing could be concluded: these records differ from the other training records, and this level of check "
            "cannot allow for that."
        )
    if rehearsal is not None:
        return "Neither the records themselves nor the trial allow a conclusion."
    if not document["tests"]:
        return "No test could be made, so nobody knows whether the records are forgotten."
    counts = request["groups"] or request["count"]
    if counts < MIN_RECORDS:
        what = (
            how_many(counts, "person or other group", "persons or other groups")
            if request["groups"]
            else how_many(counts, "record")
        )
        return f"{what} {by_number(counts, 'is', 'are')} too few for a conclusion."
    return "The tests could neither confirm that the records are forgotten nor show that they are not."


def _tally(document: Document, status: str) -> str:
    """How the tests came out that the conclusion does not name."""
    outcomes = _outcomes(document)
    cleared, unable = outcomes["cleared"], outcomes["open"] + outcomes["uninformative"]
    parts = [f"{how_many(cleared, 'test')} found no trace"] if cleared and status != "verified" else []
    parts += [f"{how_many(unable, 'test')} could not tell either way"] if unable else []
    return f"{', and '.join(parts)}." if parts else ""


def _accuracy(document: Document) -> str:
    rows = {m["key"]: m for m in document["metrics"] if m["records"] == "all"}
    for key in ("accuracy_test", "accuracy_holdout"):
        if key in rows and all(rows[key][who]["estimate"] is not None for who in ("original", "unlearned")):
            before, after = (rows[key][who]["estimate"]["value"] for who in ("original", "unlearned"))
            utility, is_share = (document["outputs"][name] for name in ("utility", "utility_is_share"))
            if utility != "accuracy":  # of part of a record
                shown = percent if is_share else number
                return f"On never-seen records its {utility} is {shown(after)}, and before it was {shown(before)}."
            right = f"the model is right in {percent(after)} of cases, and before it was in {percent(before)}"
            return f"On never-seen records {right}."
    return ""


def _flagged(document: Document) -> str:
    least, ranked = flagging(document), document["records"]
    flagged = sum(record["flagged"] for record in ranked)
    if flagged:
        return f"{how_many(flagged, 'record')} can still be recognised {by_number(flagged, 'by itself', 'one by one')}."
    if least is None:
        return ""
    if least > 1:
        return "With so few never-seen records to compare with, no single record could have been recognised."
    return "No record was recognised by itself."


def _meaning(document: Document) -> Sequence[str]:
    status = document["verdict"]["status"]
    meaning: Meaning = MEANINGS[status]
    if status == "not_verified":
        left = _left(document)
        if left and _is_too_far(left):
            meaning = meanings.TOO_FAR
        elif not left and _has_lost_accuracy(document):
            meaning = meanings.WORSE
    return meaning


def _next(document: Document) -> Sequence[str]:
    status = document["verdict"]["status"]
    if status in ("verified", "verified_by_rehearsal"):
        return meanings.REPLACE, meanings.KEEP
    if status == "no_trace_found":
        return meanings.KEEP, meanings.SURE
    if is_unchanged(document):
        return meanings.NOT_IN_USE, meanings.ERASE_FIRST
    if status == "not_verified":
        return meanings.NOT_IN_USE, meanings.ANEW
    advice = next(iter(document["verdict"]["next"]), "")
    advised = next((said for piece, said in meanings.ADVICE if piece in advice), meanings.MORE)
    return meanings.NOT_IN_USE, advised


def _outcomes(document: Document) -> Counter[str]:
    return Counter(test["outcome"] for test in document["tests"])


def _left(document: Document) -> list[Document]:
    return [test for test in document["tests"] if test["outcome"] == "left"]


def _is_too_far(left: Sequence[Document]) -> bool:
    """Whether every test that is left shows an effect on the other side of zero than known records have."""
    return all(_went_beyond(test) for test in left)


def _went_beyond(test: Document) -> bool:
    effect, before = test["unlearned"], test["original"]
    if test["kind"] == "distance" or effect["low"] is None or effect["low"] <= 0 <= effect["high"]:
        return False
    known_below = before["high"] is not None and before["high"] < 0
    return bool((effect["value"] > 0) == known_below)


def _has_lost_accuracy(document: Document) -> bool:
    return any(reason.startswith("utility: ") for reason in document["verdict"]["reasons"])
