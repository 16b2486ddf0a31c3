"""What the verbs of a store promise: how it is made, what may be asked of it, and what is refused."""

import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from efface import Task
from efface.models.checkpoint import weights_digest
from efface.store import DriftLimits, RunPlan, Stage, Store
from helpers.store_cases import IDS, QUICK, fit, people, task_of
from helpers.store_verbs import DAY, at, everything, refused, serving
from helpers.tiny import HOLDOUT, RECORDS, Tiny, mlp, records, weights

# making a store


def test_a_new_store_serves_the_model(store: Store, tiny: Tiny, tmp_path: Path) -> None:
    assert serving(store) == weights(tiny.model)
    version = store.status().serving
    assert (version.number, version.kind, version.weights) == (1, "original", weights_digest(tiny.model))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store", "store.key"]
    again = Store(tmp_path / "store")
    assert again.history() == store.history()
    assert again.requests() == []


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"folder": "taken"}, ["there is something already"]),
        ({"folder": "no/such/store"}, ["there is no folder"]),
        ({"key": "store/secret"}, ["the key must lie outside of the store"]),
        ({"key": "old.key"}, ["there is a file already, and a key is never replaced"]),
        ({"task": {"build_model": None}}, ["has no build_model"]),
        ({"task": {"holdout": TensorDataset(torch.zeros(0, 16), torch.zeros(0))}}, ["the holdout set is empty"]),
        ({"task": {"holdout": None}}, ["holdout records: expected a map-style dataset"]),
        ({"task": {"ids": IDS[:-1]}}, ["expected one id for each of the 300 training records, got 299"]),
        ({"task": {"ids": (*IDS[:-1], IDS[0])}}, ["ids name more than one training record"]),
        ({"task": {"train": [1, 2, 3]}}, ["training records cannot be read"]),
        ({"model": "weights.pt"}, ["expected a torch.nn.Module"]),
        ({"grace_days": -1}, ["grace_days: expected a number of 0 or more, got -1"]),
        ({"grace_days": float("nan")}, ["grace_days: expected a number"]),
        ({"grace_days": 1e10}, ["grace_days: expected at most 365,000 days"]),
        ({"grace_days": "thirty"}, ["grace_days: expected a number"]),
        ({"limits": DriftLimits(changed=-0.1, accuracy=float("inf"))}, ["changed: expected", "accuracy: expected"]),
        ({"source": "no-such-file.pt"}, ["there is no such file, which the model is said to come from"]),
        ({"device": "abacus"}, ["abacus"]),
        (
            {
                "folder": "taken",
                "key": "old.key",
                "task": {"build_model": None, "holdout": []},
                "grace_days": -1,
                "source": "no-such-file.pt",
                "device": "abacus",
            },
            ["something already", "never replaced", "grace_days", "no such file", "abacus", "build_model", "holdout"],
        ),
    ],
)
def test_a_store_is_refused_with_every_reason_and_leaves_nothing(
    change: dict[str, Any], lines: list[str], tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "old.key").write_text("another store's")
    before = everything(tmp_path)
    given: dict[str, Any] = {"folder": "store", "model": tiny.model, **change}
    given["task"] = tiny.task(**{"build_model": mlp, **change.get("task", {})})
    problems = refused(Store.create, given.pop("folder"), given.pop("task"), given.pop("model"), **given)
    assert len(problems) == len(lines), problems
    for line, problem in zip(lines, problems, strict=True):
        assert line in problem
    assert everything(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.key", "taken"]


def test_what_an_interrupted_create_left_is_named(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / ".store.new").mkdir()
    (problem,) = refused(Store.create, tmp_path / "store", tiny.task(build_model=mlp), tiny.model)
    assert ".store.new: an efface init is at work there or was interrupted; it holds a copy of the model" in problem


def test_a_task_that_is_none_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    assert refused(Store.create, tmp_path / "store", "my_task:task", tiny.model) == (
        "task: expected an efface.Task, got str",
    )
    assert refused(Store, tmp_path / "store")[0].endswith("make one (efface init), or name another (--store)")


def test_verbs_that_read_records_ask_for_the_task(store: Store) -> None:
    bare = Store(store.path)
    for call in (lambda: bare.add([IDS[3]]), lambda: bare.run(QUICK)):
        assert refused(call) == ("this needs the task: give it to Store(folder, task)",)
    assert bare.verify(level=None).problems == ()
    assert bare.verify().not_audited == "no task was given"


# asking


def test_the_same_records_again_are_the_same_request(store: Store) -> None:
    first = store.add(people([5, 9, 7]), note="by letter", due="2031-01-31")
    assert first.made
    assert (first.request.number, first.request.records, first.request.due) == (1, 3, "2031-01-31")
    again = store.add(people([7, 7, 5, 9, 5]), note="another note", due="2040-01-01")
    assert (again.made, again.amended, again.request.number) == (False, True, 1)
    assert (store.note(1), again.request.due, store.requests()) == ("another note", "2040-01-01", [again.request])
    assert store.ids(1) == people([5, 7, 9])
    bare = store.add(people([5, 7, 9]))
    assert (bare.made, bare.amended, bare.request) == (False, False, again.request)
    assert not store.add(people([5, 7, 9]), note="another note").amended
    store.run(QUICK)
    late = store.add(people([5, 7, 9]), note="too late", due="2050-01-01")
    assert (late.amended, late.request.stage, store.note(1)) == (False, Stage.HONOURED, "another note")
    assert store.verify(level=None).problems == ()


def test_overlapping_requests_are_two_and_say_what_waits(store: Store) -> None:
    store.add(people([5, 7, 9]))
    second = store.add(people([9, 11]))
    assert (second.made, second.request.number, second.waiting, second.forgotten) == (True, 2, 1, 0)


def test_records_forgotten_before_are_answered_at_once(store: Store) -> None:
    store.add(people([5, 7, 9]))
    store.run(QUICK)
    part = store.add(people([7, 5]))
    assert (part.made, part.forgotten, part.waiting) == (True, 2, 0)
    assert (part.request.stage, part.request.version, part.request.through) == (Stage.HONOURED, 2, (1,))
    mixed = store.add(people([9, 20]))
    assert (mixed.forgotten, mixed.request.stage) == (1, Stage.PENDING)
    assert store.ids(3) == [IDS[20]]  # the id of the other one is never kept again
    assert store.run(QUICK).requests == (3,)


def test_requests_that_a_run_makes_superfluous_end_with_it(store: Store) -> None:
    """Also through several others, of which some ended that way themselves."""
    for wanted in ([5], [7]):
        store.add(people(wanted))
    store.run(QUICK)
    third = store.add(people([5, 7])).request
    store.add(people([9]))
    store.run(QUICK)
    last = store.add(people([5, 7, 9])).request
    assert (third.version, third.through) == (2, (1, 2))
    assert (last.version, last.through) == (3, (1, 2, 4))
    assert store.status().honours == {1: (), 2: (1, 2, 3), 3: (1, 2, 3, 4, 5)}
    assert store.history().knows(3) == set()


@pytest.mark.parametrize("late", [False, True])
def test_ids_that_are_no_training_records_are_refused(store: Store, late: bool) -> None:
    if late:
        store.add(people([5]))
        store.run(QUICK)
    nonmembers = [f"nobody-{i}" for i in range(5)]
    before = everything(store.path)
    (problem,) = refused(store.add, [IDS[5], *nonmembers])
    assert problem == (
        "5 ids are not among the training records, and were never forgotten: 'nobody-0', 'nobody-1', 'nobody-2' and 2 "
        "more"
    )
    assert everything(store.path) == before


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({"ids": []}, ["the request names no record"]),
        ({"ids": "person"}, ["expected a sequence of record ids, got str"]),
        ({"ids": [1.5, None]}, ["record ids are integers or strings, got 1.5, None"]),
        ({"ids": [True]}, ["a boolean mask"]),
        ({"ids": [10**5000]}, ["numbers of more than 4096 bits"]),
        ({"note": "two\nlines"}, ["note: expected one line of at most 500 characters"]),
        ({"note": "x" * 501}, ["note: expected one line of at most 500 characters"]),
        ({"note": 7}, ["note: expected one line of at most 500 characters"]),
        ({"note": "\ud800"}, ["note: expected one line of at most 500 characters"]),
        ({"due": "tomorrow"}, ["due: expected a date as YYYY-MM-DD, got 'tomorrow'"]),
        ({"due": "2031-02-30"}, ["due: expected a date as YYYY-MM-DD, got '2031-02-30'"]),
        ({"due": 7}, ["due: expected a date, got int"]),
        ({"ids": [], "note": "\n", "due": 7}, ["names no record", "due", "note"]),
    ],
)
def test_a_request_is_refused_with_every_reason(store: Store, given: dict[str, Any], lines: list[str]) -> None:
    before = everything(store.path)
    problems = refused(store.add, **{"ids": [IDS[5]], **given})
    assert len(problems) == len(lines)
    assert all(line in problem for line, problem in zip(lines, problems, strict=True))
    assert everything(store.path) == before


