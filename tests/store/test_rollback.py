"""An earlier version goes back into service, unless that would undo a request."""

from pathlib import Path

from efface.store import RunPlan, Store
from helpers.store_cases import ANEW, QUICK, people, task_of
from helpers.store_verbs import interrupt, refused, serving
from helpers.tiny import Tiny


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
    assert two.startswith("version 1 knows the records of requests 1-2, which were honoured")
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


def test_a_rollback_gives_an_interrupted_run_up(store: Store) -> None:
    store.add(people([5, 7, 9]))
    store.run(QUICK)
    store.run(ANEW)
    store.add(people([11]))
    interrupt(store, QUICK, "run.made")
    store.rollback(2)
    outcome = store.run(QUICK)
    assert outcome.version is not None
    assert (outcome.resumed, outcome.version.parent) == (False, 2)
