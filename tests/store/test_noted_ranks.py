"""What runs of a store note for the statement on all of them, and how status and verify say it."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efface import Task
from efface.cli.store_display import show_verification
from efface.store import ProcessEvidence, Store
from helpers.command_line import run as command
from helpers.store_cases import ANEW, AUDITED, IDS, QUICK, copied, people, subset, task_of
from helpers.store_verbs import interrupt, pending
from helpers.tiny import Tiny

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