def test_dates_come_in_three_kinds(store: Store) -> None:
    for number, due in enumerate(("2031-05-17", date(2031, 5, 17), DAY), 1):
        assert store.add([IDS[number]], due=due).request.due == "2031-05-17"
    assert len(store.status().pending) == 3


def test_notes_of_500_characters_in_any_script_come_back(store: Store) -> None:
    note = "é漢🙂<b>'" * 71
    store.add([IDS[5]], note=note)
    assert store.note(1) == note
    assert store.note(store.add([IDS[6]], note="").request.number) == ""
    assert store.note(store.add([IDS[7]]).request.number) is None


def test_a_request_may_name_very_many_records(tmp_path: Path) -> None:
    count = 100_000 if os.environ.get("EFFACE_LONG") == "1" else 20_000
    x, y = records(count, 0)
    held = TensorDataset(*records(HOLDOUT, 1))
    ids = [f"person-{i}@example.org" for i in range(count)]
    task = Task(train=TensorDataset(x, y), holdout=held, ids=ids, build_model=mlp)
    store = Store.create(tmp_path / "store", task, mlp())
    answer = store.add(ids)
    assert (answer.request.records, answer.made) == (count, True)
    assert not store.add(ids[::-1]).made
    assert sorted(store.ids(1)) == sorted(ids)


