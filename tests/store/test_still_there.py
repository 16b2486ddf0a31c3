"""What of forgotten records is in the training set again, and what changed there."""

from dataclasses import replace

import torch
from torch.utils.data import TensorDataset

from efface import ByGroup
from efface.store import Store
from helpers.store_cases import IDS, QUICK, people, task_of
from helpers.tiny import Tiny


def test_verify_names_what_came_back_and_what_changed(store: Store, tiny: Tiny) -> None:
    store.add(people([7, 9]))
    store.run(QUICK)
    x = torch.cat([tiny.x, tiny.x[7:8], tiny.x[:1] + 5])
    x[100] += 1
    y = torch.cat([tiny.y, tiny.y[7:8], tiny.y[:1]])
    later = Store(store.path, replace(task_of(tiny), train=TensorDataset(x, y), ids=[*IDS, "came-back", "new"]))
    found = later.verify(level=None)
    assert not found.problems
    assert [line.split(" ", 1)[0] for line in found.warnings] == ["1", "2"]
    assert "1 training records have another content than the model was trained on" in found.warnings[0]
    assert "2 training records joined later" in found.warnings[1]
    seen = [leftover.what for leftover in found.leftovers if leftover.found]
    assert "2 forgotten records in the task's training set" in seen
    assert "1 training record with the content of forgotten ones, under other ids" in seen
    assert "ledger.sqlite: HMACs of the content of forgotten records (2)" in seen


def test_records_of_a_forgotten_group_that_joined_since_are_found(store: Store, tiny: Tiny) -> None:
    groups = [at // 10 for at in range(300)]
    grouped = Store(store.path, replace(task_of(tiny), groups=groups))
    grouped.add(ByGroup([3]))
    assert grouped.run(QUICK).records == 10
    x, y = torch.cat([tiny.x, tiny.x[:1] + 5]), torch.cat([tiny.y, tiny.y[:1]])
    task = replace(task_of(tiny), train=TensorDataset(x, y), ids=[*IDS, "joined"], groups=[*groups, 3])
    later = Store(store.path, task)
    seen = [leftover.what for leftover in later.verify(level=None).leftovers if leftover.found]
    assert "1 training record of groups that were forgotten, joined since" in seen
