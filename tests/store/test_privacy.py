"""Who asked to be forgotten is named nowhere once that is done, and what is stored says nothing without the key."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torch.utils.data import Dataset

import efface
from efface import RequestError, Task
from efface.store import Store
from helpers.audits import audited
from helpers.store_cases import ANEW, AUDITED, QUICK, people
from helpers.store_secrets import ANNA, ASKED, SCRIPT, hashed, places, rows, secret_task, written
from helpers.tiny import Tiny

pytestmark = [pytest.mark.drawn, pytest.mark.usefixtures("brief")]  # the text of a figure may name somebody


@pytest.fixture
def task(tiny: Tiny) -> Task:
    return secret_task(tiny)


@pytest.fixture
def store(secret_store: Store) -> Store:
    return secret_store


def test_before_the_run_ids_stand_in_one_table_alone(store: Store) -> None:
    held = rows(store)
    assert sorted(json.loads(row[3]) for row in held["pending_ids"]) == sorted(ASKED)
    for table, values in held.items():
        if table != "pending_ids":
            assert not [
                row for row in values for name in ASKED if name in repr(row) or name.encode() in repr(row).encode()
            ]
    found = places(store.path, ASKED, written)
    assert {line.split(":")[0] for line in found} <= {"ledger.sqlite", "ledger.sqlite-wal"}
    assert len({line.split(": ", 1)[1] for line in found}) == len(ASKED)  # so the search does find them
    assert places(store.path, ASKED, hashed) == []


@pytest.mark.parametrize("how", ["unlearned", "retrained", "cancelled"])
def test_after_it_they_stand_nowhere(store: Store, how: str, tmp_path: Path) -> None:
    if how == "cancelled":
        store.cancel(1)
    else:
        store.run(AUDITED if how == "unlearned" else ANEW)
        store.verify(references=1)
    store.export(1, tmp_path / "bundle")
    for folder in (store.path, tmp_path / "bundle"):
        assert places(folder, ASKED, written) == []
        assert places(folder, ASKED, hashed) == []
    wal = store.path / "ledger.sqlite-wal"
    assert not wal.exists() or not wal.stat().st_size
    assert not any(name in json.dumps(store.request(1), ensure_ascii=False) for name in ASKED)
    assert not places(tmp_path, ASKED, written)  # nor beside the store


@pytest.mark.parametrize("where", ["fit", "train", "holdout", "forward", "build_model", "unlearned"])
def test_what_a_users_code_raises_is_not_kept(where: str, store: Store, task: Task) -> None:
    mark = "raised by mistake for anna"

    def fails(*_: Any) -> Any:
        raise ValueError(mark)

    class Failing(Dataset[Any]):
        def __init__(self, data: Any) -> None:
            self.data = data

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, at: int) -> Any:
            return fails() if at > 5 else self.data[at]

    def late(model: nn.Module, inputs: Any) -> Any:
        return fails() if len(inputs) > 100 else model(inputs)

    changes: dict[str, dict[str, Any]] = {
        "fit": {"fit": fails},
        "train": {"train": Failing(task.train)},
        "holdout": {"holdout": Failing(task.holdout)},
        "forward": {"forward": late},
        "build_model": {"build_model": fails},
        "unlearned": {"unpack": fails},
    }
    with pytest.raises((RequestError, ValueError), match=mark):
        Store(store.path, replace(task, **changes[where])).run(ANEW if where == "fit" else AUDITED)
    assert places(store.path, (mark, "ValueError"), written) == []
    assert [r.why for r in store.history().runs.values() if r.why not in (None, "RequestError")] == []
    assert store.run(QUICK).requests == (1,)
    assert places(store.path, ASKED, written) == []


def test_outside_words_are_escaped_in_a_page(tiny: Tiny, task: Task, tmp_path: Path) -> None:
    worded = replace(task, holdout_used_for=f"early stopping {SCRIPT}")
    result = efface.unlearn(tiny.model, task=worded, forget=list(ASKED), method="finetune")
    report = audited(result, references=1, title=f"Report {SCRIPT}", kinds={SCRIPT: [ANNA, SCRIPT]})
    report.save(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert ANNA in page
    hidden = audited(result, references=1, show_ids=False)
    hidden.save(tmp_path / "hidden")
    assert places(tmp_path / "hidden", (ANNA, *ASKED[2:]), written) == []


def test_the_page_of_a_run_runs_nothing(store: Store) -> None:
    store.run(AUDITED)
    page = (store.report_folder(1) / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert "javascript:" not in page.lower()


def test_no_pickle_is_read_in_a_whole_life(
    tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was read")

    for name in ("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "cloudpickle.loads", "joblib.load"):
        monkeypatch.setattr(name, forbidden)
    store = Store.create(tmp_path / "store", task, tiny.model)
    store.add(ASKED)
    store.run(AUDITED)
    store.run(ANEW)
    store.rollback(2)
    store.add(people([60]))
    Store(store.path, task).run(QUICK)
    store.verify(references=1)
    store.export(1, tmp_path / "bundle")
    assert store.status().serving.number == 4
