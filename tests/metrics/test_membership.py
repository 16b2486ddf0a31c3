"""The AUC of membership, over all pairs and at equal difficulty: its value, its interval and paired differences."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from torch import Tensor

from efface.metrics.membership import AucResult, Effect, conditional_auc, mean_auc
from helpers.draws import normal


def auc(members: Tensor, nonmembers: Tensor) -> float:
    kinds = np.repeat([1, 0], [len(members), len(nonmembers)])
    return float(roc_auc_score(kinds, torch.cat([members, nonmembers]).numpy()))


@pytest.mark.parametrize("digits", [0, 1, 6], ids=["many ties", "some ties", "no ties"])
def test_the_auc_of_all_pairs_is_scikit_learns(digits: int) -> None:
    members, nonmembers = (0.5 + normal(40)).round(decimals=digits), normal(70, seed=1).round(decimals=digits)
    found = conditional_auc(members, nonmembers)
    assert found.value == pytest.approx(auc(members, nonmembers))
    assert float(found.influence.sum()) == pytest.approx(0, abs=1e-12)
    assert conditional_auc(members + 100, nonmembers).value == 1
    assert conditional_auc(torch.zeros(3), torch.zeros(5)).value == 0.5


def test_each_record_meets_its_own_window() -> None:
    hard, easy = normal(40), 10 + normal(40, seed=1)
    nonmembers, difficulty = torch.cat([hard, easy]), torch.tensor([0.0] * 40 + [1.0] * 40)
    found = conditional_auc(torch.tensor([0.3, 10.3]), nonmembers, torch.tensor([-1.0, 2.0]), difficulty, width=40)
    expected = [float((hard < 0.3).double().mean()), float((easy < 10.3).double().mean())]
    assert found.ranks.tolist() == pytest.approx(expected)


def test_delongs_variance_against_a_bootstrap() -> None:
    members, nonmembers = 0.7 + normal(60), normal(90, seed=1)
    rng = np.random.default_rng(0)
    drawn = [
        conditional_auc(members[rng.integers(60, size=60)], nonmembers[rng.integers(90, size=90)]).value
        for _ in range(1000)
    ]
    now = conditional_auc(members, nonmembers).estimate(0.95)
    # the floor of 1/12 makes the interval a little wider than a bootstrap's where the AUC is far from 0.5
    assert 0.9 < (now.high - now.low) / (2 * 1.96 * np.std(drawn)) < 1.3


def test_coverage_at_equal_difficulty() -> None:
    """Members and nonmembers differ in difficulty alone. 300 trials of a true 95%: the chance to leave is 0.2%."""
    covered, conditional, marginal = 0, [], []
    for trial in range(300):
        generator = torch.Generator().manual_seed(trial)
        d_m, d_s = 3 * torch.rand(60, generator=generator).sqrt(), 3 * torch.rand(1000, generator=generator)
        members, nonmembers = (d + torch.randn(len(d), generator=generator) for d in (d_m, d_s))
        found = conditional_auc(members, nonmembers, d_m, d_s)
        covered += not found.estimate(0.95).excludes(0.5)
        conditional.append(found.value)
        marginal.append(conditional_auc(members, nonmembers).value)
    assert 0.91 <= covered / 300 <= 0.99
    # 4 standard errors of the mean over trials
    assert np.mean(conditional) == pytest.approx(0.5, abs=4 * np.std(conditional) / 300**0.5)
    assert np.mean(marginal) > 0.6


def test_a_memorised_set_is_found_at_equal_difficulty() -> None:
    d_m, d_s = -1 + normal(60, seed=1), normal(400, seed=2)  # harder than most nonmembers, which hides it
    members, nonmembers = d_m + 1 + 0.5 * normal(60, seed=3), d_s + 0.5 * normal(400, seed=4)
    assert not conditional_auc(members, nonmembers).estimate(0.99).excludes(0.5)
    assert conditional_auc(members, nonmembers, d_m, d_s).estimate(0.99).low > 0.7


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    members, nonmembers = 0.5 + normal(80), normal(100, seed=1)
    before = conditional_auc(members, nonmembers)
    after = conditional_auc(members + 0.1 * normal(80, seed=2) - 0.3, nonmembers + 0.1 * normal(100, seed=3))
    paired = after.minus(before, 0.95)
    assert paired.value == pytest.approx(after.value - before.value)
    assert paired.high < 0
    one, two = before.estimate(0.95), after.estimate(0.95)
    unpaired = np.hypot(one.high - one.low, two.high - two.low)
    assert paired.high - paired.low < unpaired / 2
    wider = after.minus(before, 0.95, between_models=0.01)
    assert wider.high - wider.low > paired.high - paired.low
    assert before.minus(before, 0.95).high == 0


def test_a_paired_difference_covers_its_truth() -> None:
    """The second score has the first one's AUC in expectation. 300 trials: the chance to leave is 0.2%."""
    covered = 0
    for trial in range(300):
        members, nonmembers = normal(50, seed=4 * trial), normal(80, seed=4 * trial + 1)
        first = conditional_auc(members, nonmembers)
        second = conditional_auc(members + normal(50, seed=4 * trial + 2), nonmembers + normal(80, seed=4 * trial + 3))
        covered += not second.minus(first, 0.95).excludes(0.0)
    assert 0.91 <= covered / 300 <= 0.99


