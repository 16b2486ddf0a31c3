"""Words and number formats for verdicts and outcomes, on the page and in the terminal."""

from typing import NamedTuple

METHODS_REFERENCE = "reference of the method and the stop rule"  # what it is, among the models of a report
VERDICTS = {
    "verified": "Verified",
    "verified_by_rehearsal": "Verified by rehearsal",
    "no_trace_found": "No trace found",
    "not_verified": "Not verified",
    "undecided": "Undecided",
}
SYMBOLS = {
    "verified": "\N{CHECK MARK}",
    "verified_by_rehearsal": "\N{CHECK MARK}",
    "no_trace_found": "\N{EMPTY SET}",
    "not_verified": "\N{BALLOT X}",
    "undecided": "?",
}
STEPS = {
    "looks_unseen": "The steps ended because the whole interval lay within the margin of the target.",
    "under_unlearned": "The step limit came before the target: by the run's own measure, too little was unlearned.",
    "over_unlearned": "The whole interval lay beyond the target: by the run's own measure, too much was unlearned.",
    "undecided": "The step limit was reached with an interval that covers the target but is wider than the margin.",
    "utility_floor": "The steps ended because held-out accuracy fell below its floor.",
    "not_judged": "The steps were taken without a stop rule that judged them.",
}
KINDS = {
    "utility": "utility",
    "attack": "attack",
    "off_label": "off-label",
    "distance": "distance",
    "features": "features",
    "ensemble": "ensemble",
}


# of a reading of a metric
STATES = {
    "measured": "measured",
    "not_measured": "not measured",
    "not_applicable": "not applicable",
    "uninformative": "could not tell",
}


class Mark(NamedTuple):
    """How the outcome of a test is shown.

    Args:
        symbol: One character, so that the outcome is not shown by colour alone.
        word: One word or a few.
        meaning: An explanation.
    """

    symbol: str
    word: str
    meaning: str


OUTCOMES = {
    "cleared": Mark(
        "\N{CHECK MARK}",
        "cleared",
        "the whole equivalence interval lies within what is allowed, and doing nothing leaves more",
    ),
    "left": Mark("\N{BALLOT X}", "failed", "an effect is shown, and it is not shown to lie within what is allowed"),
    "open": Mark("?", "open", "neither of these is shown; more records or more models might show one"),
    "uninformative": Mark(
        "\N{EN DASH}",
        "could not tell",
        "it could not have cleared any model: doing nothing shows too little, or too few records",
    ),
}


def number(value: float | int | bool | str | None) -> str:
    """Format a number with about three significant digits and thousands separators; other values become text."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace("-", "\N{MINUS SIGN}")
    size = abs(value)
    text = f"{value:,.0f}" if size >= 1000 else f"{value:.3f}" if size >= 0.001 or size < 1e-9 else f"{value:.2e}"
    if text.strip("-0.") == "":  # what rounds to zero has no sign
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def chance(value: float | None) -> str:
    """Format a p value with about two significant digits."""
    if value is None:
        return "\N{EN DASH}"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.01 else f"{value:.4f}"


def percent(value: float) -> str:
    """Format a share, from 0 to 1, in percent with three significant digits and no trailing zeros."""
    return f"{100 * value:.3g}%"


def ratio(value: float) -> str:
    """Put the cost of unlearning divided by that of one retraining into words."""
    return f"{times(value)} {'less CPU time than' if 0 < value < 1 else 'the CPU time of'}"


def times(value: float) -> str:
    """Format the factor by which unlearning is cheaper or dearer than one retraining; `value` is their quotient."""
    return f"{1 / value if 0 < value < 1 else value:.3g} times"
