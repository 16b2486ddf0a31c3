"""Heads that were noted elsewhere: what is one, and which copies of a store do not hold it."""

import json
from pathlib import Path

import pytest

from efface import RequestError, Task
from efface.store import DamagedError, HeadNote, Store
from efface.store.noted_head import read_notes
from helpers.store_cases import IDS, copied, people
from helpers.store_verbs import refused

SOME = "0123456789abcdef" * 4


def test_a_head_is_the_last_event(path: Path, task: Task) -> None:
    store = Store(path, task)
    first = store.head()
    assert (first.seq, first.hash, str(first)) == (*store.status().head, f"{first.seq}:{first.hash}")
    store.add(people([250]))
    assert store.head().seq == first.seq + 1 and store.head().at is not None
    for noted in (first, str(first), [first, str(store.head())], f"{first.seq}:{first.hash[:16].upper()} noted by me"):
        store.check_head(noted)


def test_a_store_that_was_put_back_to_an_older_copy_is_found(path: Path, task: Task, tmp_path: Path) -> None:
    store = Store(path, task)
    old = copied(path, tmp_path / "old")
    store.add(people([250]))
    noted = store.head()
    back = Store(old, task)
    assert back.verify(level=None).problems == ()  # nothing within shows it
    with pytest.raises(DamagedError, match=f"event {noted.seq}, which was noted, is not there: the history ends with"):
        back.check_head(noted)
    back.add(people([251]))  # both copies go on separately
    assert back.head().seq == noted.seq
    with pytest.raises(DamagedError, match="is not the one that was noted: this is another store, or a copy"):
        back.check_head(noted)
    with pytest.raises(DamagedError) as caught:
        back.check_head([noted, HeadNote(noted.seq + 5, SOME), back.head()])
    assert len(caught.value.problems) == 2 and not any(name in str(caught.value) for name in IDS)


def test_the_head_of_a_bundle_is_a_note_without_a_number(path: Path, task: Task, tmp_path: Path) -> None:
    store = Store(path, task)
    old = copied(path, tmp_path / "old")
    store.add(people([250]))
    store.export(1, tmp_path / "bundle")
    noted = json.loads((tmp_path / "bundle" / "request.json").read_text())["head"]
    store.add(people([251]))
    store.check_head(noted)
    store.check_head([noted, store.head()])
    store.check_head(read_notes(noted, "--check", bundles=True))
    with pytest.raises(DamagedError, match=f"the event with the hash {noted[:16]}..., which was noted, is not there"):
        Store(old, task).check_head(noted)
    with pytest.raises(RequestError, match="expected SEQ:HASH"):  # it does not say what came after a backup
        read_notes(noted, "--head")


def test_a_restored_store_says_why_it_lacks_later_heads(path: Path, task: Task, tmp_path: Path) -> None:
    store = Store(path, task)
    made = store.backup(tmp_path / "backup")
    store.add(people([250]))
    done = Store.restore(made.path, tmp_path / "new", key=store.key_path, bring_back=True)
    restored = Store(done.path, key=store.key_path)
    restored.check_head([made.head, done.head])
    with pytest.raises(DamagedError) as caught:
        restored.check_head(store.head())
    assert len(caught.value.problems) == 2
    assert f"event {done.head.seq} says that the store was restored on" in caught.value.problems[1]


@pytest.mark.parametrize(
    "text", ["12", "", "0:" + SOME, "1:" + SOME[:15], "1:" + SOME + "0", "1 :" + SOME, "-1:" + SOME]
)
def test_what_is_no_note_is_refused(store: Store, text: str) -> None:
    (problem,) = refused(store.check_head, text)
    assert problem.startswith("noted: expected SEQ:HASH as efface head prints it")


def test_notes_on_the_command_line(tmp_path: Path) -> None:
    assert read_notes(f" 3:{SOME} ", "--check") == [HeadNote(3, SOME)]
    file = tmp_path / "heads.txt"
    file.write_text(f"3:{SOME}\n\n17:{SOME[:20]}  noted on 2031-05-17\n")
    assert read_notes(str(file), "--check") == [HeadNote(3, SOME), HeadNote(17, SOME[:20])]
    file.write_text("three\n4:5\n")
    problems = refused(read_notes, str(file), "--check")
    assert [p.split(":")[0] for p in problems] == [f"{file}, line 1", f"{file}, line 2"]
    file.write_text("\n")
    assert refused(read_notes, str(file), "--check") == (f"{file}: holds no line SEQ:HASH (--check)",)
    file.write_bytes(b"\xff\xfe")
    for given in (str(file), str(tmp_path / "none"), "a\0b"):
        (problem,) = refused(read_notes, given, "--check")
        assert "expected SEQ:HASH, or a file of such lines" in problem
    (problem,) = refused(read_notes, str(tmp_path), "--check")
    assert "cannot be read: " in problem
