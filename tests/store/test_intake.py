"""Which requests a run takes: content that changed, rows that are gone, records that came later or came back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sqlalchemy import Table, delete
from torch.utils.data import TensorDataset

from efface import ByGroup, RequestError, Task
from efface.cli.failures import Code
from efface.store import DamagedError, RunPlan, Stage, Store, StoreSettings
from efface.store.database import fingerprints, forgotten_content
from helpers.command_line import run
from helpers.store_cases import ANEW, AUDITED, IDS, QUICK, context_of, kinds, people, served, task_of
from helpers.store_verbs import interrupt
from helpers.tiny import Tiny

ALLOWED = replace(QUICK, allow_returned=True)


def with_data(tiny: Tiny, x: torch.Tensor, y: torch.Tensor | None = None, ids: object = IDS) -> Task:
    """The task with other training records."""
    return replace(task_of(tiny), train=TensorDataset(x, tiny.y if y is None else y), ids=ids)


def replaced(tiny: Tiny, positions: object) -> torch.Tensor:
    """The inputs, with other content at some positions."""
    x = tiny.x.clone()
    x[positions] += 1
    return x


def without(tiny: Tiny, gone: int) -> Task:
    kept = [at for at in range(len(IDS)) if at != gone]
    return with_data(tiny, tiny.x[kept], tiny.y[kept], people(kept))


def refusal(store: Store, plan: RunPlan = QUICK) -> str:
    with pytest.raises(RequestError) as caught:
        store.run(plan)
    return "\n".join(caught.value.problems)


def test_a_request_whose_content_changed_is_not_honoured_for_another_content(store: Store, tiny: Tiny) -> None:
    before = served(store.path)
    store.add(people([5, 7]))
    said = refusal(Store(store.path, with_data(tiny, replaced(tiny, [7]))))
    assert said.startswith("request 1 waits: the content of 1 of its records is not what the model was trained on")
    assert served(store.path) == before
    assert store.requests()[0].stage is Stage.PENDING
    assert store.requests()[0].deferred is not None
    assert store.requests()[0].deferred.why == "changed"
    assert store.run(QUICK).version is not None  # once it is put back
    assert store.requests()[0].deferred is None


def test_a_changed_label_is_a_changed_content(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    y = tiny.y.clone()
    y[5] = (y[5] + 1) % 3
    assert "is not what the model was trained on" in refusal(Store(store.path, with_data(tiny, tiny.x, y)))


def test_a_request_that_must_wait_holds_up_no_other(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    store.add(people([7, 9]))
    outcome = Store(store.path, without(tiny, 7)).run(QUICK)
    assert outcome.requests == (1,)
    assert [r.stage for r in store.requests()] == [Stage.HONOURED, Stage.PENDING]
    (line,) = outcome.deferred
    assert line.startswith("request 2 waits: 1 of its records is no longer in the training set")
    assert kinds(store).count("deferred") == 1
    said = refusal(Store(store.path, without(tiny, 7)))
    assert said == line
    assert kinds(store).count("deferred") == 1  # it says so already
    outcome = Store(store.path, without(tiny, 7)).run(ANEW)
    assert outcome.requests == (2,)
    assert not outcome.deferred
    assert store.requests()[1].stage is Stage.HONOURED


def test_what_waits_is_shown_with_what_to_do_wherever_requests_are_shown(store: Store, tiny: Tiny) -> None:
    store.add(people([5]), due="2020-01-01")
    assert "Pending: request 1; efface run honours it." in shown(store, "status")
    refusal(Store(store.path, without(tiny, 5)))
    store.add(["gone"], deleted=True, due="2020-01-01")
    store.add(people([7]))
    store.add(people([9]))
    why = "request 1 waits: 1 of its records is no longer in the training set"
    status = shown(store, "status")
    assert "Pending: requests 3-4; efface run honours them." in status
    assert "Pending: request 2; efface run --retrain honours it." in status
    assert "Pending: request 1, which the last run left out.\nR" + why[1:] in status
    checked = shown(store, "status", "--check")
    assert f"Alert (now): {why}, so nothing can be unlearned by it; put it back until the run is over" in checked
    assert "request 1 was due on 2020-01-01; put it back until the run is over" in checked
    assert "request 2 was due on 2020-01-01; efface run --retrain honours it." in checked
    assert "  waits     1 of its records is no longer" in shown(store, "request", "show", "1")
    assert "pending, waits" in shown(store, "request", "list")


def shown(store: Store, *words: str) -> str:
    return run(*words, "--store", str(store.path)).stdout


def test_a_record_that_the_model_was_not_trained_on_cannot_be_unlearned(store: Store, tiny: Tiny) -> None:
    x, y = torch.cat([tiny.x, tiny.x[:1] + 3]), torch.cat([tiny.y, tiny.y[:1]])
    later = Store(store.path, with_data(tiny, x, y, [*IDS, "later"]))
    later.add(["later"])
    assert "joined the training set later" in refusal(later)
    assert later.run(ANEW).requests == (1,)


def test_data_that_are_read_otherwise_are_told_of_and_nothing_is_erased(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    before = served(store.path)
    said = refusal(Store(store.path, with_data(tiny, tiny.x * 1.001)))
    assert said.startswith("most training records have another content than the model was trained on (200 of 200")
    assert "efface refingerprint" in said
    assert "order" not in said
    assert served(store.path) == before


@pytest.mark.parametrize("plan", [QUICK, ANEW])
def test_records_named_by_position_must_not_move(tmp_path: Path, tiny: Tiny, plan: RunPlan) -> None:
    store = Store.create(tmp_path / "store", with_data(tiny, tiny.x, ids=None), tiny.model)
    store.add([5, 7])
    moved = Store(store.path, with_data(tiny, tiny.x.flip(0), tiny.y.flip(0), None))
    assert "stand in another order" in refusal(moved, plan)
    swapped = torch.arange(300)
    swapped[[5, 6]] = torch.tensor([6, 5])
    moved = Store(store.path, with_data(tiny, tiny.x[swapped], tiny.y[swapped], None))
    said = refusal(moved, plan)
    assert said.startswith("request 1 waits: the content of 1 of its records")
    assert "put the earlier order and content back" in said and "retrain" not in said  # which would not help


def test_content_is_looked_at_again_when_a_run_is_resumed(
    store: Store, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(people([5, 7]))
    with monkeypatch.context() as patch:

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("efface.store.judging.Judge.conclude", die)
        with pytest.raises(KeyboardInterrupt):
            store.run(AUDITED)
    assert store.status().unfinished is not None
    before = served(store.path)
    said = refusal(Store(store.path, with_data(tiny, replaced(tiny, [7]))), AUDITED)
    assert "is not what the model was trained on" in said
    assert served(store.path) == before
    assert store.status().unfinished is None
    assert store.run(AUDITED).version is not None


def test_a_few_changes_beside_the_request_are_told_of(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    outcome = Store(store.path, with_data(tiny, replaced(tiny, range(100, 160)))).run(QUICK)
    assert outcome.version is not None
    assert any("training records that were looked at have another content" in line for line in outcome.warnings)


@pytest.fixture
def returned(store: Store, tiny: Tiny) -> Store:
    """A store with a forgotten record whose content is in the training set again, and a request that waits."""
    store.add(people([7]))
    store.run(QUICK)
    store.add(people([9]))
    x, y = torch.cat([tiny.x, tiny.x[7:8]]), torch.cat([tiny.y, tiny.y[7:8]])
    return Store(store.path, with_data(tiny, x, y, [*IDS, "came-back"]))


@pytest.mark.parametrize("plan", [QUICK, ANEW])
def test_a_forgotten_record_that_came_back_under_another_id_is_found(returned: Store, plan: RunPlan) -> None:
    said = refusal(returned, plan)
    assert said.startswith("1 training record has the content of a forgotten one under another id: 'came-back' (for")
    assert "(forgotten by request 1)" in said
    assert returned.run(replace(plan, allow_returned=True)).version is not None


def test_a_record_that_came_back_can_be_asked_for(returned: Store) -> None:
    returned.add(["came-back"])
    assert returned.run(ANEW).requests == (2, 3)


def test_a_record_whose_content_became_that_of_a_forgotten_one_is_found_by_a_retraining(
    store: Store, tiny: Tiny
) -> None:
    store.add(people([7]))
    store.run(QUICK)
    x = tiny.x.clone()
    x[100] = x[7]
    assert "'person-0100@example.org'" in refusal(Store(store.path, with_data(tiny, x)), ANEW)


def test_nothing_is_looked_for_where_contents_are_not_kept(tmp_path: Path, tiny: Tiny, task: Task) -> None:
    store = Store.create(tmp_path / "store", task, tiny.model, settings=StoreSettings(notice_returns=False))
    store.add(people([7]))
    store.run(QUICK)
    store.add(people([9]))
    x, y = torch.cat([tiny.x, tiny.x[7:8]]), torch.cat([tiny.y, tiny.y[7:8]])
    assert Store(store.path, with_data(tiny, x, y, [*IDS, "new"])).run(QUICK).version is not None


def test_a_request_by_group_waits_where_its_groups_have_grown(store: Store, tiny: Tiny) -> None:
    groups = [at // 10 for at in range(300)]
    grouped = Store(store.path, replace(task_of(tiny), groups=groups))
    grouped.add(ByGroup([3]))
    x, y = torch.cat([tiny.x, tiny.x[:1] + 5]), torch.cat([tiny.y, tiny.y[:1]])
    grown = replace(with_data(tiny, x, y, [*IDS, "joined"]), groups=[*groups, 3])
    for plan in (QUICK, ANEW):
        said = refusal(Store(store.path, grown), plan)
        assert said.startswith("request 1 waits: 1 training record of its groups joined since it was made")
    later = Store(store.path, grown)
    assert later.add(ByGroup([3])).made
    assert later.run(ANEW).requests == (1, 2)


@pytest.mark.parametrize("plan", [QUICK, ANEW])
def test_a_record_of_a_forgotten_group_that_joined_since_is_found(store: Store, tiny: Tiny, plan: RunPlan) -> None:
    groups = [at // 10 for at in range(300)]
    grouped = Store(store.path, replace(task_of(tiny), groups=groups))
    grouped.add(ByGroup([3]))
    grouped.run(QUICK)
    grouped.add(people([150]))
    x, y = torch.cat([tiny.x, tiny.x[:1] + 5]), torch.cat([tiny.y, tiny.y[:1]])
    later = Store(store.path, replace(with_data(tiny, x, y, [*IDS, "joined"]), groups=[*groups, 3]))
    said = refusal(later, plan)
    assert said.startswith("1 training record is of groups that were forgotten by request 1, and joined since: 'joined")
    assert later.run(replace(plan, allow_returned=True)).version is not None


def test_without_groups_only_requests_by_group_wait(store: Store, tiny: Tiny) -> None:
    groups = [at // 10 for at in range(300)]
    Store(store.path, replace(task_of(tiny), groups=groups)).add(ByGroup([3, 4]))
    store.add(people([150]))
    outcome = store.run(QUICK)
    assert outcome.requests == (2,)
    assert outcome.deferred[0].startswith(
        "request 1 waits: the task has no groups now, so nobody can tell whether its 2"
    )
    assert Store(store.path, replace(task_of(tiny), groups=groups)).run(QUICK).requests == (1,)
    store.add(people([151]))
    assert any("nobody can tell whether records of those groups joined" in line for line in store.run(QUICK).warnings)
    assert any("nobody can tell whether" in line for line in store.verify(level=None).warnings)


def test_a_record_that_came_back_and_waits_holds_up_no_other(returned: Store) -> None:
    returned.add(["came-back"])
    outcome = returned.run(QUICK)
    assert outcome.requests == (2,)
    assert outcome.deferred[0].startswith("request 3 waits: 1 of its records joined the training set later")


def test_what_waits_is_an_alert_and_has_a_code_of_its_own(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    store.add(people([7]))
    outcome = Store(store.path, without(tiny, 7)).run(QUICK)
    assert Code.of_run(outcome.status, True, bool(outcome.deferred)) == 3
    assert [(a.code, a.what) for a in store.alerts()] == [
        (3, "request 2 waits: 1 of its records is no longer in the training set, so nothing can be unlearned by it")
    ]


def test_a_resumed_run_says_too_what_waits(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    store.add(people([7]))
    other = Store(store.path, without(tiny, 7))
    interrupt(other, QUICK, "run.made")
    outcome = other.run(QUICK)
    assert (outcome.resumed, outcome.requests) == (True, (1,))
    (line,) = outcome.deferred
    assert line.startswith("request 2 waits: 1 of its records is no longer in the training set")
    assert Code.of_run(outcome.status, True, bool(outcome.deferred)) == 3


def test_a_retraining_says_that_contents_changed(store: Store, tiny: Tiny) -> None:
    store.add(people([5]))
    moved = with_data(tiny, tiny.x, tiny.y, IDS[1:] + IDS[:1])  # ids in a column that slipped
    outcome = Store(store.path, moved).run(ANEW)
    assert outcome.requests == (1,)
    assert outcome.warnings[0].startswith("1 of the records to forget have another content than the model was trained")
    assert outcome.warnings[1].startswith("most training records have another content than the model in service was")


@pytest.mark.parametrize(("table", "noted"), [(fingerprints, 299), (forgotten_content, 1)])
def test_rows_of_fingerprints_that_are_missing_stop_a_run(store: Store, table: Table, noted: int) -> None:
    store.add(people([5]))
    store.run(QUICK)
    store.add(people([7]))
    with context_of(store).database.writing() as connection:
        connection.execute(delete(table))
    before = served(store.path)
    with pytest.raises(DamagedError, match=f"{table.name}: holds 0 rows where the history notes {noted}"):
        store.run(QUICK)
    assert served(store.path) == before
