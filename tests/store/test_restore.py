"""Restoring a backup: what would come back is listed and asked about, and the store is whole or not there."""

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from efface import Task
from efface.store import Backup, DamagedError, RunPlan, StorageError, Store, failpoints
from efface.store.failpoints import POINTS
from efface.store.head import read_head
from efface.store.wording import moment
from helpers.store_cases import (
    FIRST,
    QUICK,
    THIRD,
    all_bytes,
    asked_for,
    context_of,
    copied,
    people,
    plaintext,
    served,
    wrong_after,
)
from helpers.store_damage import by_hand, flip, meaning
from helpers.store_verbs import interrupt, refused
from helpers.tiny import Tiny

ASK = "nothing was restored: bring_back=True, or --bring-back"


@pytest.fixture
def made(path: Path, tmp_path: Path) -> Backup:
    """A backup of `path`, whose first version is kept, and where two requests wait."""
    return Store(path).backup(tmp_path / "backup")


@pytest.fixture
def place(path: Path, tmp_path: Path) -> dict[str, Any]:
    """Where to restore it, with the key that it needs."""
    return {"folder": tmp_path / "new", "key": path.with_name(f"{path.name}.key")}


def lines(problems: tuple[str, ...]) -> list[str]:
    """What a refusal says would come back; its last line says how to do it all the same."""
    assert problems[-1].startswith(ASK)
    assert all(problem.startswith("this would bring back ") for problem in problems[:-1])
    return [problem.removeprefix("this would bring back ") for problem in problems[:-1]]


def test_a_restored_store_goes_on_as_the_one_that_was_lost(
    path: Path, made: Backup, place: dict[str, Any], task: Task, weights: str
) -> None:
    before, asked, backup = meaning(Store(path)), asked_for(Store(path)), all_bytes(made.path)
    done = Store.restore(made.path, **place, head=made.head, bring_back=True)
    assert all_bytes(made.path) == backup
    assert [p.name for p in made.path.parent.iterdir() if p.name.startswith(".")] == []
    store = Store(place["folder"], task, key=place["key"])
    after = meaning(store)
    assert {n: v for n, v in after.items() if n != "overview"} == {n: v for n, v in before.items() if n != "overview"}
    assert after["overview"][:4] == before["overview"][:4]
    (noted,) = store.history().restored
    assert (noted.seq, noted.event, noted.taken) == (made.head.seq + 1, made.head.seq, made.taken)
    assert done.head == store.head() and store.head().seq == noted.seq
    assert (head := read_head(store.path)) is not None and head.seq == noted.seq
    found = store.verify(level=None)
    assert found.problems == ()
    assert [w for w in found.warnings if f"event {noted.seq}: restored from a backup that ended with event" in w]
    assert not (store.path / "backup.json").exists()
    assert [e["kind"] for e in store.request(1)["history"]][-1] == "restored"
    assert done.next_steps[0].startswith(f"name the key to all commands: --key {place['key']}")
    assert not [step for step in done.next_steps if "ask again" in step]  # nothing was done since
    store.run(QUICK)
    assert served(store.path) == weights
    shutil.copy(place["key"], store.path.with_name(f"{store.path.name}.key"))
    assert not wrong_after(store.path, task, asked, weights)


def test_what_a_backup_holds_of_people_is_asked_about(made: Backup, place: dict[str, Any]) -> None:
    ids, version, since = lines(refused(Store.restore, made.path, **place))
    assert ids == "ids of requests 2-3, pending when the backup was made"
    assert version.startswith("version 1, which knows the records of request 1, honoured by later versions, which the")
    assert version.endswith(f"kept until {made.delete_by}")
    assert since.startswith(
        f"the state of {moment(made.taken)}, and nobody can tell from a backup what was done after it"
    )
    assert lines(refused(Store.restore, made.path, **place, head=made.head)) == [ids, version]
    assert not place["folder"].exists() and not list(made.path.parent.glob(".*"))
    done = Store.restore(made.path, **place, bring_back=True)
    assert done.brought_back == (ids, version, since)
    assert [step for step in done.next_steps if step.startswith("ask again for records that were asked for after")]


