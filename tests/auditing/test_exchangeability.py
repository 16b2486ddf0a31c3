"""Whether a request looks like a random sample: against scipy, an exact enumeration, and requests of known kinds."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2_contingency, hypergeom, kstest
from torch import Tensor

from efface.attacks.outputs import RecordOutputs, RecordSet, copier, read_outputs
from efface.auditing import exchangeability
from efface.auditing.exchangeability import (
    SAMPLE_ALPHA,
    SHUFFLES,
    Exchangeability,
    compare,
    label_p_value,
    one_of_each_group,
)
from efface.auditing.verdict import Status
from efface.numerics.logits import margin
from efface.runtime.cost import Meter
from helpers.judged import Judged, problem, records_of

REQUEST = 40


def rows(seen: RecordOutputs, at: Any) -> RecordOutputs:
    assert seen.copies is not None
    return RecordOutputs(seen.logits[at], seen.targets[at], seen.copies[:, at])


@cache
def members() -> RecordOutputs:
    """What the original, which knows them all, says of the training records."""
    judged = problem()
    records = records_of(judged)
    everything = np.arange(len(records), dtype=np.int64)
    perturb = copier(judged.task, records)
    return read_outputs(judged.task, judged.original, RecordSet(records, everything), Meter(), perturb)


def judge(chosen: Any, seed: int = 0) -> Exchangeability:
    seen = members()
    rest = np.setdiff1d(np.arange(len(seen.targets)), chosen)
    return compare(rows(seen, chosen), rows(seen, rest), seed)


def clean(judged: Judged) -> Tensor:
    """Whether a record still has the label that its place says."""
    return judged.y == torch.arange(len(judged.y)) % 3


def test_random_requests_are_rejected_at_about_the_nominal_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchangeability, "SHUFFLES", 99)
    rng, draws = np.random.default_rng(0), 250
    found = [judge(rng.choice(len(members().targets), REQUEST, replace=False), seed) for seed in range(draws)]
    rejected = sum(not e.is_exchangeable for e in found)
    # at most the level; and not nearly always silent, which would have a chance of 1 in 1,000 even at 3 %
    assert 1 <= rejected <= binom.ppf(0.999, draws, SAMPLE_ALPHA)
    assert all(e.is_exchangeable == (e.p >= SAMPLE_ALPHA) and e.p == min(p for _, p in e.tests) for e in found)
    # Holm's factor for the least of the p values is the number of tests
    least = np.array([e.p for e in found]) / len(found[0].tests)
    assert binom.cdf(int((least <= 0.05).sum()), draws, 0.05) > 0.001, "each request has four chances to look odd"


def wrongly_labelled() -> Any:
    return (~clean(problem())).nonzero().flatten().numpy()[:REQUEST]


def one_class() -> Any:
    return (members().targets == 1).nonzero().flatten().numpy()[:REQUEST]


def hardest() -> Any:
    return margin(members().logits, members().targets).argsort().numpy()[:REQUEST]


def test_chosen_requests_do_not_look_exchangeable() -> None:
    for chosen, titles in (
        (wrongly_labelled(), {"margin", "margin on perturbed copies"}),
        (one_class(), {"labels"}),
        (hardest(), {"margin"}),
    ):
        found = judge(chosen)
        assert not found.is_exchangeable and found.p < 0.01
        assert titles <= {t for t, p in found.tests if p < SAMPLE_ALPHA}, found
    # without copies there are three tests, and the least p value of the labels' is that of no shuffle as far
    seen, at, other = members(), one_class(), np.flatnonzero(members().targets.numpy() != 1)[:300]
    ours, theirs = (RecordOutputs(seen.logits[k], seen.targets[k], None) for k in (at, other))
    few = compare(ours, theirs, 0)
    assert [t for t, _ in few.tests] == ["labels", "margin", "gap of other classes"]
    assert dict(few.tests)["labels"] == pytest.approx(3 / (1 + SHUFFLES))


def test_the_audit_takes_random_requests_and_bars_others() -> None:
    judged = problem()
    random = np.random.default_rng(3).choice(len(judged.y), REQUEST, replace=False)
    taken = judged.audit(forget=random.tolist(), level="quick")
    assert taken.document["exchangeable"]["is_exchangeable"] and taken.tests
    for chosen in (wrongly_labelled(), one_class(), hardest()):
        report = judged.audit(forget=chosen.tolist(), level="quick")
        shown = report.document["exchangeable"]
        assert not shown["is_exchangeable"] and shown["p"] < SAMPLE_ALPHA
        assert report.verdict.status is Status.UNDECIDED and not report.tests
        unchanged, barred = report.verdict.reasons
        assert "nothing was unlearned" in unchanged and "random sample" in barred
        states = {m.key: m.unlearned.state for m in report.metrics if m.kind in ("attack", "off_label")}
        assert states["loss"] == states["entropy"] == states["other_classes"] == "not_applicable"


def counted(*counts: int) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((100, 100, 100, 100), (500, 500, 500, 500)),
        ((112, 88, 96, 104), (500, 500, 500, 500)),
        ((120, 80, 105, 95), (520, 480, 500, 500)),
        ((60, 240, 0, 100), (230, 1130, 20, 620)),
    ],
)
def test_permutation_agrees_with_chi_squared_on_large_samples(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    expected = chi2_contingency([ours, theirs], correction=False).pvalue
    found = label_p_value(counted(*ours), counted(*theirs), seed=1)
    # four standard errors of 999 shuffles, and what the limit law is off at such counts
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / SHUFFLES) + 0.01)


@pytest.mark.parametrize(("inside", "n", "with_it", "total"), [(5, 12, 9, 60), (9, 12, 20, 60), (1, 10, 12, 40)])
def test_permutation_agrees_with_the_exact_law_on_small_samples(inside: int, n: int, with_it: int, total: int) -> None:
    """Two classes: how many of n drawn are of the first is hypergeometric, and further from its mean is less likely."""
    law, mean = hypergeom(total, with_it, n), n * with_it / total
    exact = sum(law.pmf(k) for k in range(n + 1) if abs(k - mean) >= abs(inside - mean) - 1e-9)
    ours, theirs = counted(inside, n - inside), counted(with_it - inside, total - n - with_it + inside)
    found = [label_p_value(ours, theirs, seed) for seed in range(6)]
    error = np.sqrt(exact * (1 - exact) / (6 * SHUFFLES))
    assert np.mean(found) == pytest.approx(exact, abs=4 * error + 1 / SHUFFLES)


def test_label_p_values_are_uniform_for_random_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many classes, so that the statistic has many values."""
    monkeypatch.setattr(exchangeability, "SHUFFLES", 199)
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 20, 400)
    found = []
    for seed in range(120):
        order = torch.from_numpy(rng.permutation(labels))
        found.append(label_p_value(order[:80], order[80:], seed))
    assert kstest(found, "uniform").pvalue > 0.01


