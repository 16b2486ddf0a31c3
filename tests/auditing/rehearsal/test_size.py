"""How many records a rehearsal takes."""

import torch

from efface.auditing.rehearsal.size import MIN_SINGLE, NO_TRACE, SIZES, choose_size
from efface.metrics.membership import AucResult, conditional_auc

MOST = SIZES[-1]


def known_by(shift: float, nonmembers: int = 2000) -> AucResult:
    """The AUC of an original that scores MOST records `shift` standard deviations above never-seen ones."""
    generator = torch.Generator().manual_seed(3)
    return conditional_auc(torch.randn(MOST, generator=generator) + shift, torch.randn(nonmembers, generator=generator))


def test_what_is_plain_takes_few_records_and_what_is_faint_takes_more() -> None:
    sizes = [choose_size({"probe": known_by(shift)}, MOST).records for shift in (2.0, 0.55, 0.45)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_the_number_suffices_for_every_attack_that_could_clear_the_process() -> None:
    found = choose_size({"lira": known_by(2.0), "probe": known_by(0.55), "entropy": known_by(0.0)}, MOST)
    assert set(found.informative) == {"lira", "probe"}
    assert (
        found.records == choose_size({"lira": known_by(0.55), "probe": known_by(0.55), "x": known_by(0)}, MOST).records
    )


def test_without_an_effect_the_records_can_show_that_there_is_none() -> None:
    found = choose_size({"lira": known_by(0.0)}, MOST)
    assert found.informative == () and found.can_find_no_trace
    error = (found.records * 12) ** -0.5
    assert 2 * error < NO_TRACE


def test_what_the_score_of_the_label_alone_could_clear_does_not_count() -> None:
    assert choose_size({"lira": known_by(2.0), "probe": known_by(0.3)}, MOST).records == MOST


def test_too_few_never_seen_records_can_show_nothing() -> None:
    found = choose_size({"lira": known_by(0.3, nonmembers=20)}, MOST)
    assert found.records == MOST and not found.informative and not found.can_find_no_trace


def test_a_single_record_is_looked_for_among_many() -> None:
    assert choose_size({"lira": known_by(2.0)}, MOST, single=True).records >= MIN_SINGLE