def test_a_backup_that_brings_nothing_back_is_restored_at_once(store: Store, tmp_path: Path) -> None:
    made = store.backup(tmp_path / "backup")
    (since,) = lines(refused(Store.restore, made.path, tmp_path / "new", key=store.key_path))
    assert "nobody can tell from a backup" in since
    done = Store.restore(made.path, tmp_path / "new", key=store.key_path, head=str(made.head))
    assert done.brought_back == () and Store(done.path, key=store.key_path).verify(level=None).problems == ()
    other = Store.restore(made.path, tmp_path / "other", key=store.key_path, against=store.path)
    assert other.brought_back == ()


def test_a_head_that_was_noted_later_counts_what_was_done_since(
    path: Path, made: Backup, place: dict[str, Any], task: Task
) -> None:
    store = Store(path, task)
    store.add(people([250]))
    last = store.head()
    *_, since = lines(refused(Store.restore, made.path, **place, head=[made.head, last]))
    assert since.startswith(
        f"the state before event {last.seq}, which a noted head shows to have come after the backup"
    )
    store.cancel(4)
    *_, since = lines(refused(Store.restore, made.path, **place, head=str(store.head())))
    assert since.startswith(f"the state before events {last.seq}-{last.seq + 2}, ")
    earlier = store.history()
    *_, since = lines(refused(Store.restore, made.path, **place, head=f"1:{_hash_of(store, 1)}"))
    assert "nobody can tell from a backup" in since and earlier.seq == last.seq + 2
    (problem,) = refused(Store.restore, made.path, **place, head=f"2:{made.head.hash}", bring_back=True)
    assert problem.startswith("head: event 2 is not the one that was noted: this is another store")


def _hash_of(store: Store, seq: int) -> str:
    from helpers.store_secrets import rows

    return str(next(row[4] for row in rows(store)["events"] if row[0] == seq))


