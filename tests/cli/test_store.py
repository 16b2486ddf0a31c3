"""The store on the command line: what it prints, how it ends, and what happens to those who get it wrong."""

import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from typer.main import get_command

from efface import Store
from efface.cli.main import app
from efface.cli.taskpath import load_task, working_folder_importable
from efface.models.checkpoint import load_weights
from efface.store.failpoints import POINTS, failpoint
from helpers.command_line import make_workshop, run

VERBS = ("init", "run", "status", "verify", "export", "rollback")
QUICK = ("--option", "rounds=1", "--option", "steps=8", "--no-audit", "--device", "cpu")
INIT = ("init", "my_task:task", "--checkpoint", "model.safetensors", "--device", "cpu")
FIT = """

def fit(model, data, seed):
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = map(torch.stack, zip(*[(x, y) for x, y in data]))
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()


def with_fit():
    return task(fit=fit)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    (folder / "my_task.py").write_text((folder / "my_task.py").read_text() + FIT)
    return folder


def answer_of(*arguments: str, code: int = 0) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def said(*arguments: str, code: int = 0) -> str:
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def test_the_life_of_a_request(here: Path) -> None:
    made = said(*INIT)
    assert "efface-store.key" in made
    assert "Next: efface request add" in made
    assert said("run", *QUICK).startswith("Nothing to do: no request is pending.")
    added = said("request", "add", "--ids", "ids.txt", "--note", "ticket 4711", "--due", "2999-12-24")
    assert added.startswith("Request 1: 36 records, pending.")
    assert said("request", "add", "--ids", "ids.txt").startswith("Already there as request 1: 36 records, pending.")
    assert "0, 1, 2" in said("request", "show", "1", "--ids")
    ran = said("run", *QUICK, code=3)
    assert ran.startswith("Result: Not audited.")
    assert "Version 2 is in service: it was made to forget 36 records of request 1." in ran
    assert "honoured by version 2" in said("request", "list")
    assert "ticket 4711" in said("request", "list")
    assert said("request", "list", "--pending").startswith("No requests.")
    assert "none is kept any more" in said("request", "show", "1", "--ids")
    status = (
        said("status", "--check") if "A retraining is due" not in said("status") else said("status", "--check", code=3)
    )
    assert re.search(r"2 +│ 1 +│ .* unlearned │ request 1 │ not audited │ in service", status)
    (here / "two.txt").write_text("1\n2\n")
    assert said("request", "add", "--ids", "two.txt").startswith("Request 2: 2 records, honoured by version 2.")
    refused = said("rollback", "1", code=2)
    assert "version 1 knows the records of requests 1-2, which were honoured: going back would undo that" in refused


def test_no_variable_of_the_environment_arms_a_fail_point(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(*INIT)
    said("request", "add", "--ids", "ids.txt")
    for point in POINTS:
        monkeypatch.setenv("EFFACE_FAILPOINT", f"{point}:full")
        failpoint(point)
    monkeypatch.setenv("EFFACE_FAILPOINT", "run.locked:full")
    assert "Version 2 is in service" in said("run", *QUICK, code=3)


def test_a_bundle_holds_no_id(here: Path) -> None:
    said(*INIT)
    (here / "some.txt").write_text("271\n272\n273\n")
    said("request", "add", "--ids", "some.txt")
    said("run", *QUICK, code=3)
    files = answer_of("export", "1", "--out", "bundle")["files"]
    assert [Path(f).name for f in files] == [
        "README.txt",
        "receipt.html",
        "receipt.pdf",
        "request.html",
        "request.json",
    ]
    bundle = json.loads((here / "bundle" / "request.json").read_text())
    assert bundle["records"] == 3
    assert bundle["reference"] in said("request", "show", "1")
    assert "is not an empty folder" in said("export", "1", "--out", "bundle", code=2)
    assert "there is no request 7 (there are: 1 to 1)" in said("export", "7", "--out", "other", code=2)
    (here / "empty").mkdir()
    os.chdir(here / "empty")
    assert "for whoever asked" in said("export", "1", "--out", ".", "--store", str(here / "efface-store"))
    assert sorted(os.listdir()) == ["README.txt", "receipt.html", "receipt.pdf", "request.html", "request.json"]


def test_the_audit_of_a_run_and_of_verify(here: Path) -> None:
    said(*INIT)
    said("request", "add", "--ids", "ids.txt")
    run_ = answer_of(
        "run", "--option", "rounds=1", "--option", "steps=8", "--reference-models", "1", "--accept", "any", code=3
    )
    assert run_["status"] in ("undecided", "not_verified")
    assert run_["version"]["audit"]["files"].keys() == {"report.html", "report.json"}
    report = json.loads((here / "efface-store/reports/run-0001/report.json").read_text())
    assert all(re.fullmatch("[0-9a-f]{16}", r["id"]) for r in report["records"])
    found = answer_of("verify", "--reference-models", "1", code=3)
    assert found["problems"] == []
    assert found["report"]["verdict"]["status"] in ("undecided", "not_verified")
    assert [r["found"] for r in found["leftovers"]].count(True) == 7
    (here / "model.safetensors").unlink()
    shown = said("verify", "--no-audit")
    assert "Nothing was changed since it was written." in shown
    assert "the file that the store was made from" not in shown


def test_a_version_that_the_audit_does_not_let_pass_is_not_served(here: Path) -> None:
    said(*INIT)
    before = os.readlink(here / "efface-store/current.safetensors")
    said("request", "add", "--ids", "ids.txt")
    quick = ("--option", "rounds=1", "--option", "steps=2", "--reference-models", "1")
    shown = said("run", *quick, "--accept", "verified", code=7)
    assert "Run 1 is rejected: the model stays as it was, and request 1 pending." in shown
    assert os.readlink(here / "efface-store/current.safetensors") == before
    assert answer_of("status")["pending"][0]["number"] == 1


def test_retraining_begins_a_lineage(here: Path) -> None:
    init = ("init", "my_task:with_fit", *INIT[2:], "--most-changed", "0", "--most-lost", "1")
    said(*init)
    said("request", "add", "--ids", "ids.txt")
    assert "A retraining is due" in said("run", *QUICK, code=3)
    said("status", "--check", code=3)
    (here / "more.txt").write_text("100\n101\n")
    said("request", "add", "--ids", "more.txt")
    shown = said("run", "--retrain", "--device", "cpu")
    assert shown.startswith("Result: Retrained.")
    status = answer_of("status", "--check")
    assert status["serving"]["lineage"] == 2
    assert status["honours"]["3"] == [1, 2]
    assert "nothing was unlearned in this lineage: it began with a model trained without them" in said("verify")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("status",),
            "there is no store: make one (Store.create, or efface init), or name another (folder, or --store)",
        ),
        (("run",), "there is no store"),
        (("request", "add", "--ids", "ids.txt"), "there is no store"),
        ((*INIT[:2], "--checkpoint", "absent.pt"), "absent.pt: there is no such file"),
        (("init", "my_task:tusk", "--checkpoint", "model.safetensors"), "module my_task has no 'tusk'"),
        ((*INIT, "--key", "efface-store/k"), "the key must lie outside of the store"),
        ((*INIT, "--store", "no/such/place"), "there is no folder"),
    ],
)
def test_before_there_is_a_store(here: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in said(*arguments, code=2)
    assert not (here / "efface-store").exists()
    assert not list(here.glob("*.key"))


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (INIT, ["there is something already; name another (folder, or --store)"]),
        (("request", "add", "--ids", "absent.txt"), ["absent.txt: there is no such file (--ids)"]),
        (("request", "add", "--ids", "odd.txt"), ["the task's ids are integers, but line 1: 'anna'"]),
        (("request", "add", "--ids", "far.txt"), ["2 ids are not among the training records", "5000, 5001"]),
        (("request", "add", "--ids", "ids.txt", "--due", "soon"), ["due: expected a date as YYYY-MM-DD, got 'soon'"]),
        (("request", "show", "3"), ["there is no request 3 (there are: none yet)"]),
        (("request", "cancel", "3"), ["there is no request 3"]),
        (("rollback", "9"), ["there is no version 9 (there are: 1 to 1)"]),
        (("rollback", "1"), ["version 1 is in service already"]),
        (("run", "--method", "noop"), ["method 'noop' is a control, which honours nothing"]),
        (("run", "--retrain"), ["retraining is done by Task.fit, which the task lacks: set it"]),
        (
            ("run", "--method", "stear", "--accept", "all"),
            [
                "'stear'",
                "no_trace_found, undecided, any, got 'all'",
            ],
        ),
        (("run", "--no-audit", "--accept", "verified"), ["(--no-audit) there is none: leave one of the two out"]),
        (("run", "--no-audit", "--level", "strong"), ["--level says how to audit, and --no-audit not to"]),
        (
            ("run", "--retrain", "--option", "steps=3", "--accept", "verified", "--reference-models", "8"),
            ["takes no method or option", "(--accept)", "8 reference models are asked for"],
        ),
        (
            ("verify", "--no-audit", "--level", "quick", "--reference-models", "8"),
            ["--level says how to audit, and --no-audit not to", "8 reference models are asked for"],
        ),
        (("verify", "--level", "quickest"), ["level: expected one of quick, standard, strong, got 'quickest'"]),
        (("run", "--task", "my_task:nothing"), ["module my_task has no 'nothing'"]),
    ],
)
def test_what_cannot_be_is_refused(here: Path, arguments: tuple[str, ...], messages: list[str]) -> None:
    said(*INIT)
    (here / "odd.txt").write_text("anna\n")
    (here / "far.txt").write_text("5000\n5001\n")
    before = answer_of("status")["head"]
    shown = said(*arguments, code=2)
    assert not [m for m in messages if m not in shown], shown
    assert answer_of("status")["head"] == before


def test_faults_of_a_store_have_codes_of_their_own(here: Path) -> None:
    said(*INIT)
    said("request", "add", "--ids", "ids.txt")
    with FileLock(here / "efface-store/run.lock"):
        assert "another run is at work on this store" in said("run", *QUICK, code=5)
    key = here / "efface-store.key"
    text = key.read_text()
    key.unlink()
    assert said("status").startswith("Takes no requests: the key")
    assert "the store is retired" in said("run", *QUICK, code=2)
    key.write_text("1" * 64)
    assert "is not the key of this store" in said("status", code=4)
    key.write_text(text)
    checkpoint = (here / "efface-store/current.safetensors").resolve()
    good = checkpoint.read_bytes()
    checkpoint.write_bytes(good[:-1])
    assert "(version 1) was changed" in said("run", *QUICK, code=4)
    assert "(version 1) was changed" in said("verify", "--no-audit", code=4)
    checkpoint.write_bytes(good)
    with sqlite3.connect(here / "efface-store/ledger.sqlite") as database:
        database.execute("DROP TRIGGER events_update")
        database.execute("UPDATE events SET body = replace(body, '36', '35') WHERE kind = 'requested'")
    database.close()
    assert re.search(r"event 3 \(requested, .*\) of the history was changed", said("status", code=4))


@pytest.mark.parametrize("command", [(v,) for v in VERBS] + [("request", v) for v in ("add", "list", "show", "cancel")])
def test_help_has_an_example_and_explains_every_option(command: tuple[str, ...]) -> None:
    shown = said(*command, "--help")
    assert re.search(rf"^ *efface {' '.join(command)} ", shown + " ", re.MULTILINE)
    typed: Any = get_command(app)
    for part in command:
        typed = typed.commands[part]
    for parameter in typed.params:
        assert parameter.help, parameter.name


def test_a_retired_store_that_names_no_task_says_first_that_it_is_retired(here: Path) -> None:
    with working_folder_importable():
        task = load_task("my_task:task")
    assert task.build_model is not None
    model = task.build_model()
    load_weights(model, here / "model.safetensors")
    made = Store.create(here / "efface-store", task, model)
    assert "the store was made without a task's name: give it (--task MODULE:NAME)" in said("run", code=2)
    made.retire()
    for verb in (("run",), ("verify",), ("request", "add", "--ids", "ids.txt")):
        shown = said(*verb, code=2)
        assert "the store is retired" in shown and "without a task's name" not in shown
