"""What an audit adds to the evidence about a process: which records count, which never-seen ones serve, and how far."""

from dataclasses import replace

import pytest
import torch

from efface.attacks import by_key
from efface.auditing.partner_ranks import SHARE, partner_ranks
from efface.auditing.scores import Scores
from helpers.worlds import World

ALL = torch.ones(6).bool()


def scores(seed: int = 0, known: float = 0.0) -> Scores:
    return World(seed, forget=6, nonmembers=400).scores(known)


def test_a_model_that_never_saw_the_records_has_no_effect_and_the_original_has_one() -> None:
    """40 audits: the mean lies within four of its standard errors of 0."""
    found = [partner_ranks(scores(seed), ALL, [], seed) for seed in range(40)]
    after = torch.tensor([f.after for f in found if f is not None and f.after is not None])
    before = torch.tensor([f.before for f in found if f is not None and f.before is not None])
    assert len(after) == len(before) == 40
    assert abs(float(after.mean())) < 4 * float(after.std()) / 40**0.5
    assert float(before.mean()) > 0.3


def test_the_effect_is_the_mean_rank_less_that_of_partners() -> None:
    judged = scores()
    found = partner_ranks(judged, ALL, [], 0)
    assert found is not None and found.after is not None and found.before is not None
    result = judged.auc_result(by_key("lira"), 1)
    assert result is not None
    assert found.all_after == pytest.approx(result.value - 0.5)
    assert found.records == 6 and -1 <= found.after <= 1 and found.before > found.after
    # a rank among the others of a window is at most 1 / 40 from that in the whole window
    beside = result.value - found.after
    assert -0.025 <= beside <= 1.025


def test_an_audit_takes_a_share_of_what_is_left_and_at_least_one() -> None:
    first = partner_ranks(scores(), ALL, [], 0)
    assert first is not None
    wanted = 400 // SHARE // 6 * 6  # as many for each record
    assert (len(first.partners), first.left) == (wanted, 400 - wanted)
    later = partner_ranks(scores(), ALL, first.partners, 0)
    assert later is not None and not set(later.partners) & set(first.partners)
    last = partner_ranks(scores(), ALL, range(0, 400, 2), 0)
    assert last is not None and all(at % 2 for at in last.partners)
    none = partner_ranks(scores(), ALL, range(400), 0)
    assert none is not None
    assert (none.records, none.before, none.after, none.partners, none.left) == (0, None, None, (), 0)
    assert none.nonmembers == first.nonmembers == 400
    assert none.all_after == first.all_after


def test_records_that_count_already_count_no_more() -> None:
    counts = torch.tensor([True, False, False, True, False, False])
    judged = scores()
    found = partner_ranks(judged, counts, [], 0)
    assert found is not None and found.records == 2 and found.difficulty is not None
    eased, of_nonmembers = judged.difficulties(by_key("lira"))
    below = [float((of_nonmembers < eased[at]).double().mean()) for at in (0, 3)]
    assert found.difficulty == pytest.approx(sum(below) / 2 - 0.5, abs=1e-6)
    nothing = partner_ranks(judged, ~ALL, [], 0)
    assert nothing is not None
    assert (nothing.records, nothing.after, nothing.partners, nothing.left) == (0, None, (), 400)


def test_a_person_among_never_seen_records_serves_once() -> None:
    persons = torch.arange(400) // 4
    judged = replace(scores(), clusters=(None, persons))
    found = partner_ranks(judged, ALL, [0], 0)
    assert found is not None
    assert not {0, 1, 2, 3} & set(found.partners)
    assert found.left == 400 - 4 * len({0, *(int(persons[at]) for at in found.partners)})


def test_ranks_that_are_not_of_equal_difficulty_are_not_taken() -> None:
    assert partner_ranks(replace(scores(), marginal=True), ALL, [], 0) is None
    assert partner_ranks(replace(scores(), references=[]), ALL, [], 0) is None


def test_the_same_seed_draws_the_same() -> None:
    first, same, other = (partner_ranks(scores(), ALL, [], seed) for seed in (0, 0, 1))
    assert first == same
    assert first is not None and other is not None and first.all_after == other.all_after