def test_the_old_store_lists_exactly_what_was_done_since(
    path: Path, made: Backup, place: dict[str, Any], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(path, task)
    assert len(lines(refused(Store.restore, made.path, **place, against=path))) == 2  # what it holds itself
    interrupt(store, QUICK, "run.began")
    assert lines(refused(Store.restore, made.path, **place, against=path))[2:] == [
        "the state before events of the kind began"
    ]
    with context_of(store).writing() as transaction:
        sums = transaction.history.fingerprints.noted()
        transaction.append("fingerprinted", {"sums": sums, "changed": 0})
    store.add(people(THIRD), due="2999-01-01")
    store.cancel(3)
    store.add(people([250]), note="ticket 9")
    store.run(QUICK)
    store.add(people([251]))
    *own, honoured, new, cancelled, waiting, amended, state, others = lines(
        refused(Store.restore, made.path, **place, against=path)
    )
    assert len(own) == 2
    assert honoured == "request 2, honoured since: pending again, and version 2 would serve and knows them"
    assert new.startswith("the records of request 4, honoured since, which the backup does not know: ask for their")
    assert cancelled == "request 3, cancelled since: pending again, with their ids"
    assert waiting == "the state before request 5, which the backup does not know: ask for their records again"
    assert others == "the state before events of the kind fingerprinted"
    assert amended == "the date and note that request 3 had before"
    assert state == "the state before version 3: version 2 would serve"
    kept = place["key"].read_bytes()
    store.retire()
    place["key"].write_bytes(kept)
    found = lines(refused(Store.restore, made.path, **place, against=path))
    assert "requests 3, 5, cancelled since: pending again, with their ids" not in found
    assert "versions 1-2, whose weights were removed since" in found
    assert [line for line in found if line.startswith("a store that was retired on ")]
    assert not place["folder"].exists()
    done = Store.restore(made.path, **place, against=path, bring_back=True)
    assert set(found) == set(done.brought_back)
    assert "ticket 9" not in "".join(found) and plaintext(done.path, [250, 251]) == []


def test_an_old_store_that_cannot_tell_is_no_help(
    path: Path, made: Backup, place: dict[str, Any], task: Task, tmp_path: Path, tiny: Tiny, grown: Path
) -> None:
    store = Store(path, task)
    store.add(people([250]))
    later = store.backup(tmp_path / "later")
    older = Store(copied(grown, tmp_path / "older"), task, key=place["key"])
    (problem,) = refused(Store.restore, later.path, **place, against=older.path, bring_back=True)
    assert "does not hold the backup's last event" in problem
    older.add(people([251]))  # went on separately
    (problem,) = refused(Store.restore, later.path, **place, against=older.path, bring_back=True)
    assert "does not hold the backup's last event" in problem
    *_, branch = lines(refused(Store.restore, made.path, **place, against=older.path, head=store.head()))
    assert branch.startswith(f"the state before events that a noted head shows and {older.path} does not hold: ")
    other = Store.create(tmp_path / "stranger", task, tiny.model)
    (problem,) = refused(Store.restore, made.path, **place, against=other.path, bring_back=True)
    assert "cannot be read, so it cannot tell what was done since" in problem and "not the key of this store" in problem
    (older.path / "head").unlink()
    (problem,) = refused(Store.restore, made.path, **place, against=older.path, bring_back=True)
    assert "head: the file is missing" in problem and problem.endswith("leave it out")


def test_what_cannot_be_restored_is_refused_with_every_reason(
    path: Path, made: Backup, place: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    key = place["key"]
    changes: list[tuple[str, Any, list[str]]] = [
        ("backup", tmp_path / "nowhere", ["nowhere: there is no backup"]),
        ("backup", path, ["is a store, or a copy of one, and no backup"]),
        ("folder", tmp_path / "taken", ["taken: there is something already"]),
        ("folder", path / "new", ["lies in", "which holds another"]),
        ("folder", made.path / "new", ["lies in", "which holds another"]),
        ("key", tmp_path / "no.key", ["no.key: there is no key, which a backup does not hold"]),
        ("key", made.path / "its.key", ["the key must lie outside"]),
        ("against", tmp_path / "nowhere", ["nowhere: there is no store"]),
        ("against", made.path, ["is a backup of a store"]),
        ("head", "12", ["head: expected SEQ:HASH as efface head prints it"]),
        ("head", [], ["head: holds no head"]),
        ("head", 12, ["head: expected text such as '12:0f3a...', got int"]),
        ("bring_back", "yes", ["bring_back: expected True or False, got str"]),
    ]
    for name, value, words in changes:
        given = {"backup": made.path, **place, "bring_back": True, name: value}
        shown = " ".join(refused(Store.restore, given.pop("backup"), given.pop("folder"), **given))
        assert not [word for word in words if word not in shown], shown
    problems = refused(Store.restore, tmp_path / "no", tmp_path / "taken", key=tmp_path / "k", against=tmp_path / "o")
    assert len(problems) == 4
    key.rename(tmp_path / "moved.key")
    (tmp_path / "wrong.key").write_text("1" * 64)
    with pytest.raises(DamagedError, match="is not the key of this store"):
        Store.restore(made.path, tmp_path / "new", key=tmp_path / "wrong.key", bring_back=True)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".new*"))


