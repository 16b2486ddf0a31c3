"""Taking the content of records as it is now, where the data are read in another way than when the store was made."""

from dataclasses import replace

import pytest
from torch.utils.data import TensorDataset

from efface import RequestError, Task
from efface.store import Stage, Store
from helpers.command_line import run
from helpers.store_cases import IDS, QUICK, kinds, people, task_of
from helpers.tiny import Tiny


@pytest.fixture
def other(store: Store, tiny: Tiny) -> Store:
    """The store with a task that reads its data in another way: without one record, and with one more."""
    task: Task = replace(task_of(tiny), train=TensorDataset(tiny.x * 1.001, tiny.y), ids=[*IDS[:-1], "later"])
    return Store(store.path, task)


def test_contents_are_taken_as_they_are_now(other: Store) -> None:
    other.add(people([5]))
    with pytest.raises(RequestError, match="efface refingerprint"):
        other.run(QUICK)
    with pytest.raises(RequestError, match=r"request 1 is pending"):
        other.refingerprint()
    seen = other.refingerprint(dry_run=True)  # which changes nothing
    other.cancel(1)
    found = other.refingerprint(dry_run=True)
    assert (found.records, found.changed, found.missing, found.joined, found.done) == (300, 299, 1, 1, False)
    assert other.refingerprint(dry_run=True) == found == seen
    assert other.refingerprint() == replace(found, done=True)
    assert other.refingerprint(dry_run=True).changed == 0
    assert kinds(other).count("fingerprinted") == 1
    assert other.verify(level=None).problems == ()
    assert any("1 training records joined later" in line for line in other.verify(level=None).warnings)
    other.add(people([5]))
    assert other.run(QUICK).version is not None


def test_a_record_that_is_gone_can_still_be_asked_for(other: Store) -> None:
    other.refingerprint()
    other.add([IDS[-1]])
    with pytest.raises(RequestError, match="1 of its records is no longer in the training set"):
        other.run(QUICK)
    assert other.requests()[0].stage is Stage.PENDING


def test_the_command_says_what_changes(other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.cli.store_repair.open_with_task", lambda *_: (other, other.task))
    shown = run("refingerprint", "--dry-run", "--store", str(other.path))
    assert shown.exit_code == 0
    assert "299 of 300 contents would be taken as they are now." in shown.stdout
    assert "299 of 300 contents were taken" in run("refingerprint", "--store", str(other.path)).stdout
    assert '"changed": 0' in run("refingerprint", "--dry-run", "--json", "--store", str(other.path)).stdout
