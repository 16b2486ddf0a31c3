"""A store fixes what its records are called when it is made: by ids, or by one of two positions of a Subset."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from efface import ByGroup, RequestError
from efface.store import Store
from efface.store.naming import named_task
from helpers.containers import Labelled
from helpers.store_cases import IDS, QUICK
from helpers.store_verbs import refused
from helpers.tiny import Tiny, mlp

ORDER = np.random.default_rng(3).permutation(360)[:300].tolist()


def subset_task(tiny: Tiny, **given: Any) -> Any:
    """A task whose training set is a Subset of a larger data set, in another order."""
    x, y = torch.zeros(360, tiny.x.shape[1]), torch.zeros(360, dtype=torch.long)
    x[ORDER], y[ORDER] = tiny.x, tiny.y
    return tiny.task(build_model=mlp, train=Subset(TensorDataset(x, y), ORDER), **given)


def test_a_store_of_a_subset_needs_to_know_its_numbering(tmp_path: Path, tiny: Tiny) -> None:
    (problem,) = refused(Store.create, tmp_path / "store", subset_task(tiny), tiny.model)
    assert problem.startswith("train is a Subset: say what its records are called in the store, by Task.ids")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("numbering", ["base", "subset"])
def test_a_store_remembers_the_numbering(tmp_path: Path, tiny: Tiny, numbering: str) -> None:
    task = subset_task(tiny, ids=numbering)
    Store.create(tmp_path / "store", task, tiny.model)
    store = Store(tmp_path / "store", subset_task(tiny))  # the task states nothing now
    asked = [ORDER[5], ORDER[9]] if numbering == "base" else [5, 9]
    store.add(asked)
    assert sorted(store.ids(1)) == sorted(asked)
    outside = next(i for i in range(300, 360) if i in ORDER)
    if numbering == "base":
        store.add([outside])
    else:
        assert "not among the training records" in refused(store.add, [outside])[0]
    assert store.run(QUICK).version is not None
    assert store.verify(level=None).problems == ()
    other = "subset" if numbering == "base" else "base"
    (problem,) = refused(Store(store.path, subset_task(tiny, ids=other)).add, [5])
    assert problem.endswith(f"it was made with ids={numbering!r}")


def test_a_subset_in_its_own_order_is_named_by_position(tmp_path: Path, tiny: Tiny) -> None:
    task = tiny.task(build_model=mlp, train=Subset(TensorDataset(tiny.x, tiny.y), range(300)))
    assert Store.create(tmp_path / "store", task, tiny.model).add([5]).made


def test_an_older_store_of_a_subset_keeps_the_positions_that_it_was_made_with(tiny: Tiny) -> None:
    older = {"by_position": True, "records": 300}
    assert named_task(subset_task(tiny), older).ids is None
    with pytest.raises(RequestError, match="or the other way round"):
        named_task(subset_task(tiny, ids="base"), older)
    assert named_task(tiny.task(ids=IDS), {"by_position": False, "records": 300}).ids == IDS


def test_ids_are_read_by_position_in_a_store(tmp_path: Path, tiny: Tiny) -> None:
    task = tiny.task(build_model=mlp, ids=Labelled(IDS, index=range(300, 0, -1)))
    store = Store.create(tmp_path / "store", task, tiny.model)
    store.add([IDS[5], IDS[299]])
    assert store.ids(1) == [IDS[5], IDS[299]]
    assert store.run(QUICK).records == 2


def test_numbers_beyond_64_bits_signed_are_exact(tmp_path: Path, tiny: Tiny) -> None:
    ids = np.arange(300, dtype=np.uint64) + np.uint64(2**64 - 300)
    store = Store.create(tmp_path / "store", tiny.task(build_model=mlp, ids=ids), tiny.model)
    store.add([2**64 - 1])
    assert store.ids(1) == [2**64 - 1]
    assert "not among the training records" in refused(store.add, [-1])[0]


def test_nothing_of_groups_or_descriptions_is_kept(tmp_path: Path, tiny: Tiny) -> None:
    task = tiny.task(build_model=mlp, groups=[f"p{i // 3}" for i in range(300)], describe=lambda _: "born 1931")
    store = Store.create(tmp_path / "store", task, tiny.model)
    store.add(ByGroup(["p1"]))
    store.add([3, 5])
    assert store.run(QUICK).version is not None
    kept = b"".join(p.read_bytes() for p in store.path.rglob("*") if p.is_file())
    assert b"1931" not in kept and b"p1'" not in kept


def test_an_unknown_id_is_refused_with_the_one_that_it_resembles(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", tiny.task(build_model=mlp, ids=IDS), tiny.model)
    (problem,) = refused(store.add, [f"{IDS[5]} "])
    assert problem.endswith(f"{IDS[5]!r} is there: it differs in blanks at its start or end")
