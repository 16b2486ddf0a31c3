"""Requests are withdrawn as long as they are pending."""

from pathlib import Path

from efface import Task
from efface.store import Stage, Store
from helpers.store_cases import (
    FIRST,
    IDS,
    QUICK,
    SECOND,
    kinds,
    people,
)
from helpers.store_verbs import everything, interrupt, refused


def test_a_cancelled_request_is_over_and_may_be_asked_again(store: Store) -> None:
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


def test_no_request_was_lost_or_doubled_by_cancelling_and_asking_again(path: Path, task: Task) -> None:
    store = Store(path, task)
    store.cancel(3)
    for _ in range(3):
        assert not store.add(people(SECOND)).made and not store.add(people(FIRST)).made
    assert [r.stage for r in store.requests()] == [Stage.HONOURED, Stage.PENDING, Stage.CANCELLED]
    assert kinds(store).count("requested") == 3


def test_a_request_of_an_interrupted_run_may_be_cancelled(store: Store) -> None:
    store.add(people([5, 7, 9]))
    store.add(people([11]))
    interrupt(store, QUICK, "run.made")
    store.cancel(1)
    run = store.history().runs[1]
    assert (run.stage, run.why) == (Stage.ABANDONED, "request 1 was cancelled")
    assert store.verify(level=None).problems == ()
    assert len(list((store.path / "checkpoints").iterdir())) == 1
    later = store.run(QUICK)
    assert (later.requests, later.records, later.resumed) == ((2,), 1, False)
