"""Requests come in: what is one request, what is answered at once, and what is refused."""

import os
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import TensorDataset

from efface import Task
from efface.store import Stage, Store
from helpers.store_cases import IDS, QUICK, people
from helpers.store_verbs import DAY, everything, refused
from helpers.tiny import HOLDOUT, mlp, records


def test_the_same_records_again_are_the_same_request(store: Store) -> None:
    first = store.add(people([5, 9, 7]), note="by letter", due="2031-01-31")
    assert first.made
    assert (first.request.number, first.request.records, first.request.due) == (1, 3, "2031-01-31")
    repeated = store.add(people([7, 7, 5, 9, 5]), note="another note", due="2030-01-01")
    assert (repeated.made, repeated.amended, repeated.request.number) == (False, True, 1)
    both = "by letter\nanother note"
    assert (store.note(1), repeated.request.due, store.requests()) == (both, "2030-01-01", [repeated.request])
    assert store.ids(1) == people([5, 7, 9])
    bare = store.add(people([5, 7, 9]))
    assert (bare.made, bare.amended, bare.request) == (False, False, repeated.request)
    assert not store.add(people([5, 7, 9]), note="another note").amended
    store.run(QUICK)
    late = store.add(people([5, 7, 9]), note="too late", due="2050-01-01")
    assert (late.amended, late.request.stage, store.note(1)) == (False, Stage.HONOURED, both)
    assert store.verify(level=None).problems == ()


def test_overlapping_requests_are_two_and_say_what_waits(store: Store) -> None:
    store.add(people([5, 7, 9]))
    second = store.add(people([9, 11]))
    assert (second.made, second.request.number, second.waiting, second.forgotten) == (True, 2, 1, 0)


@pytest.mark.parametrize("late", [False, True])
def test_ids_that_are_no_training_records_are_refused(store: Store, late: bool) -> None:
    if late:
        store.add(people([5]))
        store.run(QUICK)
    nonmembers = [f"nobody-{i}" for i in range(5)]
    before = everything(store.path)
    (problem,) = refused(store.add, [IDS[5], *nonmembers])
    assert problem == (
        "5 ids are not among the training records, and were never forgotten (if their rows were deleted, say so: "
        "deleted=True, or --deleted): 'nobody-0', 'nobody-1', 'nobody-2' and 2 more"
    )
    assert everything(store.path) == before


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({"ids": []}, ["the request names no record"]),
        ({"ids": "person"}, ["expected a sequence of record ids, got str"]),
        ({"ids": [1.5, None]}, ["record ids are integers or strings, got 1.5", "1 record ids are missing (None)"]),
        ({"ids": [True]}, ["a boolean mask"]),
        ({"ids": [10**5000]}, ["numbers of more than 4096 bits"]),
        ({"note": "two\nlines"}, ["note: expected one line of at most 500 characters"]),
        ({"note": "x" * 501}, ["note: expected one line of at most 500 characters"]),
        ({"note": 7}, ["note: expected one line of at most 500 characters"]),
        ({"note": "\ud800"}, ["note: expected one line of at most 500 characters"]),
        ({"due": "20311224", "ids": []}, ["names no record", "due: expected a date as YYYY-MM-DD, got '20311224'"]),
        ({"due": "tomorrow"}, ["due: expected a date as YYYY-MM-DD, got 'tomorrow'"]),
        ({"due": "2031-02-30"}, ["due: expected a date as YYYY-MM-DD, got '2031-02-30', and there is no such day"]),
        ({"due": 7}, ["due: expected a date, or text as YYYY-MM-DD, got int"]),
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


def test_a_request_may_name_very_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.store.create.check_knowledge", lambda *_: None)  # no model is trained here
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


def test_add_at_any_moment_of_a_run_fails_nothing(path: Path, task: Task) -> None:
    """Requests for records that were forgotten before are honoured at once, which a run must not take for damage."""
    stop, raised = threading.Event(), []

    def ask() -> None:
        store, n = Store(path, task), 0
        while not stop.is_set() and n < 40:
            n += 1
            try:
                store.add(people(list(range(5, 65, 5))[: 1 + n % 11]), note=str(n))
            except Exception as error:
                raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(3):
            Store(path, task).run(replace(QUICK, retrain=False))
            Store(path, task).add(people([200 + len(Store(path).requests())]))
    finally:
        stop.set()
        asking.join()
    assert raised == []
    assert Store(path, task).verify(level=None).problems == ()