@pytest.mark.parametrize(
    "harm", ["checkpoint", "report", "gone", "database", "swapped", "row", "head", "mark", "date", "half"]
)
def test_a_damaged_backup_is_not_restored(
    path: Path, made: Backup, place: dict[str, Any], harm: str, tmp_path: Path, task: Task
) -> None:
    mark = made.path / "backup.json"
    if harm == "checkpoint":
        flip((made.path / "current.safetensors").resolve(), 8 * 3000)
    elif harm == "report":
        (made.path / "reports" / "run-0001" / "report.html").write_text("")
    elif harm == "gone":
        next(iter((made.path / "baselines").iterdir())).unlink()
    elif harm == "database":
        (made.path / "ledger.sqlite").unlink()
    elif harm == "swapped":
        Store(path, task).add(people([250]))
        later = Store(path).backup(tmp_path / "later")
        for name in ("ledger.sqlite", "head"):
            shutil.copy(later.path / name, made.path / name)
    elif harm == "row":
        with by_hand(made.path) as raw:
            raw.execute("UPDATE pending_ids SET name = '\"somebody\"' WHERE request = 2")
    elif harm == "head":
        (made.path / "head").unlink()
    else:
        text = json.loads(mark.read_text())
        changes = {"mark": {"event": "x"}, "date": {"taken": "2999-01-01T00:00:00+00:00"}, "half": {"finished": False}}
        mark.write_text(json.dumps({**text, **changes[harm]}))
    if harm == "half":
        (problem,) = refused(Store.restore, made.path, **place, bring_back=True)
        assert problem == f"{made.path}: was not finished, so it is no backup: remove it"
    else:
        words = {
            "checkpoint": r"\(version 2\) was changed",
            "report": "report.html was changed",
            "gone": r"baselines/.* is missing in the backup",
            "database": "ledger.sqlite: is missing",
            "swapped": "the backup's database is not the one that was in it",
            "row": "the backup is damaged, so nothing was restored: pending_ids: ",
            "head": "head: is missing",
            "mark": "backup.json: cannot be read",
            "date": "backup.json: was changed",
        }
        with pytest.raises(DamagedError, match=words[harm]):
            Store.restore(made.path, **place, bring_back=True)
    assert not place["folder"].exists() and not list(tmp_path.glob(".new*"))


@pytest.mark.parametrize("point", [p for p in POINTS if p.startswith(("restore.", "restored."))])
def test_a_full_disk_leaves_nothing_or_the_whole(
    made: Backup, place: dict[str, Any], tmp_path: Path, point: str
) -> None:
    failpoints.arm(f"{point}:full")
    with pytest.raises(StorageError, match="No space left"):
        Store.restore(made.path, **place, bring_back=True)
    failpoints.disarm()
    assert not list(tmp_path.glob(".new*"))
    if point != "restore.renamed":
        assert not place["folder"].exists()
        Store.restore(made.path, **place, bring_back=True)
    assert Store(place["folder"], key=place["key"]).verify(level=None).problems == ()


def test_too_little_room_is_noticed_before_the_models_are_copied(
    made: Backup, place: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 12))
    with pytest.raises(StorageError, match="too little room"):
        Store.restore(made.path, **place, bring_back=True)
    assert not list(tmp_path.glob("*new*"))


def test_a_backup_of_a_run_that_was_interrupted_goes_on_with_it(asked_store: Store, tmp_path: Path, task: Task) -> None:
    plan = RunPlan(options={"rounds": 1, "steps": 3}, level=None)
    interrupt(asked_store, plan, "run.made")
    made = asked_store.backup(tmp_path / "backup")
    Store.restore(made.path, tmp_path / "new", key=asked_store.key_path, bring_back=True)
    outcome = Store(tmp_path / "new", task, key=asked_store.key_path).run(plan)
    assert outcome.resumed and outcome.version is not None
    assert outcome.version.weights == Store(asked_store.path, task).run(plan).version.weights  # type: ignore[union-attr]
    assert not plaintext(tmp_path / "new", [5, 7, 9])


def test_a_restored_store_can_be_backed_up_and_restored_again(
    made: Backup, place: dict[str, Any], tmp_path: Path
) -> None:
    first = Store.restore(made.path, **place, bring_back=True)
    second = Store(first.path, key=place["key"]).backup(tmp_path / "second")
    again = Store.restore(second.path, tmp_path / "again", key=place["key"], head=second.head, bring_back=True)
    store = Store(again.path, key=place["key"])
    assert [r.event for r in store.history().restored] == [made.head.seq, second.head.seq]
    assert store.verify(level=None).problems == ()
    assert not plaintext(store.path, set(FIRST) - {20})  # record 20 waits in request 3 again