@pytest.mark.parametrize("k", [2, 4])
def test_a_difference_to_few_trainings_covers_its_truth(k: int) -> None:
    """Training noise moves all records of a model together, and only k trainings tell how much.

    The true coverage is 95 % or a little more, so in 400 trials the chance to fall below 92 % is under 1 %; with a
    normal interval it would be some 70 % for k = 2.
    """
    covered, generator = 0, torch.Generator().manual_seed(0)
    for _ in range(400):
        base = torch.rand(100, generator=generator, dtype=torch.float64)
        moved = 0.1 * torch.randn(k + 1, generator=generator, dtype=torch.float64)
        noise = 0.02 * torch.randn(k + 1, 100, generator=generator, dtype=torch.float64)
        unlearned, *trained = (AucResult(base + m + n, torch.zeros(3)) for m, n in zip(moved, noise, strict=True))
        between = float(torch.tensor([s.value for s in trained], dtype=torch.float64).var()) * (1 + 1 / k)
        found = unlearned.minus(mean_auc(trained), 0.95, between, df=k - 1)
        covered += not found.excludes(0.0)
    assert covered / 400 > 0.92


def test_one_record_gives_a_wide_interval_and_no_nan() -> None:
    found = conditional_auc(torch.tensor([0.0]), normal(50), torch.tensor([0.0]), normal(50, seed=1))
    now = found.estimate(0.95)
    assert 0 <= now.low < 0.25 and 0.75 < now.high <= 1
    assert found.minus(found, 0.95).value == 0


def test_more_records_and_a_lower_level_mean_a_narrower_interval() -> None:
    def width(records: int, level: float) -> float:
        found = conditional_auc(normal(records), normal(2000, seed=1)).estimate(level)
        return found.high - found.low

    assert width(400, 0.95) < 0.6 * width(100, 0.95)
    assert width(100, 0.8) < width(100, 0.95)


def test_a_mean_over_models_is_taken_record_by_record() -> None:
    nonmembers = normal(30, seed=9)
    many = [conditional_auc(normal(10, seed=s), nonmembers) for s in range(3)]
    mean = mean_auc(many)
    assert isinstance(mean, AucResult)
    assert mean.value == pytest.approx(np.mean([s.value for s in many]))
    assert mean.ranks[4] == pytest.approx(float(np.mean([float(s.ranks[4]) for s in many])))


