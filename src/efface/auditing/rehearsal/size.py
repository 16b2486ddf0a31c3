"""How many records a rehearsal takes: as few as its tests need, by what doing nothing shows on records of this kind."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import norm

from efface.attacks import by_key
from efface.auditing.attack_tests import margin_of
from efface.auditing.audit_test import CONFIDENCE, EQUIVALENCE, POWER, uninformative_reason
from efface.auditing.config import AUC_MARGIN
from efface.metrics.membership import AucResult

SIZES = (60, 100, 150, 200, 300, 400, 600)  # the numbers of rehearsed records to choose from
MAX_SHARE = 0.10  # of the training records, at most
MIN_SINGLE = 200  # among fewer, a single record cannot have a p value that shows that it stands out
NO_TRACE = AUC_MARGIN  # effects on an AUC that count as no trace, where doing nothing shows none beyond


@dataclass(frozen=True)
class Size:
    """How many records to rehearse.

    Args:
        records: The number.
        informative: Keys of the attacks that will be able to clear the process.
        can_find_no_trace: Whether so many records can show that there was no trace to begin with.
    """

    records: int
    informative: tuple[str, ...]
    can_find_no_trace: bool


def choose_size(doing_nothing: dict[str, AucResult], most: int, single: bool = False) -> Size:
    """Choose the least number of records with which the tests can tell, without a look at any unlearned model.

    The number is the least of SIZES with which every attack that could clear the process with all records could still
    clear it; where none could, the least that can show that there is no trace, and all where not even these can.

    Args:
        doing_nothing: The AUC of the original on as many records of the kind as there may be, by attack.
        most: How many records these are.
        single: Whether a single record was requested, which can stand out only among many.
    """
    sizes = [*(s for s in SIZES if s < most and s >= (MIN_SINGLE if single else 0)), most]
    at_most = _informative(doing_nothing, most, most)
    if any(by_key(key).kind != "attack" for key in at_most):  # a label's score alone verifies nothing
        records = next(s for s in sizes if _informative(doing_nothing, s, most) == at_most)
    else:
        records = next((s for s in sizes if _finds_no_trace(doing_nothing.values(), s, most)), most)
    return Size(records, at_most, _finds_no_trace(doing_nothing.values(), records, most))


def _error(result: AucResult, records: int, most: int) -> float:
    """Standard error of the AUC of a model that never saw the records, if only some of them are read."""
    nonmembers = float(result.influence.square().sum())
    return math.sqrt(nonmembers + (result.null().variance - nonmembers) * most / records)


def _informative(results: dict[str, AucResult], records: int, most: int) -> tuple[str, ...]:
    found = []
    for key, result in results.items():
        effect = result.effect().estimate(CONFIDENCE)
        error = _error(result, records, most)
        if not uninformative_reason(effect, error, margin_of(effect), len(results)):
            found.append(key)
    return tuple(found)


def _finds_no_trace(results: Iterable[AucResult], records: int, most: int) -> bool:
    needed = float(norm.ppf((1 + EQUIVALENCE) / 2) + norm.ppf((1 + POWER) / 2))
    return all(abs(r.effect().value) + needed * _error(r, records, most) <= NO_TRACE for r in results)
