"""A clock that is far ahead removes nothing, and what it noted can be put right."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from efface import Task
from efface.store import Store, StoreSettings, ledger
from efface.store.bundle import make_bundle
from efface.store.clock import MAX_REST_S, stamp
from efface.store.describe import describe
from efface.store.entries import CLOCK_AHEAD, CLOCK_BEHIND
from helpers.command_line import run as command
from helpers.store_cases import QUICK, context_of, copied, kinds, people
from helpers.store_verbs import DAY, at, everything, refused, shift
from helpers.tiny import Tiny

ANY = replace(QUICK, accept="any")  # no model is unlearned here
WRONG = datetime(2099, 1, 1, tzinfo=UTC)
HELD = "until somebody says whether it was right (efface clock), no superseded model is removed"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny, task: Task) -> Path:
    """A store whose first version is superseded since DAY, and is to be removed 30 days later."""
    with pytest.MonkeyPatch.context() as patch:
        at(patch, DAY)
        patch.setattr("efface.store.build.unlearn", shift)
        path = tmp_path_factory.mktemp("aged") / "store"
        store = Store.create(path, task, tiny.model, settings=StoreSettings(grace_days=30))
        store.add(people([5]))
        store.run(ANY)
    return path


@pytest.fixture
def aged(made: Path, tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of the store above on the day that it was made; no model is unlearned in its runs."""
    at(monkeypatch, DAY)
    monkeypatch.setattr("efface.store.build.unlearn", shift)
    return Store(copied(made, tmp_path / "copy"), task)


def removed(store: Store) -> list[int]:
    return [v.number for v in store.history().versions.values() if v.removed]


def due_in(days: int) -> date:
    return (DAY + timedelta(days=days)).date()


@pytest.mark.parametrize("pending", [False, True])
def test_a_clock_far_ahead_removes_nothing_and_is_put_right(
    aged: Store, task: Task, monkeypatch: pytest.MonkeyPatch, pending: bool
) -> None:
    store, first = aged, aged.history().seq + 1
    at(monkeypatch, WRONG)
    if pending:
        store.add(people([9]))
    outcome = store.run(ANY)
    assert any(HELD in line for line in outcome.warnings)
    assert removed(store) == []
    assert store.status().clock_in_doubt
    assert [alert.code for alert in store.alerts() if HELD in alert.what] == [3]
    assert not any("was to be removed" in alert.what for alert in store.alerts())
    assert any(HELD in line for line in store.status().warnings)
    assert any(HELD in line for line in store.verify(level=None).warnings)

    at(monkeypatch, DAY + timedelta(days=1))
    store = Store(store.path, task)
    if not pending:  # nothing was noted
        assert store.status().warnings == ()
        assert "no event has a time later than" in refused(store.reset_clock)[0]
        return
    store.add(people([20]), due=due_in(30))
    store.add(people([21]))
    store.cancel(4)
    assert [r.number for r in store.status().overdue] == [3]  # by the wrong time, until it is put right
    state = store.reset_clock()
    assert (state.trusted, state.future, state.warnings) == (True, None, ())
    assert [since for _, since in state.resets] == [first]
    store = Store(store.path, task)
    assert (store.status().warnings, store.status().overdue) == ((), ())
    assert store.run(ANY).warnings == ()
    assert store.verify(level=None).problems == ()
    history, now = store.history(), (DAY + timedelta(days=1)).isoformat(timespec="milliseconds")
    assert [history.requests[n].honoured for n in (2, 3)] == [now, now]
    assert (history.requests[2].added, history.versions[2].replaced, history.latest) == (now, now, now)
    assert history.requests[1].honoured == DAY.isoformat(timespec="milliseconds")  # what lay before stays
    assert store.request(3)["in_time"]
    assert make_bundle(context_of(store), 4)["cancelled"] == now
    assert {event["at"] for event in make_bundle(context_of(store), 2)["events"]} == {now}
    assert removed(store) == []
    at(monkeypatch, DAY + timedelta(days=30))
    store.run(ANY)
    assert removed(store) == [1]
    at(monkeypatch, DAY + timedelta(days=31))
    store.run(ANY)
    assert removed(store) == [1, 2, 3]


