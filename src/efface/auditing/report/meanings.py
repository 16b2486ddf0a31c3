"""What each conclusion means, what it does not mean, and what to do next, for people who are no engineers.

Light to import, so that a terminal can say the same as the page.
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """What a conclusion means.

    Args:
        does: What it means, one sentence.
        does_not: What it does not mean, one sentence.
    """

    does: str
    does_not: str


_NO_PROOF = (
    "It does not prove that every trace is gone: smaller traces, other kinds of tests and other copies of the model "
    "are not covered."
)
_CONTENTS = "It does not mean that the contents of the records can be read out of the model."

MEANINGS = {
    "verified": Meaning(
        "This means that the tests cannot tell this model from one that never learned from the records, within the "
        "limits that were set for them.",
        _NO_PROOF,
    ),
    "verified_by_rehearsal": Meaning(
        "This means that the process passed the tests on other records like these, within the limits set for them; the "
        "requested ones are too few to be tested by themselves.",
        _NO_PROOF,
    ),
    "no_trace_found": Meaning(
        "This means that no test made here could have traced records of this kind, before the change or after it.",
        "It does not mean that the change erased anything.",
    ),
    "not_verified": Meaning(
        "This means that the records must not be called forgotten: somebody with the model may still find out that it "
        "was trained on them.",
        _CONTENTS,
    ),
    "undecided": Meaning(
        "This means that the records may or may not be forgotten: the check was too weak to tell.",
        "It is neither a pass nor a failure.",
    ),
    # conclusions that no audit comes to
    "not_audited": Meaning(
        "This means that nobody knows yet how well the records are forgotten.", "It is neither a pass nor a failure."
    ),
    "retrained": Meaning(
        "This means that the model in use never learned from the records.",
        "It does not cover other copies of the records or of earlier models.",
    ),
    "nothing_unlearned": Meaning(
        "This means that the model is as it was, and the request is still to be honoured.",
        "It does not mean that the records cannot be forgotten: another method or other settings may do it.",
    ),
}
TOO_FAR = Meaning(
    "This means that the records must not be called forgotten: the model was changed too far, and they now differ from "
    "never-seen ones in the other direction.",
    _CONTENTS,
)
WORSE = Meaning(
    "This means that the model became worse than a change of this kind may make it.",
    "It says nothing of whether the records are forgotten.",
)

REPLACE = "Put this model in the place of the earlier one, and delete the earlier one and all its copies."
KEEP = "Keep the receipt with the request: receipt.pdf beside this page, or what efface export writes for it."
NOT_IN_USE = "Do not answer the request with this model yet."
ANEW = (
    "Ask an engineer to try other settings, or to train the model anew without the records, which is the only sure way."
)
ERASE_FIRST = "Have the records erased first, since nothing was changed."
SURE = "If erasure must be certain, have the model trained anew without the records."
# By a piece of the first advice that the audit gives to engineers (auditing/next_steps.py).
ADVICE = (
    (
        "AuditOptions(rehearse=True)",
        "Ask an engineer to try the process on other records of the same kind (a rehearsal).",
    ),
    ("collect requests", "Collect more requests and have them erased together, since so few records show too little."),
    ("level='standard'", "Ask an engineer for the more thorough check (level standard)."),
    ("level='strong'", "Ask an engineer for the most thorough check (level strong)."),
    ("references=[...]", "Ask an engineer for comparison models that never saw the records."),
    ("larger ensembles", "Ask an engineer for a check with more comparison models."),
)
MORE = "Ask an engineer for a more thorough check, or for training the model anew without the records."