def test_a_cancelled_request_is_gone_and_may_be_asked_again(store: Store) -> None:
    store.add(people([5, 7]), note="by letter")
    cancelled = store.cancel(1)
    assert (cancelled.stage, store.ids(1), store.status().pending) == (Stage.CANCELLED, [], ())
    assert IDS[5].encode() not in b"".join(everything(store.path).values())
    assert store.cancel(1) == cancelled  # twice is once
    assert store.run(QUICK).status == "nothing"
    assert store.add(people([5, 7])).request.number == 2
    store.run(QUICK)
    assert refused(store.cancel, 2) == ("request 2 was honoured by version 2: that cannot be undone",)
    assert refused(store.cancel, 3) == ("there is no request 3 (there are: 1 to 2)",)
    assert store.requests()[0].stage is Stage.CANCELLED
    assert store.verify(level=None).problems == ()


@pytest.mark.parametrize("verb", ["request", "ids", "note", "cancel"])
def test_a_request_that_is_not_there_is_named(store: Store, verb: str) -> None:
    assert refused(getattr(store, verb), 4) == ("there is no request 4 (there are: none yet)",)


# status


def test_requests_are_overdue_once_their_day_is_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, DAY)
    for number, days in enumerate((-1, 0, 1), 1):
        store.add([IDS[number]], due=(DAY + timedelta(days=days)).date())
    store.add([IDS[9]])
    assert [r.number for r in store.status().overdue] == [1]
    at(monkeypatch, DAY + timedelta(days=1))
    assert [r.number for r in store.status().overdue] == [1, 2]
    store.run(QUICK)
    status = store.status()
    assert (status.overdue, status.pending) == ((), ())
    assert [store.request(n)["in_time"] for n in (1, 2, 3, 4)] == [False, False, True, None]


def test_status_says_what_each_version_honours(store: Store) -> None:
    for wanted in ([5], [7]):
        store.add(people(wanted))
        store.run(QUICK)
    status = store.status()
    assert status.honours == {1: (), 2: (1,), 3: (1, 2)}
    assert (status.serving.number, status.file, status.retired) == (3, store.current, None)
    assert status.head == (store.history().seq, store.history().hash)
    assert (status.unfinished, status.warnings) == (None, ())


# rolling back


def test_rollback_goes_only_where_no_honoured_request_is_undone(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in ([5], [7]):
        store.add(people(wanted))
        store.run(QUICK)
    store.run(RunPlan(retrain=True))
    assert refused(store.rollback, 9) == ("there is no version 9 (there are: 1 to 4)",)
    assert refused(store.rollback, 4) == ("version 4 is in service already",)
    (one,) = refused(store.rollback, 2)
    assert one.startswith("version 2 knows the records of request 2, which was honoured")
    (two,) = refused(store.rollback, 1)
    assert two.startswith("version 1 knows the records of requests 1, 2, which were honoured")
    retrained = serving(store)
    assert store.rollback(3).number == 3
    assert serving(store) != retrained
    assert store.status().serving.replaced is None
    assert store.rollback(4).number == 4
    assert serving(store) == retrained
    assert store.verify(level=None).problems == ()


def test_after_a_rollback_a_run_starts_from_the_version_in_service(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    store.run(QUICK)
    store.run(RunPlan(retrain=True))
    store.rollback(2)
    store.add(people([7]))
    version = store.run(QUICK).version
    assert version is not None
    assert (version.number, version.parent, version.lineage) == (4, 2, 1)
    assert store.status().honours[4] == (1, 2)


# positions as ids


def test_a_task_without_ids_names_records_by_position(tmp_path: Path, tiny: Tiny) -> None:
    task = tiny.task(build_model=mlp, fit=fit)
    store = Store.create(tmp_path / "store", task, tiny.model)
    assert store.add(torch.tensor([5, 9])).request.records == 2
    assert sorted(store.ids(1)) == [5, 9]
    assert "300" in refused(store.add, [RECORDS])[0]
    assert "was never forgotten: '5'" in refused(store.add, ["5"])[0]
    store.run(QUICK)
    shorter = tiny.task(build_model=mlp, train=TensorDataset(tiny.x[:-1], tiny.y[:-1]))
    for call in (lambda s: s.add([1]), lambda s: s.run(QUICK)):
        (problem,) = refused(call, Store(store.path, shorter))
        assert problem.startswith("the task names records by position, and has 299 of them where the store was made")
    (problem,) = refused(Store(store.path, task_of(tiny)).add, [IDS[1]])
    assert problem.startswith("Task.ids was given when the store was made and is not now, or the other way round")


def test_a_store_and_its_key_may_be_moved_together(store: Store, tiny: Tiny, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    os.rename(store.path, moved / "store")
    os.rename(tmp_path / "store.key", moved / "store.key")
    there = Store(moved / "store", task_of(tiny))
    there.add(people([5]))
    assert there.run(QUICK).version is not None
    assert there.verify(level=None).problems == ()