@pytest.mark.parametrize("df", [np.inf, 3.0])
@pytest.mark.parametrize("value", [-0.2, 0.11, 0.3])
def test_the_chance_of_an_effect_agrees_with_its_interval(value: float, df: float) -> None:
    """An interval of coverage 1 - p ends at 0."""
    effect = Effect(value, 0.01, df)
    assert 0 < effect.p() < 1
    assert effect.estimate(1 - 1.001 * effect.p()).excludes(0.0)
    assert not effect.estimate(1 - 0.999 * effect.p()).excludes(0.0)


def test_the_chance_of_an_effect_at_its_ends() -> None:
    assert Effect(0.0, 0.01).p() == pytest.approx(1)
    assert Effect(0.2, 0.01).p() == pytest.approx(0.0455, abs=1e-4)
    assert Effect(0.2, 0.01, df=2.0).p() > Effect(0.2, 0.01).p()
    assert (Effect(0.0, 0.0).p(), Effect(0.1, 0.0).p()) == (1, 0)


def persons(count: int, likeness: float, seed: int, largest: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, difficulties and groups of records of persons, 1 to `largest` of each, whose records are alike."""
    generator = torch.Generator().manual_seed(seed)
    of = torch.repeat_interleave(torch.arange(count), torch.randint(1, largest + 1, (count,), generator=generator))

    def drawn() -> Tensor:
        own, common = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (len(of), count))
        return likeness**0.5 * common[of] + (1 - likeness) ** 0.5 * own

    difficulty = drawn()
    return difficulty + drawn(), difficulty, of


def noise(of: Tensor, likeness: float, seed: int) -> Tensor:
    """Noise of another training, alike within persons."""
    own, common = normal(len(of), seed=seed), normal(int(of.max()) + 1, seed=seed + 1)
    return likeness**0.5 * common[of] + (1 - likeness) ** 0.5 * own


@pytest.mark.parametrize(("likeness", "forgotten", "never_seen"), [(0.0, 30, 60), (0.8, 30, 60), (0.8, 60, 20)])
def test_persons_that_were_never_seen_are_rejected_as_often_as_stated(
    likeness: float, forgotten: int, never_seen: int
) -> None:
    """At a true 5 % the chance to leave is 1 % in 120 draws; by rows about half of alike persons are rejected."""
    draws, by_row, by_forgotten, by_person, paired = 120, 0, 0, 0, 0
    for seed in range(draws):
        forget, d_f, of = persons(forgotten, likeness, 2 * seed)
        others, d_o, of_others = persons(never_seen, likeness, 2 * seed + 1)
        by_row += conditional_auc(forget, others, d_f, d_o).effect().p() < 0.05
        by_forgotten += conditional_auc(forget, others, d_f, d_o, clusters=(of, None)).effect().p() < 0.05
        found = conditional_auc(forget, others, d_f, d_o, clusters=(of, of_others))
        by_person += found.effect().p() < 0.05
        anew = forget + noise(of, likeness, 9000 + 4 * seed), others + noise(of_others, likeness, 9002 + 4 * seed)
        paired += found.less(conditional_auc(*anew, d_f, d_o, clusters=(of, of_others))).p() < 0.05
    most = binom.ppf(0.99, draws, 0.05)
    assert by_person <= most and paired <= most
    assert not likeness or by_row > 0.35 * draws
    assert never_seen > forgotten or by_forgotten > 1.3 * most


def test_the_interval_of_known_persons_covers_its_truth() -> None:
    """Scores are 1 higher in the mean: the AUC of independent normal scores is 0.76. 100 trials of a true 95 %."""
    covered, truth = 0, 0.5 * (1 + math.erf(0.5))
    for seed in range(100):
        (forget, hard, of), (others, other_hard, other_of) = persons(40, 0.6, 2 * seed), persons(80, 0.6, 2 * seed + 1)
        found = conditional_auc(forget - hard + 1, others - other_hard, clusters=(of, other_of))
        covered += not found.estimate(0.95).excludes(truth)
    assert covered >= binom.ppf(0.01, 100, 0.95)


def test_groups_of_one_record_change_no_bit() -> None:
    members, nonmembers, d_m, d_s = normal(60), normal(300, seed=1), normal(60, seed=2), normal(300, seed=3)
    without = conditional_auc(members, nonmembers, d_m, d_s)
    alone = conditional_auc(members, nonmembers, d_m, d_s, clusters=(torch.randperm(60), torch.randperm(300)))
    other = conditional_auc(members + 0.2 * normal(60, seed=4), nonmembers, d_m, d_s)
    assert alone.effect() == without.effect() and alone.null() == without.null()
    assert alone.less(other, 0.001, 3) == without.less(other, 0.001, 3)
    assert alone.estimate(0.9) == without.estimate(0.9)
    # by hand, as before there were groups
    null = math.sqrt(1 / 12 / 60 + float(without.influence.square().sum()))
    assert without.effect().variance == null**2 + max(float(without.ranks.var()) - 1 / 12, 0) / 60


def test_the_order_of_records_of_groups_is_no_matter() -> None:
    (forget, hard, of), (others, other_hard, other_of) = persons(20, 0.5, 0), persons(40, 0.5, 1)
    found = conditional_auc(forget, others, hard, other_hard, clusters=(of, other_of)).effect()
    order, turned = torch.randperm(len(of)), torch.randperm(40)
    moved = conditional_auc(
        forget[order], others, hard[order], other_hard, clusters=(of[order], turned[other_of])
    ).effect()
    assert (moved.value, moved.variance, moved.df) == pytest.approx((found.value, found.variance, found.df), rel=1e-9)


@pytest.mark.parametrize("records", [1, 40])
def test_one_person_shows_as_little_as_one_record(records: int) -> None:
    scores, nonmembers, of = 3 + 0.01 * normal(records), normal(500, seed=1), torch.zeros(records, dtype=torch.int64)
    found = conditional_auc(scores, nonmembers, clusters=(of, None))
    now = found.estimate(0.95)
    assert now.value > 0.9 and now.low < 0.45
    less = found.less(conditional_auc(0 * scores, nonmembers, clusters=(of, None)))
    if records > 1:
        assert not less.estimate(0.95).excludes(0.0)


def test_one_person_with_most_records_decides_nothing() -> None:
    of = torch.cat([torch.zeros(100, dtype=torch.int64), torch.arange(1, 31)])
    scores = torch.cat([1 + 0.1 * normal(100), normal(30, seed=1)])  # that person's records look known
    nonmembers = normal(1000, seed=2)
    assert conditional_auc(scores, nonmembers).effect().p() < 1e-6
    assert conditional_auc(scores, nonmembers, clusters=(of, None)).effect().p() > 0.05


def test_three_persons_that_are_known_by_heart_are_found() -> None:
    """Their records cannot vary by more than those of three uniform ranks, however few persons show it."""
    of, nonmembers = torch.arange(3).repeat_interleave(10), normal(500)
    found = conditional_auc(3 + normal(30, seed=1), nonmembers, clusters=(of, None)).effect()
    assert found.variance == pytest.approx(1 / 12 / 3, rel=0.1)
    assert found.p() < 0.05 and math.isinf(found.df)


def test_the_error_of_a_clean_model_counts_persons() -> None:
    (forget, _, of), (others, _, of_others) = persons(40, 0.7, 0), persons(80, 0.7, 1)
    rows, some = (conditional_auc(forget, others, clusters=c).null() for c in ((None, None), (of, None)))
    every = conditional_auc(forget, others, clusters=(of, of_others)).null()
    assert rows.variance < some.variance / 3 and some.variance < every.variance
    assert math.isinf(rows.df) and 10 < some.df < 40 and some.df < every.df < 100