def test_the_order_of_records_changes_nothing() -> None:
    seen, rng = members(), np.random.default_rng(0)
    chosen = rng.choice(len(seen.targets), REQUEST, replace=False)
    rest = np.setdiff1d(np.arange(len(seen.targets)), chosen)
    whole = compare(rows(seen, chosen), rows(seen, rest), 4)
    assert compare(rows(seen, rng.permutation(chosen)), rows(seen, rng.permutation(rest)), 4) == whole
    ours, theirs = counted(18, 14, 8), counted(130, 120, 110)  # neither near 0 nor near 1, so that shuffles count
    found = {label_p_value(ours[torch.randperm(40)], theirs[torch.randperm(360)], 0) for _ in range(4)}
    assert len(found) == 1 and 0.005 < found.pop() < 0.9


def test_one_record_of_each_group_is_drawn() -> None:
    positions = np.array([40, 3, 7, 20, 9, 8], dtype=np.int64)
    of = torch.tensor([0, 1, 1, 0, 2, 1])
    drawn = {tuple(one_of_each_group(positions, of, seed).tolist()) for seed in range(200)}
    assert drawn == {tuple(sorted((a, b, 9))) for a in (40, 20) for b in (3, 7, 8)}
    order = np.array([5, 2, 0, 1, 4, 3])
    for seed in range(20):
        again = one_of_each_group(positions[order], of[order], seed)
        assert again.tolist() == one_of_each_group(positions, of, seed).tolist()
    assert one_of_each_group(positions, torch.arange(6), 0) is positions
    assert one_of_each_group(positions, None, 0) is positions


def test_random_persons_look_random_though_their_records_have_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 of 400 persons with 1 to 10 records of one label each: at 5 % the chance to leave is 1 %."""
    monkeypatch.setattr(exchangeability, "SHUFFLES", 99)
    by_person, by_row, draws = 0, 0, 200
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        of = np.repeat(np.arange(400), rng.integers(1, 11, 400))
        label, asked = torch.from_numpy(rng.integers(0, 4, 400)[of]), rng.choice(400, 40, replace=False)
        rows = np.flatnonzero(np.isin(of, asked)), np.flatnonzero(~np.isin(of, asked))
        by_row += label_p_value(label[rows[0]], label[rows[1]], seed) <= 0.05
        drawn = [one_of_each_group(at, torch.from_numpy(of[at]), seed) for at in rows]
        by_person += label_p_value(label[drawn[0]], label[drawn[1]], seed) <= 0.05
    assert by_person <= binom.ppf(0.99, draws, 0.05)
    assert by_row > 0.4 * draws
