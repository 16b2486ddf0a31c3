"""The first screen: what it says of every conclusion at every level, in plain words and few of them."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from efface.auditing import next_steps
from efface.auditing.config import Level, Status, least_flagged
from efface.auditing.report.first_screen import MAX_SENTENCES, first_screen, flagging
from efface.auditing.report.meanings import ADVICE, MEANINGS
from efface.auditing.report.wording import METHODS_REFERENCE
from helpers.report_document import Document, bare, example, record
from helpers.report_document import test as outcome

# words of engineers, which somebody who is none does not know
ENGINEERS = re.compile(
    r"\b(AUC|d2|p.values?|interval|margin|lira|rmia|holdout|nonmembers?|strangers?|shunned|uninformative|informative"
    r"|intersection|union|null|epsilon|logits?|retain)\b",
    re.IGNORECASE,
)


def shaped(status: str, level: str, **changes: Any) -> Document:
    """A whole report of one conclusion and level."""
    document = {**example(), "level": level, **changes}
    return {**document, "verdict": {**document["verdict"], "status": status, "reasons": []}}


def said(document: Document) -> str:
    return " ".join(first_screen(document).sentences)


@pytest.mark.parametrize("shape", [lambda d: d, bare], ids=["whole", "bare"])
@pytest.mark.parametrize(("status", "level"), list(itertools.product(Status, Level)))
def test_every_status_and_level_is_said_plainly(status: str, level: str, shape: Callable[[Document], Document]) -> None:
    document = shape(example())
    document = {**document, "level": level, "verdict": {**document["verdict"], "status": str(status)}}
    screen = first_screen(document)
    assert len(screen.sentences) <= MAX_SENTENCES
    assert [q for q, answer in screen.answers if not answer] == []
    for sentence in screen.sentences:
        assert sentence.endswith(".") and not ENGINEERS.search(sentence), sentence
        assert len(sentence.split()) <= 36, sentence
    assert f"level {level}" in said(document)


def test_every_status_has_a_meaning_and_what_it_is_not() -> None:
    assert set(map(str, Status)) <= set(MEANINGS)
    for status in Status:
        assert first_screen(shaped(status, "standard", tests=[])).meaning == MEANINGS[status]


def test_a_yes_says_what_tests_would_have_noticed() -> None:
    cleared = [outcome(f"T{i}", "attack", (0.3, 0.0, 0.0), "cleared") for i in range(2)]
    document = shaped(
        "verified", "standard", tests=[*cleared, outcome("U", "attack", (0.0, 0.0, 0.0), "uninformative")]
    )
    screen = first_screen(document)
    assert "By 2 tests that would have noticed, the model could not be distinguished" in screen.found[0]
    assert "lost accuracy" not in screen.found[0]
    document["verdict"]["reasons"] = ["caution: accuracy on never-seen records fell: a little"]
    assert screen.found[0].replace(" set.", " set; it may have lost accuracy.") == first_screen(document).found[0]
    assert screen.found[1] == "1 test could not tell either way."
    assert "delete the earlier one" in screen.next[0]


def test_too_much_and_too_little_are_different_failures() -> None:
    far = {**outcome("A", "attack", (0.3, -0.2, 0.0), "left"), "unlearned": estimate(-0.2)}
    near = {**outcome("B", "attack", (0.3, 0.2, 0.0), "left"), "unlearned": estimate(0.2)}
    assert "1 of 1 test found that the model was changed too far" in said(
        shaped("not_verified", "standard", tests=[far])
    )
    assert "they now differ from never-seen ones in the other direction" in said(
        shaped("not_verified", "standard", tests=[far])
    )
    for tests in ([near], [near, far]):
        assert "still treats the records differently" in said(shaped("not_verified", "standard", tests=tests))


def test_traces_in_other_models_are_not_claimed_of_this_one() -> None:
    other = {**outcome("Method: excess d2", "distance", (1.0, 0.6, 0.0), "left"), "of_model": False}
    text = said(shaped("not_verified", "strong", tests=[other]))
    assert "1 of 1 test found that the method leaves traces of the records in other models." in text
    assert "the model still treats the records differently" not in text
    mine = {**other, "of_model": True}
    assert "1 of 2 tests found that the model still" in said(shaped("not_verified", "strong", tests=[other, mine]))


def estimate(value: float) -> Document:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "level": 0.95}


def test_known_records_that_scored_lower_are_gone_too_far_above_zero() -> None:
    below = {**outcome("A", "attack", (-0.3, 0.2, 0.0), "left"), "original": estimate(-0.3), "unlearned": estimate(0.2)}
    assert "changed too far" in said(shaped("not_verified", "standard", tests=[below]))


def test_lost_accuracy_says_nothing_of_forgetting() -> None:
    document = shaped("not_verified", "standard", tests=[])
    document["verdict"]["reasons"] = ["utility: accuracy on never-seen records fell"]
    assert "lost more of its accuracy" in said(document)
    assert "says nothing of whether the records are forgotten" in said(document)


def test_a_rehearsal_that_fails_says_whose_traces_were_left() -> None:
    document = shaped("not_verified", "standard", tests=[])
    assert "left traces of other records of the same kind" in said(document)
    document["rehearsal"]["standings"][0]["stands_out"] = True
    assert "stand out as ones that the model still knows" in said(document)


def test_undecided_says_why_and_what_would_help() -> None:
    document = shaped("undecided", "standard", rehearsal=None)
    document["request"]["count"] = 1
    document["verdict"]["next"] = [next_steps.REHEARSE]
    text = said(document)
    assert "1 of the 5,000 training records was to be forgotten" in text and "learned from it." in text
    assert "1 record is too few for a conclusion." in text and "this record and to records" in text
    assert "(a rehearsal)" in text
    document["request"].update(count=500, groups=12)
    assert "12 persons or other groups are too few for a conclusion." in said(document)
    document["request"].update(groups=None)
    assert "neither confirm that the records are forgotten nor" in said(document)
    document["exchangeable"]["is_exchangeable"] = False
    assert "Nothing could be concluded" not in said(document)
    assert "Nothing could be concluded" in said({**document, "level": "quick"})


@pytest.mark.parametrize(
    "step", [next_steps.STANDARD, next_steps.STRONG, next_steps.REFERENCES, next_steps.FEW_RECORDS, next_steps.REHEARSE]
)
def test_first_advice_to_engineers_has_plain_words(step: str) -> None:
    document = shaped("undecided", "standard")
    document["verdict"]["next"] = [step]
    plain = [words for piece, words in ADVICE if piece in step]
    assert plain and first_screen(document).next[1] == plain[0]


def test_weights_that_did_not_change_are_said_to_be_the_old_ones() -> None:
    document = shaped("not_verified", "standard")
    document["weights"]["unlearned"] = document["weights"]["original"]
    assert "Nothing was changed" in said(document) and "Have the records erased first" in said(document)


def test_retraining_and_changes_that_are_not_known_are_not_called_unlearning() -> None:
    document = shaped("verified", "strong")
    document["method"]["key"] = "retrain"
    assert "trained anew without the records." in first_screen(document).done[0]
    assert "is not recorded" in first_screen({**document, "method": None}).done[0]


@pytest.mark.parametrize("level", list(map(str, Level)))
def test_what_is_said_of_further_models_follows_from_those_in_the_report(level: str) -> None:
    def helped(*models: str, retrained: bool = False, on: str = "some retain records") -> str:
        tests = [outcome("A", "attack", (0.3, 0.0, 0.0), "cleared")]
        if not retrained:
            tests[0]["retrained"] = None
        named = [{"what": m, "digest": None, "trained_on": on} for m in ("original", METHODS_REFERENCE, *models)]
        return first_screen(shaped("verified", level, tests=tests, models=named)).done[1]

    assert "without any further model." in helped()
    one, two = "reference 1 of the audit", "reference 2 of the audit"
    assert "one further model that saw neither." in helped(one)
    assert "further models that saw neither." in helped(one, two)
    assert "one further model that is said to have seen neither." in helped(one, on="handed in: said to have not")
    assert "some of them trained anew." in helped(one, "8 retrained of the audit")
    assert "some of them trained anew." in helped(one, retrained=True)
    assert "models that were trained anew." in helped("retrained 0, handed in")
    assert "models that were trained anew." in helped(retrained=True)


def test_flagging_is_mentioned_only_where_it_was_possible() -> None:
    many = [record(i) for i in range(50)]
    document = shaped("verified", "standard", records=many)
    document["roc"]["negatives"] = 120
    assert flagging(document) == least_flagged(50, 120) == 9
    assert "no single record could have been recognised" in said(document)
    document["roc"]["negatives"] = 999
    assert flagging(document) == 1
    assert "No record was recognised by itself." in said(document)
    document["records"] = [record(0, flagged=True), record(1, flagged=True)]
    assert "2 records can still be recognised one by one." in said(document)
    document["records"] = [record(0)]
    for silent in ({"roc": None}, {"records": [record(0, p_unlearned=None)]}, {"records": []}):
        assert flagging({**document, **silent}) is None
        assert "recognised" not in said({**document, **silent})
