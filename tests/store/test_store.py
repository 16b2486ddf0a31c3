"""What holds for the verbs of a store together: the task they need, positions as ids, and stores that are moved."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from efface.runtime.kinds import network_problem
from efface.store import RunPlan, Store
from helpers.store_cases import IDS, QUICK, fit, people, task_of
from helpers.store_verbs import refused
from helpers.tiny import RECORDS, Tiny, mlp


def test_verbs_that_read_records_ask_for_the_task(store: Store) -> None:
    bare = Store(store.path)
    assert bare.add([IDS[3]]).made  # which the store knows
    assert "Give the task" in refused(lambda: bare.add(["nobody"]))[0]
    bare.cancel(1)
    for call in (bare.refingerprint, lambda: bare.run(QUICK)):
        assert refused(call) == ("this needs the task: give it to Store(folder, task)",)
    assert bare.verify(level=None).problems == ()
    assert bare.verify().not_audited == "no task was given"


@pytest.mark.parametrize("verb", ["request", "ids", "note", "cancel"])
def test_a_request_that_is_not_there_is_named(store: Store, verb: str) -> None:
    assert refused(getattr(store, verb), 4) == ("there is no request 4 (there are: none yet)",)


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


WRONG: dict[str, tuple[Callable[[Store], object], tuple[str, ...]]] = {
    "a folder that is no path": (lambda s: Store(3), ("folder: expected a path, got int",)),  # type: ignore[arg-type]
    "a data set for the task": (
        lambda s: Store(s.path, [1, 2]),  # type: ignore[arg-type]
        ("task: expected an efface.Task, got list",),
    ),
    "a function for the task": (
        lambda s: Store(s.path, people),  # type: ignore[arg-type]
        ("task: expected an efface.Task, got the function people: call it",),
    ),
    "a device by its number": (
        lambda s: Store(s.path, s.task, device=0),  # type: ignore[arg-type]
        ("device: expected a name such as 'auto', 'cpu' or 'cuda:0', got int",),
    ),
    "a key that is no path": (lambda s: Store(s.path, key=3), ("key: expected a path, got int",)),  # type: ignore[arg-type]
    "no patience": (
        lambda s: Store(s.path, busy_s=-1),
        ("busy_s: expected a number of seconds, 0 or more, got -1",),
    ),
    "endless patience": (
        lambda s: s.run(QUICK, wait_s=-1),
        ("wait_s: expected a number of seconds, 0 or more, got -1",),
    ),
    "a key for the plan": (
        lambda s: s.run("steer"),  # type: ignore[arg-type]
        ("plan: expected an efface.store.RunPlan, got str",),
    ),
    "the class of the plan": (
        lambda s: s.run(RunPlan),  # type: ignore[arg-type]
        ("plan: expected an efface.store.RunPlan, got the class RunPlan: call it",),
    ),
    "a request by text": (lambda s: s.cancel("1"), ("there is no request '1' (there are: none yet)",)),  # type: ignore[arg-type]
    "a request by True": (lambda s: s.ids(True), ("there is no request True (there are: none yet)",)),
    "a version by a list": (lambda s: s.rollback([1]), ("there is no version [1] (there are: 1 to 1)",)),  # type: ignore[arg-type]
    "an audit that is none": (
        lambda s: s.verify("best", references=0, original="model.pt"),  # type: ignore[arg-type]
        (
            "level: expected one of quick, standard, strong, got 'best'",
            "references: expected an integer of 1 or more, got 0",
            f"original: {network_problem('model.pt')}",
        ),
    ),
    "a bundle that is no path": (lambda s: s.export(1, 3), ("out: expected a path, got int",)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_of_a_wrong_kind_is_refused(name: str, store: Store) -> None:
    call, problems = WRONG[name]
    assert refused(call, store) == problems


def test_numbers_of_numpy_name_requests_and_versions(asked_store: Store) -> None:
    one = np.int64(1)
    assert asked_store.request(one)["request"] == 1  # type: ignore[arg-type]
    assert asked_store.ids(one) == asked_store.ids(1) and asked_store.note(one) is None  # type: ignore[arg-type]
    assert asked_store.cancel(one).stage == "cancelled"  # type: ignore[arg-type]
    assert refused(asked_store.rollback, one) == ("version 1 is in service already",)
