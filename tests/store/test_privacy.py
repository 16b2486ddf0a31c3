"""Who asked to be forgotten is named nowhere once that is done, and what is kept says nothing without the key."""

import base64
import hashlib
import html
import json
import os
import random
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import efface
from efface import RequestError, Task
from efface.store import DamagedError, Store
from efface.store.keys import read_key
from helpers.audits import audited
from helpers.store_cases import ANEW, AUDITED, IDS, QUICK, people, task_of
from helpers.store_verbs import shift
from helpers.tiny import RECORDS, Tiny

ANNA, SCRIPT, ODD = "anna.schmidt@example.org", "<script>alert(1)</script>", 'o"néill\\漢🙂 & sons'
ASKED = (ANNA, SCRIPT, ODD, IDS[40], IDS[41])
NAMED = (*ASKED[:3], *IDS[3:])


@pytest.fixture
def task(tiny: Tiny) -> Task:
    return replace(task_of(tiny), ids=NAMED)


@pytest.fixture
def store(tmp_path: Path, tiny: Tiny, task: Task) -> Store:
    made = Store.create(tmp_path / "store", task, tiny.model)
    made.add(ASKED, note="a letter of <b>2031</b>")
    return made


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def written(name: str) -> Iterator[bytes]:
    """A name as somebody may have written it down."""
    for text in (name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1], html.escape(name)):
        yield from (text.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"))
    yield from (quote(name).encode(), repr(name)[1:-1].encode(), name.encode().hex().encode())
    yield base64.b64encode(name.encode()).rstrip(b"=")[:-1]


def hashed(name: str) -> Iterator[bytes]:
    """A name under hashes that need no key, whole and as the digits that are shown of a tag."""
    texts = (name, f"{name}\n", json.dumps(name), f"str:{name}", f"id\0{json.dumps(name)}")
    for text in texts:
        for kind in ("sha256", "sha1", "md5", "blake2b", "sha512"):
            digest = hashlib.new(kind, text.encode())
            yield from (digest.digest()[:16], digest.hexdigest()[:12].encode())


def places(folder: Path, names: tuple[str, ...], forms: Callable[[str], Iterator[bytes]]) -> list[str]:
    """Where a form of a name stands in the bytes of any file, and in which."""
    wanted = {form: name for name in names for form in forms(name)}
    return sorted({f"{path.name}: {wanted[f]}" for path, held in files(folder).items() for f in wanted if f in held})


def rows(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All tables, as SQLite has them."""
    raw = sqlite3.connect(store.path / "ledger.sqlite")
    try:
        names = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: raw.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    finally:
        raw.close()


def test_before_the_run_ids_stand_in_one_table_alone(store: Store) -> None:
    held = rows(store)
    assert sorted(json.loads(row[3]) for row in held["plain"]) == sorted(ASKED)
    for table, values in held.items():
        if table != "plain":
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


def test_the_report_names_records_by_tags_alone(store: Store) -> None:
    store.run(AUDITED)
    key = read_key(store.key_path)
    assert key is not None
    told = {key.tag(name).hex()[:16] for name in ASKED}
    document = json.loads((store.report_folder(1) / "report.json").read_text())
    assert {row["id"] for row in document["records"]} == told
    by = {hashlib.sha256(f"str:{tag}".encode()).hexdigest()[:12] for tag in told}
    assert {row["record"] for row in document["records"]} == by
    lines = "\n".join(sorted(f"str:{tag}" for tag in told))
    assert document["request"]["ids_digest"] == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def test_another_key_gives_other_tags(store: Store, tiny: Tiny, task: Task, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other", task, tiny.model)
    other.add(ASKED, note="a letter of <b>2031</b>")
    ours, theirs = ({row[2] for row in rows(s)["tags"]} for s in (store, other))
    assert len(ours) == len(theirs) == len(ASKED)
    assert ours.isdisjoint(theirs)
    one, two = store.requests()[0], other.requests()[0]
    assert one.digest != two.digest
    assert one.note != two.note
    key = read_key(store.key_path)
    assert key is not None
    assert {key.tag(name) for name in ASKED} == ours
    assert key.tag(1) not in (key.tag("1"), key.tag("01"))  # type: ignore[comparison-overlap]
    secret = key.secret
    for path, held in files(store.path).items():
        assert secret not in held, path
        assert secret.hex().encode() not in held, path
    assert secret.hex() not in repr(store.history())
    assert secret.hex() not in repr(key)


def test_the_order_of_a_request_is_not_kept(tmp_path: Path, tiny: Tiny) -> None:
    """The order in which people are named may tell who is meant."""
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    store.add(people(range(30)))
    kept = [row[2] for row in sorted(rows(store)["tags"])]
    assert kept == sorted(kept)


@pytest.mark.parametrize("seed", range(2))
def test_deleted_ids_leave_no_traces_between_those_that_stay(
    seed: int, tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of a database are split, merged and used again; ids of all lengths come and go."""
    monkeypatch.setattr("efface.store.build.unlearn", shift)
    monkeypatch.setattr("efface.store.run.MAX_SHARE", 1.0)
    draw = random.Random(seed)
    ids = [f"person-{at:03d}-{'x' * draw.choice([0, 5, 60, 900])}@example.org" for at in range(RECORDS)]
    store = Store.create(tmp_path / "store", replace(task_of(tiny), ids=ids), tiny.model)
    waiting: dict[int, set[str]] = {}
    gone: set[str] = set()
    for _ in range(25):
        some = set(draw.sample(ids, draw.choice([1, 3, 20, 60])))
        answer = store.add(sorted(some))
        if answer.made and answer.request.stage == "pending":
            waiting[answer.request.number] = some
        kind = draw.random()
        if kind < 0.3 and waiting:
            number = draw.choice(list(waiting))
            store.cancel(number)
            del waiting[number]
        elif kind < 0.4:
            store.run(QUICK)
            gone = gone.union(*waiting.values())
            waiting = {}
        elif kind < 0.7:
            continue
        held = b"".join(files(store.path).values())
        kept = set().union(*waiting.values()) - gone
        assert [name for name in ids if (name[:10].encode() in held) != (name in kept)] == []
    assert gone


def test_a_reader_of_the_log_delays_its_end_and_is_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("efface.store.gc.TRIES", 1)
    reader = sqlite3.connect(store.path / "ledger.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM plain").fetchone()
    store.run(replace(QUICK))
    assert places(store.path, (ANNA,), written)  # in the log, which the reader still needs
    assert "deleted ids may still stand in the write-ahead log: efface run empties it" in store.status().warnings
    residues = [r.what for r in store.verify(level=None).residues if r.found]
    assert "ledger.sqlite-wal: ids that were deleted may still stand in it" in residues
    reader.close()
    assert store.run(QUICK).status == "nothing"
    assert places(store.path, ASKED, written) == []
    assert store.status().warnings == ()


# what a user's own code says


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


def test_twins_are_told_by_their_ids_and_not_kept(tmp_path: Path, tiny: Tiny) -> None:
    x = tiny.x.clone()
    y = tiny.y.clone()
    x[7], y[7] = x[0], y[0]
    task = replace(task_of(tiny), ids=NAMED, train=torch.utils.data.TensorDataset(x, y))
    store = Store.create(tmp_path / "store", task, tiny.model)
    store.add([ANNA])
    with pytest.raises(RequestError) as caught:
        store.run(QUICK)
    assert f"'{ANNA}' (twin of '{IDS[7]}')" in caught.value.problems[0]
    store.cancel(1)
    assert places(store.path, (ANNA, IDS[7]), written) == []


# reports for people


def test_outside_words_are_escaped_in_a_page(tiny: Tiny, task: Task, tmp_path: Path) -> None:
    told = replace(task, holdout_used_for=f"early stopping {SCRIPT}")
    result = efface.unlearn(tiny.model, task=told, forget=list(ASKED), method="finetune")
    report = audited(result, references=1, title=f"Report {SCRIPT}", groups={SCRIPT: [ANNA, SCRIPT]})
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


# files


def test_files_are_their_owners_alone_under_any_umask(
    tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)
    try:
        store = Store.create(tmp_path / "store", task, tiny.model)
        reader = sqlite3.connect(store.path / "ledger.sqlite", isolation_level=None)
        reader.execute("SELECT count(*) FROM events").fetchone()  # from now on the log stays there
        store.add(ASKED)
        for plan in (AUDITED, ANEW):
            store.run(plan)
        store.rollback(2)
        paths = [store.path, *store.path.rglob("*")]
        modes = {p.relative_to(tmp_path): stat.S_IMODE(p.stat().st_mode) for p in paths if not p.is_symlink()}
        reader.close()
        assert {str(p) for p, mode in modes.items() if mode not in (0o600, 0o700)} == set()
        assert {p for p, mode in modes.items() if mode == 0o700} == {
            p.relative_to(tmp_path) for p in paths if p.is_dir()
        }
        assert {"ledger.sqlite-wal", "head", "run.lock", "report.html"} <= {p.name for p in modes}
        assert stat.S_IMODE(store.key_path.stat().st_mode) == 0o600
        store.export(1, tmp_path / "bundle")
        assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert store.verify(level=None).warnings == ()
    (store.path / "head").chmod(0o644)
    (warning,) = store.verify(level=None).warnings
    assert warning == f"{store.path / 'head'}: others than its owner may read it"


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


@pytest.mark.parametrize("digest", ["../../secret", "/etc/passwd", "..", "", "a" * 63, "A" * 64, "a" * 64 + "\n", "\0"])
def test_a_file_of_the_history_is_a_hash_or_nothing(store: Store, digest: str) -> None:
    for kind in ("checkpoints", "baselines"):
        with pytest.raises(DamagedError, match="which is no SHA-256"):
            store._core.folder.place(kind, digest)
    with pytest.raises(DamagedError):
        store._core.folder.place("../elsewhere", "a" * 64)


def test_a_history_that_names_places_outside_reads_and_writes_nothing_there(store: Store, tmp_path: Path) -> None:
    """Even where whoever wrote it had the key."""
    store.run(AUDITED)
    secret = tmp_path / "secret"
    secret.write_text("not for you")
    outside = hashlib.sha256(b"not for you").hexdigest()
    current = store.history().serving
    with store._core.writing() as book:
        audit = {"status": "verified", "reasons": [], "files": {"../../../secret": outside}}
        book.append("audited", {"number": 1, "audit": audit})
        version = {
            **{k: getattr(current, k) for k in ("lineage", "weights", "baseline", "drift", "audit")},
            **{"number": 3, "parent": 2, "kind": "unlearned", "run": None, "requests": [], "file": "../../secret"},
        }
        book.append("version", version)
    with pytest.raises(DamagedError, match="is not the report that was made"):
        store.export(1, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    store.add(people([60]))
    for call in (lambda: store.run(QUICK), lambda: store.verify(level=None)):
        try:
            said = call()
        except DamagedError as error:
            assert "which is no SHA-256" in str(error)
        else:
            assert any("which is no SHA-256" in problem for problem in said.problems)  # type: ignore[union-attr]
    assert secret.read_text() == "not for you"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret", "store", "store.key"]
