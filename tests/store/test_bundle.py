"""What a bundle says of one request, and that nothing in it depends on what others asked."""

import html
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from efface import RequestError, Task
from efface.runtime.provenance import efface_version
from efface.store import DamagedError, RunPlan, Store, clock
from helpers.store_cases import ANEW, AUDITED, FIRST, QUICK, SECOND, copied, people, subset
from helpers.tiny import Tiny

STRICT = RunPlan(options={"steps": 10, "travel": 3.0}, references=1, accept="verified")
HASH = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{16}\b")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?(\+00:00)?)?")
STORE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def crowded(grown: Path, task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose first run had one request, and whose second had two of different people."""
    path = copied(grown, tmp_path_factory.mktemp("crowded") / "copy")
    Store(path, task).run(AUDITED)
    return path


def texts(store: Store, number: int, out: Path) -> dict[str, str]:
    """The files of a bundle, by name, without the PDF, which is written from the same lines as receipt.html."""
    files = (file for file in store.export(number, out) if file.suffix != ".pdf")
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def bundle_of(store: Store, number: int, out: Path) -> dict[str, Any]:
    """The facts of a bundle."""
    return dict(json.loads(texts(store, number, out)["request.json"]))


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a nesting of mappings and lists, with the names that lead to it."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from leaves(value, f"{path}.{name}" if path else name)
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value, path)
    else:
        yield path, tree


def numbers(tree: Any) -> set[float]:
    return {float(v) for _, v in leaves(tree) if isinstance(v, int | float) and not isinstance(v, bool)}


def without_style(page: str) -> str:
    return re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def bare(text: str) -> str:
    """A text without hashes, the store's id and moments."""
    return MOMENT.sub("DAY", HASH.sub("HASH", STORE.sub("STORE", without_style(text))))


def test_every_value_in_a_bundle_is_of_its_own_request(crowded: Path, tmp_path: Path) -> None:
    store = Store(crowded)
    for number in (2, 3):
        out = tmp_path / f"bundle-{number}"
        held = texts(store, number, out)
        whole = json.loads((store.report_folder(2) / "report.json").read_text())
        bundle = json.loads(held["request.json"])
        own = {row["record"] for row in bundle["rows"]}
        mine = [row for row in whole["records"] if row["id"] in own]
        assert 0 < len(mine) == len(own) < len(whole["records"])
        answers = [v for row in mine for k, v in row.items() if k.startswith(("margin", "rank")) and v is not None]
        values = {round(v, digits) for v in answers for digits in (1, 4)}
        known = {1.0, float(bundle["records"]), float(bundle["kept_days"])}
        assert numbers(bundle) <= values | known
        page = html.unescape(bare(held["request.html"]).replace(efface_version(), ""))
        shown = {float(n) for n in re.findall(r"\d+(?:\.\d+)?", page)}
        three = {abs(float(f"{v:.3f}")) for v in values}
        # and those of tab stops, headings, UTF-8, SHA-256, and in sentences about ranks
        assert shown <= known | three | {0.0, 0.9, 2.0, 3.0, 8.0, 256.0}


def test_nothing_of_others_stands_in_a_bundle(crowded: Path, tmp_path: Path) -> None:
    store = Store(crowded)
    whole = json.loads((store.report_folder(2) / "report.json").read_text())
    tags = {
        number: {r["record"] for r in bundle_of(store, number, tmp_path / f"a{number}")["rows"]} for number in (2, 3)
    }
    assert tags[2] - tags[3] and tags[3] - tags[2]
    for number in (2, 3):
        held = "\n".join(texts(store, number, tmp_path / f"b{number}").values())
        others = [row for row in whole["records"] if row["id"] not in tags[number]]
        margins = [v for row in others for k, v in row.items() if k.startswith("margin") and v is not None]
        margins += [v for who in ("original", "unlearned") for v in whole["distributions"][who]["holdout"]]
        assert not [v for v in margins if f"{v:.6g}" in held or f"{v:.4f}" in held]
        assert not [row["id"] for row in others if row["id"] in held or row["record"] in held]
        assert whole["title"] not in held
        assert not re.search(r"[Rr](equests?|un) \d|[Vv]ersion \d|\bevent \d", bare(held))


def test_the_names_in_a_bundle_are_these(crowded: Path, tmp_path: Path) -> None:
    """A new one is a decision: it must follow from the request itself, whoever else asked."""
    found = {name for name, _ in leaves(bundle_of(Store(crowded), 1, tmp_path / "bundle"))}
    models = {f"models.{which}.{what}" for which in ("honoured_by", "in_service") for what in ("file", "weights")}
    rows = {f"rows.{what}.{who}" for what in ("margin", "rank") for who in ("original", "unlearned", "retrained")}
    tests = {f"audit.tests.{when}.{what}" for when in ("before", "after") for what in ("value", "low", "high")}
    assert found == {
        *(
            "format",
            "store",
            "reference",
            "note",
            "stage",
            "records",
            "requested",
            "due",
            "overdue",
            "cancelled",
            "deferred",
        ),
        *(
            "deferred",
            "honoured",
            "in_time",
            "how",
            "method",
            "kept_days",
            "head",
            "retired",
            "exported",
            "made_with.efface",
        ),
        *("audit.level", "audit.conclusion", "audit.tests.title", "audit.tests.unit", "audit.tests.allowed"),
        *("audit.tests.outcome", "rows.record", "events.kind", "events.at", "events.hash"),
        *(*models, *rows, *tests),
    }


@pytest.fixture
def alone_and_crowded(tmp_path: Path, tiny: Tiny, task: Task) -> tuple[Store, Store]:
    """A store with the same request twice: with one other beside it, and among many of every kind."""
    few = Store.create(tmp_path / "few", task, tiny.model)
    few.add(people(FIRST), note="by letter", due="2999-01-01")
    few.add(people([200]))
    many = Store.create(tmp_path / "many", task, tiny.model)
    many.add(people(range(100, 120)))
    many.run(QUICK)
    many.add(people([130]))
    many.cancel(2)
    for at in range(140, 145):
        many.add(people([at]), note=f"ticket {at}", due="2999-02-02")
    many.add(people(FIRST), note="by letter", due="2999-01-01")
    many.add(people([150]), note="late")
    many.add(people([150]), note="later")
    return few, many


def test_bundles_do_not_differ_by_what_others_asked(alone_and_crowded: tuple[Store, Store], tmp_path: Path) -> None:
    for stage in ("pending", "honoured"):
        held = []
        for store, number in zip(alone_and_crowded, (1, 8), strict=True):
            if stage == "honoured":
                store.run(QUICK)
            held.append(
                {name: bare(text) for name, text in texts(store, number, tmp_path / f"{stage}-{number}").items()}
            )
        assert held[0] == held[1]
        assert stage in held[0]["request.json"]


def test_a_cancelled_request_shows_nothing_of_others(alone_and_crowded: tuple[Store, Store], tmp_path: Path) -> None:
    held = []
    for store, number in zip(alone_and_crowded, (1, 8), strict=True):
        store.cancel(number)
        held.append({name: bare(text) for name, text in texts(store, number, tmp_path / f"bundle-{number}").items()})
    assert held[0] == held[1]


def test_a_run_ended_by_anothers_cancellation_is_not_spoken_of(
    asked_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked_store.add(people([30]))
    monkeypatch.setattr("efface.store.run.StoreRun._carry_out", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        asked_store.run(QUICK)
    before = {name: bare(text) for name, text in texts(asked_store, 1, tmp_path / "before").items()}
    asked_store.cancel(2)
    after = texts(asked_store, 1, tmp_path / "after")
    assert {name: bare(text) for name, text in after.items()} == before
    assert [e["kind"] for e in json.loads(after["request.json"])["events"]] == ["requested"]


def test_a_request_that_had_a_run_of_its_own_has_its_tests(crowded: Path, tmp_path: Path) -> None:
    store = Store(crowded)
    bundle = bundle_of(store, 1, tmp_path / "bundle")
    whole = json.loads((store.report_folder(1) / "report.json").read_text())
    assert [t["title"] for t in bundle["audit"]["tests"]] == [t["title"] for t in whole["tests"]] != []
    assert bundle["audit"]["level"] == "standard"
    assert bundle["audit"]["conclusion"] == whole["verdict"]["status"]
    assert len(bundle["rows"]) == len(FIRST)
    held = "\n".join(texts(store, 1, tmp_path / "more").values())
    others = [v for who in ("original", "unlearned") for v in whole["distributions"][who]["holdout"]]
    assert not [v for v in others if f"{v:.4f}" in held]
    # the model in use honours it too, and is another
    assert bundle["models"]["honoured_by"]["file"] != bundle["models"]["in_service"]["file"]
    assert bundle["models"]["in_service"]["file"] == f"sha256:{store.history().serving.file}"


def test_tests_over_records_of_others_are_left_out(crowded: Path, tmp_path: Path) -> None:
    for number in (2, 3):
        bundle = bundle_of(Store(crowded), number, tmp_path / f"bundle-{number}")
        assert bundle["audit"]["tests"] is None and bundle["audit"]["conclusion"] in ("undecided", "not_verified")
    assert len(bundle_of(Store(crowded), 2, tmp_path / "more")["rows"]) == len(SECOND) - 1  # one was erased before


def test_stages_and_ways(path: Path, task: Task, tmp_path: Path) -> None:
    store = Store(path, task)
    covered = store.add(people([5, 10])).request
    assert covered.through == (1,)
    bundle = bundle_of(store, covered.number, tmp_path / "covered")
    assert bundle["how"] == "forgotten_before" and bundle["rows"] == []
    assert [e["kind"] for e in bundle["events"]] == ["requested", "covered"]
    assert "through" not in json.dumps(bundle)
    assert bundle["audit"]["conclusion"] == store.history().version(2).audit["status"]  # type: ignore[index]
    outcome = store.run(STRICT)
    assert outcome.version is None
    bundle = bundle_of(store, 2, tmp_path / "rejected")
    assert bundle["stage"] == "pending" and len(bundle["rejected"]) == 1
    assert [e["kind"] for e in bundle["events"]] == ["requested", "ended"]
    assert bundle["models"] is None and bundle["rows"] == [] and not bundle["overdue"]
    store.run(ANEW)
    bundle = bundle_of(store, 2, tmp_path / "retrained")
    assert (bundle["how"], bundle["method"], bundle["in_time"]) == ("retrained", None, True)
    assert bundle["audit"] == {"level": None, "conclusion": "retrained", "tests": None}


def test_a_late_request_and_no_audit(asked_store: Store, tmp_path: Path) -> None:
    late = asked_store.add(people([60]), due="2001-01-01").request
    assert bundle_of(asked_store, late.number, tmp_path / "pending")["overdue"]
    asked_store.run(QUICK)
    bundle = bundle_of(asked_store, late.number, tmp_path / "late")
    assert bundle["in_time"] is False and not bundle["overdue"]
    assert bundle["audit"] == {"level": None, "conclusion": "not_audited", "tests": None}


def test_the_reference_is_what_request_show_says(path: Path, tmp_path: Path) -> None:
    store = Store(path)
    bundle = bundle_of(store, 2, tmp_path / "bundle")
    assert bundle["reference"] == store.request(2)["reference"] == bundle["events"][0]["hash"][:16]
    assert len({store.request(number)["reference"] for number in (1, 2, 3)}) == 3


def test_the_head_of_a_bundle_is_in_the_history(path: Path, tmp_path: Path) -> None:
    store = Store(path)
    bundle = bundle_of(store, 1, tmp_path / "bundle")
    assert bundle["head"] == store.history().hash == store.status().head[1]
    kept = {e["hash"] for e in store.request(1)["history"]}
    assert {e["hash"] for e in bundle["events"]} <= kept


def test_a_retired_store_still_says_what_became_of_a_request(path: Path, task: Task, tmp_path: Path) -> None:
    store = Store(path, task)
    store.retire()
    store = Store(path)
    for number, stage in ((1, "honoured"), (2, "cancelled")):
        held = texts(store, number, tmp_path / f"bundle-{number}")
        bundle = json.loads(held["request.json"])
        assert (bundle["stage"], bundle["rows"]) == (stage, [])
        assert bundle["audit"] is None or bundle["audit"]["tests"] is None
        assert "its key destroyed" in " ".join(held["README.txt"].split())


def test_a_bundle_is_refused_where_the_key_is_elsewhere(path: Path, tmp_path: Path) -> None:
    path.with_name(f"{path.name}.key").rename(tmp_path / "moved.key")
    with pytest.raises(RequestError, match="is missing"):
        Store(path).export(1, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert Store(path, key=tmp_path / "moved.key").export(1, tmp_path / "bundle")


def test_the_time_of_another_event_does_not_stand_in_for_the_clock(
    tmp_path: Path, tiny: Tiny, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the clock lay behind, the history gives an event the time of the one before, which is another's."""
    store = Store.create(tmp_path / "store", task, tiny.model)
    other = store.add(people([1])).request
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now - timedelta(hours=5))
    own = store.add(people([2])).request
    bundle = bundle_of(store, own.number, tmp_path / "bundle")
    assert bundle["events"][0]["at"] == bundle["requested"] != other.added


def test_a_wrong_clock_that_was_put_right_leaves_no_wrong_days(
    asked_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(days=4000))
    asked_store.cancel(1)
    monkeypatch.setattr(clock, "now", lambda: now)
    asked_store.reset_clock()
    bundle = bundle_of(asked_store, 1, tmp_path / "bundle")
    assert bundle["cancelled"][:10] == bundle["events"][-1]["at"][:10] == now.isoformat()[:10]


def test_a_note_that_was_changed_is_not_handed_out(path: Path, tmp_path: Path) -> None:
    raw = sqlite3.connect(path / "ledger.sqlite")
    raw.execute("UPDATE notes SET text = 'by nobody'")
    raw.commit()
    raw.close()
    with pytest.raises(DamagedError, match="notes: that of request 1 was changed"):
        Store(path).export(1, tmp_path / "bundle")


def test_why_a_request_waits_is_said(path: Path, task: Task, tiny: Tiny, tmp_path: Path) -> None:
    kept = [at for at in range(300) if at != 150]
    fewer = replace(task, train=subset(tiny, kept), ids=people(kept))
    Store(path, fewer).run(QUICK)
    bundle = bundle_of(Store(path), 3, tmp_path / "bundle")
    assert bundle["deferred"] == {"why": "missing", "records": 1} and bundle["stage"] == "pending"
    assert [e["kind"] for e in bundle["events"]] == ["requested"]
    assert bundle_of(Store(path), 2, tmp_path / "other")["deferred"] is None
