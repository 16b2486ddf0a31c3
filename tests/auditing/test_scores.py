"""Tests of single records, against a slow loop, uniform p values, planted records, and a spread that cancels."""

import statistics

import numpy as np
import pytest
import torch
from scipy.stats import kstest, rankdata

from efface.attacks import ATTACKS, by_key
from efface.attacks.label_margin import mean_margin
from efface.attacks.outputs import ModelOutputs, RecordOutputs
from efface.auditing.attack_tests import attack_tests
from efface.auditing.audit_test import ALPHA
from efface.auditing.rehearsal.known import rows_of
from efface.auditing.scores import RECORD_WINDOW, Scores
from efface.numerics.logits import margin
from helpers.worlds import World

LIRA, SPREAD = (next(a for a in ATTACKS if a.key == key) for key in ("lira", "spread"))
PLACES = ("forget", "nonmembers")


def margins(outputs: RecordOutputs) -> list[float]:
    return [float(m) for m in margin(outputs.logits, outputs.targets)]


def slow_window(at: float, nonmember_difficulty: list[float], width: int) -> list[int]:
    """The nonmembers whose rank by difficulty is nearest."""
    order = sorted(range(len(nonmember_difficulty)), key=lambda j: nonmember_difficulty[j])
    below, up_to = sum(h < at for h in nonmember_difficulty), sum(h <= at for h in nonmember_difficulty)
    start = min(max((below + up_to) // 2 - width // 2, 0), len(nonmember_difficulty) - width)
    return order[start : start + width]


def slow_tests(scores: Scores) -> list[float]:
    def lira(model: ModelOutputs, place: str) -> list[float]:
        outs = np.array([margins(getattr(r, place)) for r in scores.references])
        return [float(v) for v in np.array(margins(getattr(model, place))) - outs.mean(0)]

    ours, theirs = lira(scores.unlearned, "forget"), lira(scores.unlearned, "nonmembers")
    hard, nonmember_difficulty = (
        np.array([margins(getattr(r, place)) for r in scores.references]).mean(0).tolist() for place in PLACES
    )
    width = min(RECORD_WINDOW, max(10, len(theirs) // 5))

    def robust_z(value: float, like: list[int]) -> float:
        among = [theirs[j] for j in like]
        middle = statistics.median_low(among)
        return (value - middle) / statistics.median_low([abs(v - middle) for v in among])

    null = []
    for j, value in enumerate(theirs):
        like = slow_window(nonmember_difficulty[j], nonmember_difficulty, width + 1)
        null.append(robust_z(value, [i for i in like if i != j]))
    found = [robust_z(v, slow_window(h, nonmember_difficulty, width)) for v, h in zip(ours, hard, strict=True)]
    return [(1 + sum(v >= own for v in null)) / (1 + len(null)) for own in found]


@pytest.mark.parametrize("nonmembers", [40, 130, 600])
def test_p_values_are_those_of_a_slow_loop(nonmembers: int) -> None:
    scores = World(0, 25, nonmembers).scores(known=torch.linspace(-2, 4, 25).numpy())
    found = scores.record_tests()
    assert found is not None
    assert found[0].tolist() == pytest.approx(slow_tests(scores))


def test_a_nonmember_is_not_compared_with_itself() -> None:
    """Else the null would be too narrow: with windows of 10 a nonmember's own score would be among its median."""
    hit = 0
    for seed in range(60):
        found = World(seed, 60, 40).scores().record_tests()
        assert found is not None
        hit += int((found[0] <= 0.05).sum())
    assert 0.03 < hit / (60 * 60) < 0.07


def test_p_values_of_never_seen_records_are_uniform() -> None:
    """Harder and noisier than nonmembers as they are: within a percent or two of the nominal rate, over 80 worlds."""
    draws = [World(seed).scores() for seed in range(80)]
    values = torch.stack([found[0] for s in draws if (found := s.record_tests()) is not None])
    assert len(values) == 80
    rates = (values <= 0.05).double().mean(1)
    assert float(rates.mean()) == pytest.approx(0.05, abs=0.015)
    assert float((values <= 0.25).double().mean()) == pytest.approx(0.25, abs=0.03)
    # one record of each world, which are independent of each other
    assert kstest(values[:, 0].numpy(), "uniform").pvalue > 0.01
    # what it is that had to be taken out: the score itself, ranked among all nonmembers
    marginal = []
    for s in draws:
        scored = s.scored(LIRA, s.unlearned)
        assert scored is not None
        marginal.append(float((scored[0][:, None] > scored[1].quantile(0.95)).double().mean()))
    assert np.mean(marginal) > 0.08


def test_nothing_is_flagged_among_never_seen_records_but_rarely() -> None:
    """Benjamini and Hochberg's method makes any false alarm in 5 % of requests where none is remembered."""
    alarms = 0
    for seed in range(100):
        found = World(1000 + seed).scores().record_tests()
        assert found is not None
        alarms += bool(found[1].any())
    assert alarms <= 12  # binomial(100, 0.05) is above 12 once in 700


def test_planted_records_are_flagged_by_benjamini_and_hochberg() -> None:
    known = np.zeros(60)
    planted = [3, 17, 18, 40, 59]
    known[planted] = 60.0
    known[30] = -60.0  # known less than never-seen ones: the test is one-sided
    found = World(2, 60, 1500).scores(known).record_tests()
    assert found is not None
    p, flagged = found
    # by hand: the largest rank k with p_(k) <= k q / m, and all p up to that one
    ordered, q = sorted(p.tolist()), ALPHA
    passing = [value for k, value in enumerate(ordered, 1) if value <= k * q / len(ordered) + 1e-12]
    expected = {i for i, value in enumerate(p.tolist()) if passing and value <= max(passing)}
    assert set(flagged.nonzero().flatten().tolist()) == expected
    assert set(planted) <= expected and len(expected) <= len(planted) + 2
    assert p[planted].tolist() == pytest.approx([1 / 1501] * 5) and float(p[30]) == 1.0


def test_record_tests_need_references_and_equal_difficulty() -> None:
    world = World(0)
    assert world.scores(references=0).record_tests() is None
    whole = world.scores()
    quick = Scores(whole.original, whole.unlearned, (), whole.references, {}, marginal=True)
    assert quick.record_tests() is None and whole.record_tests() is not None


def slow_auc(scores: Scores, model: ModelOutputs, spread: bool) -> float:
    """AUC at equal difficulty: of the score, or of how far it lies from that of its like."""
    outs = [np.array([margins(getattr(r, place)) for r in scores.references]) for place in PLACES]
    hard, nonmember_difficulty = (o.mean(0) for o in outs)
    ours, theirs = (np.array(margins(getattr(model, p))) - o.mean(0) for p, o in zip(PLACES, outs, strict=True))
    wide = min(RECORD_WINDOW, max(10, len(theirs) // 5))

    def far(value: float, like: list[int]) -> float:
        middle = statistics.median_low(theirs[like].tolist())
        return float(abs(value - middle) / statistics.median_low(np.abs(theirs[like] - middle).tolist()))

    near = nonmember_difficulty.tolist()
    if spread:
        own = [far(v, slow_window(h, near, wide)) for v, h in zip(ours, hard, strict=True)]
        theirs = np.array(
            [far(v, [i for i in slow_window(near[j], near, wide + 1) if i != j]) for j, v in enumerate(theirs)]
        )
        ours = np.array(own)
    width = min(50, max(10, len(theirs) // 10))
    ranks = []
    for value, h in zip(ours, hard, strict=True):
        at = slow_window(h, near, width)
        # each moved along the line through the window to the record's difficulty, but not beyond the window
        slope = np.polyfit(nonmember_difficulty[at], theirs[at], 1)[0]
        among = theirs[at] + slope * (
            np.clip(h, nonmember_difficulty[at].min(), nonmember_difficulty[at].max()) - nonmember_difficulty[at]
        )
        ranks.append((rankdata([value, *among])[0] - 1) / width)
    return float(np.mean(ranks))


def test_spread_catches_what_is_remembered_by_half_and_overshot_by_half() -> None:
    world = World(7, 80, 600)
    half = np.where(np.arange(80) % 2 == 0, 6.0, -6.0)
    scores = world.scores(half, retrained=3)
    mean, spread = scores.auc_result(LIRA, 1), scores.auc_result(SPREAD, 1)
    assert mean is not None and spread is not None
    assert mean.value == pytest.approx(0.5, abs=0.05) and not mean.estimate(0.95).excludes(0.5)
    assert spread.value > 0.75 and spread.estimate(1 - 1e-6).low > 0.5
    for attack, part in ((LIRA, mean), (SPREAD, spread)):
        assert part.value == pytest.approx(slow_auc(scores, scores.unlearned, attack.spread), abs=1e-3)
    # among the tests: it fails this model, and no model that never saw the records
    tests = {r.key: r for r in attack_tests(scores)}
    assert tests["spread"].p < 0.01 < tests["lira"].p and tests["spread"].unlearned.value > 0.25
    assert tests["spread"].retrained is not None and not tests["spread"].retrained.excludes(0.0)


@pytest.mark.parametrize(("shift", "off"), [(0.0, 0.02), (1.0, 0.05)], ids=["as hard", "far harder"])
def test_spread_of_never_seen_records_is_that_of_nonmembers(shift: float, off: float) -> None:
    """Standard error .006; at the hard end, where nonmembers are few, less like the record, a little is left."""
    values = []
    for seed in range(40):
        part = World(seed, shift=shift).scores().auc_result(SPREAD, 1)
        assert part is not None
        values.append(part.value)
    assert np.mean(values) == pytest.approx(0.5, abs=off)


def test_spread_does_not_decide_without_references() -> None:
    scores = World(0).scores()
    quick = Scores(scores.original, scores.unlearned, (), (), {}, marginal=True)
    assert quick.auc_result(SPREAD, 0) is None and "spread" not in {r.key for r in attack_tests(quick)}


def test_easy_records_that_were_never_seen_do_not_look_forgotten() -> None:
    """RMIA of those that references find easy, as rehearsed records may be, by a model that is sure of all records."""
    found = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        ease = 2 * torch.randn(3300, generator=generator, dtype=torch.float64)
        margins = ease + 0.5 * torch.randn(5, 3300, generator=generator, dtype=torch.float64)
        margins[0] += 6
        others = torch.randn(5, 3300, 2, generator=generator, dtype=torch.float64)
        logits, label = torch.cat([margins[:, :, None], others], 2), torch.zeros(3300, dtype=torch.long)
        every = [RecordOutputs(z, label, None) for z in logits]
        easy = (mean_margin(every[1:])[300:] > 2).nonzero().flatten() + 300
        seen = [ModelOutputs(rows_of(o, easy), rows_of(o, torch.arange(300))) for o in every]
        result = Scores(seen[0], seen[0], [], seen[1:], {}, by_margin=True).auc_result(by_key("rmia"), 0)
        assert result is not None
        found.append(result.value)
    assert statistics.mean(found) == pytest.approx(0.5, abs=0.08)  # compared by the margin: 0.39
