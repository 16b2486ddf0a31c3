"""What all audited runs of a lineage say together: which count, what they conclude, and how that reads."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from efface import Task
from efface.auditing.config import RANK_STATISTIC
from efface.cli.store_display import show_verification
from efface.metrics.confidence_sequence import mean_interval
from efface.store import ProcessEvidence, RunRecord, Stage, Store, Version
from efface.store.history import History
from efface.store.process import process_evidence
from helpers.command_line import run as command
from helpers.store_cases import ANEW, AUDITED, IDS, QUICK, copied, people, subset, task_of
from helpers.store_verbs import interrupt, pending
from helpers.tiny import Tiny

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


STRICT = replace(AUDITED, accept="verified")


@pytest.fixture(scope="module")
def made(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that was rejected, one of the same records and more, and one that nobody audited."""
    store = Store.create(tmp_path_factory.mktemp("process") / "store", task_of(tiny), tiny.model)
    store.add(people([5, 7, 9]))
    assert store.run(STRICT).version is None
    store.add(people([20, 26]))
    assert store.run(AUDITED).version is not None
    store.add(people([40]))
    store.run(QUICK)
    return store.path


@pytest.fixture
def several(made: Path, task: Task, tmp_path: Path) -> Store:
    return Store(copied(made, tmp_path / "several"), task)


def ranks_of(store: Store) -> dict[int, dict[str, Any]]:
    return {k: r.audit["ranks"] for k, r in store.history().runs.items() if r.audit and "ranks" in r.audit}


def test_a_rejected_run_counts_and_a_record_counts_once(several: Store) -> None:
    first, second = ranks_of(several).values()
    assert (first["attempted"], first["new"], first["records"]) == (3, 3, 3)
    assert (second["attempted"], second["new"], second["records"]) == (5, 2, 2)
    assert first["partners"] and second["partners"] and not set(first["partners"]) & set(second["partners"])
    assert second["left"] < first["left"] < 50, "a quarter of the holdout is the audit's"
    found = several.status().process
    assert (found.version, found.lineage, found.runs, found.records) == (3, 1, 2, 5)
    assert (found.rejected, found.repeated, found.not_counted, found.conclusion) == (1, 0, 1, "open")
    assert several.verify(level=None).process == found


def test_the_history_holds_no_id_and_no_tag_for_it(several: Store) -> None:
    for ranks in ranks_of(several).values():
        assert not any(name in json.dumps(ranks) for name in IDS)
        assert {type(v) for v in ranks.values()} <= {int, float, list}
        assert all(isinstance(at, int) for at in ranks["partners"])


def test_a_second_attempt_at_the_same_records_takes_no_partners(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people([5, 7, 9]))
    for _ in range(2):
        store.run(STRICT)
    first, second = ranks_of(store).values()
    assert (second["new"], second["records"], second["partners"], second["left"]) == (0, 0, [], first["left"])
    found = store.status().process
    assert (found.runs, found.repeated, found.rejected) == (1, 1, 1)


def test_an_interrupted_run_counts_once(asked_store: Store) -> None:
    interrupt(asked_store, AUDITED, "run.judged")
    (before,) = ranks_of(asked_store).values()
    assert asked_store.run(AUDITED).resumed and pending(asked_store) == []
    assert list(ranks_of(asked_store).values()) == [before]
    assert asked_store.status().process.runs == 1


def test_a_new_lineage_starts_anew_and_partners_are_named_as_in_the_whole_holdout(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people([5, 7, 9]))
    store.run(AUDITED)
    assert store.status().process.runs == 1
    store.add(people(k for k in range(len(IDS)) if int(tiny.y[k]) == 0))  # a whole class, so its holdout is left out
    assert store.run(replace(ANEW, accept="any")).version is not None
    found = store.status().process
    assert (found.lineage, found.runs, found.conclusion) == (2, 0, "none")
    store.add(people(k for k in range(100, 110) if int(tiny.y[k]) != 0))
    store.run(AUDITED)
    assert store.status().process.runs == 1
    partners = ranks_of(store)[3]["partners"]
    assert partners and all(int(tiny.holdout_y[at]) != 0 for at in partners)


def test_status_and_verify_say_it(several: Store, tiny: Tiny) -> None:
    found = several.status().process
    shown = command("status", "--store", str(several.path))
    assert shown.exit_code == 0
    assert f"Process up to version 3: {found.sentence}." in shown.stdout.replace("\n", " ")
    as_json = json.loads(command("status", "--store", str(several.path), "--json").stdout)["process"]
    assert as_json["conclusion"] == "open" and as_json["effect"]["level"] == pytest.approx(0.9)
    assert set(as_json) == {f for f in ProcessEvidence.__dataclass_fields__}

    checked = several.verify(references=1)
    again = checked.remeasured
    assert again is not None and checked.process == found
    assert (again.version, again.records, again.forgotten) == (3, 6, 6)
    out = io.StringIO()
    show_verification(checked, out)
    said = " ".join(out.getvalue().split())
    assert f"Process up to version 3: {found.sentence}." in said
    assert "is ever beyond the truth is at most 5%, however often one looks." in said
    assert "not counted: 1 run without an audit that ranks records at equal difficulty" in said
    assert f"Version 3 measured again, on 6 of 6 forgotten records: effect {again.effect.value:+.3f} [" in said


def test_what_cannot_be_supplied_any_more_is_not_measured_again(several: Store, tiny: Tiny) -> None:
    left = [at for at in range(len(IDS)) if at not in (5, 7)]
    fewer = task_of(tiny)
    fewer = replace(fewer, train=subset(tiny, left), ids=people(left))
    again = Store(several.path, fewer).verify(references=1).remeasured
    assert again is not None and (again.records, again.forgotten) == (4, 6)
    assert Store(several.path, fewer).verify(level="quick").remeasured is None
