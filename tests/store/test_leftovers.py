"""What else may hold forgotten records is named."""

from pathlib import Path

import torch
from torch import nn

from efface.store import RunPlan, Store, StoreSettings
from helpers.store_cases import IDS, people, subset
from helpers.tiny import CLASSES, FEATURES, Tiny, memorise


def normed() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES))


def test_leftovers_name_what_else_may_hold_the_records(tmp_path: Path, tiny: Tiny) -> None:
    given, backup = tmp_path / "given.pt", tmp_path / "epoch-3.ckpt"
    torch.save({"made": "elsewhere"}, given)
    backup.write_bytes(b"older")
    task, settings = tiny.task(build_model=normed, ids=IDS), StoreSettings(grace_days=7, source=given)
    trained = memorise(normed(), tiny.x, tiny.y).eval()
    store = Store.create(tmp_path / "store", task, trained, settings=settings)
    assert not [r for r in store.verify(level=None).leftovers if str(given) in r.what]  # nothing is forgotten yet
    store.add(people([5, 7]))
    store.run(RunPlan(method="finetune", options={"steps": 5}, level=None))
    found = [r.what for r in store.verify(level=None).leftovers if r.found]
    assert found == [
        "version 1 in the store: knows the records of request 1",
        "ledger.sqlite: HMACs of the content of forgotten records (2)",
        f"{store.path / 'baselines'}: what version 1 said of training records that stay",
        f"{given}: the file that the store was made from",
        "other weights beside it: epoch-3.ckpt",
        "2 forgotten records in the task's training set",
        "running statistics of 1 normalisation layers (1, ...): averages over all records",
    ]
    given.write_bytes(b"another file by now")
    backup.unlink()
    kept = [i for i in range(len(IDS)) if i not in (5, 7)]
    less = tiny.task(build_model=normed, ids=people(kept), train=subset(tiny, kept))
    found = [r.what for r in Store(store.path, less).verify(level=None).leftovers if r.found]
    assert [what.split(":")[0] for what in found] == [
        "version 1 in the store",
        "ledger.sqlite",
        str(store.path / "baselines"),
        "running statistics of 1 normalisation layers (1, ...)",
    ]
    assert [r.found for r in store.verify(level=None).leftovers] == sorted(
        (r.found for r in store.verify(level=None).leftovers), reverse=True
    )
