"""What all audited runs of a lineage say together: which count, what they conclude, and how that reads."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from efface.auditing.config import RANK_STATISTIC
from efface.metrics.confidence_sequence import mean_interval
from efface.store import DamagedError, ProcessEvidence, RunRecord, Stage, Version
from efface.store.history import History
from efface.store.process import process_evidence

VERSION = Version(1, None, 1, "original", None, "f", "w", "2031-01-01", (), "b", "a", 1)


def noted(effect: float, **changes: Any) -> dict[str, Any]:
    """What the history notes of an audited run of three records."""
    counts = {"statistic": RANK_STATISTIC, "attempted": 3, "new": 3, "records": 3}
    ranks = {
        "before": 0.5,
        "after": effect,
        "all_after": effect / 2,
        "difficulty": 0.0,
        "partners": [],
        "left": 9,
        "nonmembers": 50,
    }
    return {**counts, **ranks, **changes}


def run_of(number: int, ranks: dict[str, Any] | None, stage: Stage = Stage.DONE, parent: int = 1) -> RunRecord:
    audit = {"status": "undecided", "reasons": [], "files": {}, **({} if ranks is None else {"ranks": ranks})}
    return RunRecord(number, "2031-01-02", parent, (number,), {"retrain": False}, stage, audit=audit)


def pooled(ranks: Sequence[dict[str, Any] | None], stage: Stage = Stage.DONE) -> ProcessEvidence:
    """What runs say of which the history notes these ranks."""
    runs = {k: run_of(k, noted, stage) for k, noted in enumerate(ranks, 1)}
    return process_evidence(History(runs=runs, versions={1: VERSION}, current=1))


def draws(effect: float, runs: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [noted(float(e)) for e in rng.normal(effect, 0.15, runs).clip(-1, 1)]


def test_nothing_is_said_without_an_audited_run() -> None:
    found = pooled([])
    assert (found.conclusion, found.effect, found.runs, found.partners_left) == ("none", None, 0, None)
    assert "no run of this lineage was audited with reference models" in found.sentence
    old = pooled([None, None])
    assert (old.conclusion, old.not_counted) == ("none", 2), "of a version of efface that noted no ranks"


def test_the_effect_is_the_mean_over_runs_with_the_interval_of_the_sequence() -> None:
    ranks = draws(0.05, 30)
    found = pooled(ranks)
    expected = mean_interval([(1 + r["after"]) / 2 for r in ranks], 0.9)
    assert found.effect is not None and found.original is not None
    assert (found.effect.value, found.effect.low, found.effect.high) == pytest.approx(
        (2 * expected.value - 1, 2 * expected.low - 1, 2 * expected.high - 1)
    )
    assert (found.runs, found.records, found.original.value) == (30, 90, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("effect", "runs", "conclusion"), [(0.0, 100, "cleared"), (0.3, 30, "left"), (0.0, 10, "open"), (-0.3, 60, "open")]
)
def test_what_runs_of_an_effect_conclude(effect: float, runs: int, conclusion: str) -> None:
    found = pooled(draws(effect, runs))
    assert found.conclusion == conclusion
    assert (found.more_runs is None) == (conclusion != "open" or effect < 0)


def test_nothing_is_cleared_where_the_models_before_knew_too_little() -> None:
    little = [noted(r["after"], before=r["after"] + 0.05) for r in draws(0.0, 100)]
    found = pooled(little)
    assert found.effect is not None and found.effect.within(0.0, 0.1) and found.conclusion == "open"
    assert found.sentence.endswith(
        "the models before the runs are not shown to know the records by more than that margin"
    )


def test_requests_of_another_difficulty_have_to_show_more() -> None:
    """Difficulty is measured with error, so that such records may seem known though no model ever saw them."""
    slight, none = draws(0.04, 100), draws(0.04, 100, seed=1)
    assert pooled(slight).conclusion == "left"
    picked = pooled([{**ranks, "difficulty": 0.3} for ranks in slight])
    assert (picked.conclusion, picked.tolerance) == ("open", 0.05)
    by_chance = [{**ranks, "difficulty": 0.05} for ranks in draws(0.0, 2000)]
    assert pooled(by_chance).tolerance == 0, "two standard errors of a mean over the 50 never-seen records are 0.08"
    assert pooled([{**ranks, "nonmembers": 500} for ranks in by_chance]).tolerance > 0
    assert pooled([{**ranks, "difficulty": (-1) ** k * 0.3} for k, ranks in enumerate(slight)]).tolerance == 0
    assert pooled([{**ranks, "difficulty": 0.3} for ranks in draws(0.3, 40)]).conclusion == "left"
    assert pooled([{**ranks, "difficulty": 0.3} for ranks in draws(0.0, 200)]).conclusion == "cleared"
    assert pooled([{**ranks, "difficulty": 0.3} for ranks in none]).conclusion == "open"


def test_every_attempt_counts_whatever_became_of_it() -> None:
    bad = draws(0.3, 30)
    for stage in (Stage.REJECTED, Stage.ABANDONED, Stage.FAILED):
        found = pooled(bad, stage)
        assert (found.runs, found.rejected, found.conclusion) == (30, 30, "left")


def test_later_attempts_at_the_same_records_can_hinder_a_conclusion_and_lead_to_none() -> None:
    good = draws(0.0, 100)
    repeated = noted(0.0, before=None, after=None, new=0, records=0, all_after=0.4)
    found = pooled([*good, *[repeated] * 60])
    assert (found.runs, found.repeated, found.conclusion, found.more_runs) == (100, 60, "open", None)
    assert found.effect is not None and found.effect.low < 0 < 0.1 < found.effect.high
    alone = pooled([repeated] * 60)
    assert (alone.conclusion, alone.repeated, alone.runs) == ("none", 60, 0)
    # of an attempt at some records that count and some that do not, the latter count
    mixed = pooled([*good, noted(0.1, attempted=6)])
    assert mixed.runs == 101 and mixed.repeated == 0


def retried(rng: np.random.Generator, effect: float, batches: int = 40) -> tuple[list[dict[str, Any]], list[bool]]:
    """Runs that are made again, up to five times, until the records rank low; and which attempts are first ones.

    What makes the records of a run rank high stays from attempt to attempt.
    """
    ranks, first = [], []
    for _ in range(batches):
        own = rng.normal(0, 0.25)
        for attempt in range(5):
            value = float(np.clip(effect + own + rng.normal(0, 0.1), -1, 1))
            ranks.append(noted(value))
            first.append(attempt == 0)
            if value < 0:
                break
    return ranks, first


def test_attempts_that_are_made_until_one_looks_good_mislead_nobody() -> None:
    """100 lives. At a true rate of 5 % more wrong conclusions than allowed have a chance of 0.1 %."""
    rng, wrong = np.random.default_rng(0), {"left": 0, "cleared": 0, "as if new": 0}
    for _ in range(100):
        for effect, conclusion in ((0.0, "left"), (0.1, "cleared")):
            ranks, first = retried(rng, effect)
            again = {"new": 0, "records": 0, "after": None, "before": None, "difficulty": None}
            honest = [r if is_first else {**r, **again} for r, is_first in zip(ranks, first, strict=True)]
            wrong[conclusion] += pooled(honest).conclusion == conclusion
            wrong["as if new"] += effect == 0 and pooled(ranks).conclusion == "left"
    allowed = binom.ppf(0.999, 100, 0.05)
    assert max(wrong["left"], wrong["cleared"]) <= allowed < wrong["as if new"]


def test_what_another_version_measured_in_another_way_does_not_count() -> None:
    found = pooled([*draws(0.0, 3), noted(0.9, statistic=RANK_STATISTIC + 1)])
    assert (found.runs, found.not_counted) == (3, 1)


@pytest.mark.parametrize(
    "changed", ["all of it", {}, {"after": 1.5}, {"after": None}, {"after": "0.1"}, {"new": None}, {"nonmembers": []}]
)
def test_ranks_that_cannot_be_read_are_damage(changed: Any) -> None:
    """Without the key nobody notices by its hash that an event was changed."""
    ranks = changed if isinstance(changed, str) else {**noted(0.1), **changed} if changed else {"statistic": 1}
    with pytest.raises(DamagedError, match="the history notes ranks of an audited run that cannot be read"):
        pooled([*draws(0.0, 6), ranks])


def test_runs_without_a_partner_left_are_named() -> None:
    none_left = noted(0.0, before=None, after=None, records=0, left=0)
    found = pooled([*draws(0.0, 3), none_left])
    assert (found.runs, found.without_partners, found.partners_left) == (3, 1, 0)


def test_how_it_reads() -> None:
    cleared = pooled(draws(0.0, 100))
    assert cleared.sentence == (
        "forgotten records are as never-seen ones, within ±0.10: effect +0.012 [-0.035, +0.058] in 100 runs on 300 "
        "records"
    )
    left = replace(pooled(draws(0.3, 30)), rejected=2)
    assert left.sentence.startswith("forgotten records are still known: effect +0.")
    assert left.sentence.endswith("in 30 runs (2 never in service) on 90 records")
    not_yet = pooled(draws(0.0, 10))
    assert not_yet.more_runs is not None and not_yet.towards == "cleared"
    assert not_yet.sentence.startswith("not decided yet: effect ")
    assert not_yet.sentence.endswith(
        f"; about {not_yet.more_runs} more runs like these would clear it, and the holdout has unused records for at "
        "most 9"
    )
    below = pooled(draws(-0.3, 60)).sentence
    assert below.startswith("not cleared, since forgotten records rank below never-seen ones: effect -0.")
    assert pooled(draws(0.0, 2)).sentence.endswith("; how many more it takes cannot be said")