def test_a_store_that_rested_waits_for_a_word(aged: Store, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    later, first = DAY + timedelta(days=400), aged.history().seq + 1
    at(monkeypatch, later)
    assert "400 days after the last event (2031-05-17)" in aged.status().warnings[0]
    aged.add(people([9]))  # after which the clock is no longer far ahead of the last event
    assert f"event {first}: the clock lay 400 days ahead of the event before it: " in aged.status().warnings[0]
    at(monkeypatch, later + timedelta(days=200))
    aged.run(ANY)
    assert removed(aged) == []
    state = aged.confirm_clock()
    assert (state.trusted, state.ahead, state.warnings) == (True, (), ())
    aged.run(ANY)
    assert removed(aged) == [1]
    before = everything(aged.path)
    assert aged.confirm_clock().trusted  # nothing to confirm, so nothing is noted
    assert everything(aged.path) == before
    assert kinds(aged).count("clock_confirmed") == 1
    assert Store(aged.path, task).verify(level=None).problems == ()


def test_a_rest_is_confirmed_before_anything_else_happens(aged: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, DAY + timedelta(days=4000))
    assert not aged.clock().trusted
    assert aged.confirm_clock().trusted
    assert aged.run(ANY).warnings == ()
    assert removed(aged) == [1]


def test_without_days_of_grace_models_go_whatever_the_clock_says(
    tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("efface.store.build.unlearn", shift)
    at(monkeypatch, DAY)
    store = Store.create(tmp_path / "store", task, tiny.model, settings=StoreSettings(grace_days=0))
    at(monkeypatch, WRONG)
    store.add(people([5]))
    (warning,) = store.run(ANY).warnings
    assert "dates may be wrong" in warning
    assert removed(store) == [1]


def test_the_end_of_time_is_no_error(aged: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, datetime(9999, 12, 31, tzinfo=UTC))
    aged.add(people([9]))
    aged.run(ANY)
    aged.confirm_clock()
    aged.run(ANY)
    assert removed(aged) == [1]
    assert aged.verify(level=None).problems == ()
    at(monkeypatch, DAY)
    assert aged.reset_clock().trusted


def test_days_ahead_are_taken_for_rest_but_can_be_put_right(aged: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = aged.history().seq + 1
    at(monkeypatch, DAY + timedelta(days=20))
    aged.add(people([9]), due=due_in(5))
    aged.run(ANY)
    assert aged.clock().trusted
    at(monkeypatch, DAY + timedelta(days=2))
    assert aged.clock().future == first
    assert "lies 18 days in the future of the machine's clock" in aged.status().warnings[0]
    assert not aged.request(2)["in_time"]
    aged.reset_clock()
    assert aged.request(2)["in_time"]
    assert aged.status().warnings == ()


def test_a_store_that_was_made_by_a_wrong_clock(
    tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, WRONG)
    store = Store.create(tmp_path / "store", task, tiny.model)
    at(monkeypatch, DAY)
    store.add(people([5]), due=due_in(0))
    assert store.status().overdue
    store.reset_clock()
    assert (store.status().overdue, store.history().created[:10]) == ((), "2031-05-17")
    at(monkeypatch, DAY + timedelta(days=1))
    assert store.status().overdue


def test_the_clock_may_be_wrong_more_than_once(aged: Store, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 4):
        first = aged.history().seq + 1
        at(monkeypatch, WRONG)
        aged.add(people([100 + number]))
        at(monkeypatch, DAY + timedelta(days=number))
        aged.add(people([200 + number]))
        (*_, (event, since)) = aged.reset_clock().resets
        assert (event, since) == (first + 2, first)
        assert aged.status().warnings == ()
        assert aged.clock().future is None
    store = Store(aged.path, task)
    assert store.history() == aged.history()
    assert store.verify(level=None).problems == ()
    with context_of(store).reading() as snapshot:  # the events themselves stay as they are
        times = [event.at[:4] for event in ledger.read(snapshot.connection, snapshot.key)]
    assert times.count("2099") == 6


def test_what_is_refused(aged: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(aged.path)
    assert "If the clock is wrong, set it first" in refused(aged.reset_clock)[0]
    at(monkeypatch, DAY - timedelta(days=3))
    assert "and event 1 and those after it have later times" in refused(aged.confirm_clock)[0]
    at(monkeypatch, datetime(1970, 1, 1, tzinfo=UTC))  # before the network sets it
    assert "when efface was not written yet: set it first" in refused(aged.reset_clock)[0]
    assert everything(aged.path) == before


@pytest.mark.parametrize(
    ("seconds", "mark"), [(0, {}), (MAX_REST_S, {}), (MAX_REST_S + 1, {CLOCK_AHEAD: MAX_REST_S + 1})]
)
def test_the_edge_of_rest(monkeypatch: pytest.MonkeyPatch, seconds: float, mark: dict[str, float]) -> None:
    last = DAY.isoformat(timespec="milliseconds")
    at(monkeypatch, DAY + timedelta(seconds=seconds))
    assert stamp(last)[1] == mark
    assert stamp(None)[1] == {}
    at(monkeypatch, DAY - timedelta(seconds=5))
    assert stamp(last) == (last, {CLOCK_BEHIND: 5.0})
    assert stamp(last, reset=True) == ((DAY - timedelta(seconds=5)).isoformat(timespec="milliseconds"), {})


def test_bundles_show_a_reset_and_nothing_else_of_the_clock(aged: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, WRONG)
    aged.confirm_clock()
    at(monkeypatch, DAY)
    aged.reset_clock()
    shown = [event["kind"] for event in describe(context_of(aged), 1)["history"]]
    assert "clock_reset" in shown and "clock_confirmed" not in shown


def test_the_command_line(aged: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    place, first = ("--store", str(aged.path)), aged.history().seq + 1
    assert "Nothing is odd." in command("clock", *place).output
    at(monkeypatch, WRONG)
    assert "If the machine's clock is right: efface clock --confirm" in command("clock", *place).output
    assert command("status", "--check", *place).exit_code == 3
    aged.add(people([9]))
    at(monkeypatch, DAY + timedelta(days=1))
    shown = " ".join(command("clock", *place).output.split())
    assert f"Event {first} and those after it have times in the future of the machine's clock." in shown
    both = command("clock", "--confirm", "--reset", *place)
    assert both.exit_code == 2 and "give one" in both.output
    assert command("clock", "--confirm", *place).exit_code == 2
    state = json.loads(command("clock", "--reset", "--json", *place).stdout)
    assert (state["trusted"], state["resets"], state["warnings"]) == (True, [[first + 1, first]], [])
    assert f"Event {first + 1} notes that times since event {first} were wrong." in command("clock", *place).output
    assert command("clock", "--reset", *place).exit_code == 2
