"""The command line: what it prints, what it writes and how it ends, when the request is in order."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from typer.main import get_command

import efface
from efface.auditing.report import validate
from efface.auditing.report.first_screen import first_screen
from efface.auditing.report.wording import OUTCOMES, VERDICTS
from efface.auditing.verdict import Status
from efface.cli.main import app
from efface.errors import CheckpointError, DivergedError
from efface.methods import REGISTRY
from efface.models.checkpoint import load_weights, save_weights, weights_digest
from helpers.command_line import (
    AUDIT,
    FORGET,
    SMALL,
    TASK,
    UNLEARN,
    answer,
    failing,
    new_files,
    run,
    watch_forget,
)

COMMANDS = ("unlearn", "audit", "methods", "demo", "doctor")
RECEIPTS = ["run/receipt.html", "run/receipt.pdf"]
FILES = ["run", *RECEIPTS, "run/report.html", "run/report.json", "run/unlearned.safetensors"]
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_task.py"


def force_verdict(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """Make audits conclude `status`, whatever they measured."""
    real = efface.audit

    def audit(*args: Any, **kwargs: Any) -> Any:
        report = real(*args, **kwargs)
        verdict = dataclasses.replace(
            report.verdict, status=Status(status), reasons=("so it was decided",), sentence="All in all."
        )
        return dataclasses.replace(report, findings=dataclasses.replace(report.findings, verdict=verdict))

    monkeypatch.setattr("efface.audit", audit)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_explains_every_option(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert re.search(rf"^ *efface {command} ", result.stdout, re.MULTILINE)
    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        assert parameter.help, parameter.name
        if parameter.opts[0].startswith("--"):
            assert parameter.opts[0] in result.stdout


def test_no_arguments_give_the_help_with_the_exit_codes() -> None:
    bare, asked = run(), run("--help")
    assert bare.exit_code == asked.exit_code == 0
    assert bare.stdout.strip() == asked.stdout.strip()
    for word in (*COMMANDS, "Exit codes: 0 verified", " 2 ", " 3 ", " 10 ", " 130 ", "efface demo --out demo-run"):
        assert word in asked.stdout


@pytest.mark.parametrize(("word", "hint"), [("check", "efface unlearn --dry-run"), ("store", "efface init, request")])
def test_a_command_that_is_called_otherwise_is_named(word: str, hint: str) -> None:
    result = run(word, "my_task:task")
    said = " ".join(result.stderr.replace("\u2502", " ").split())
    assert result.exit_code == 2 and f"No such command '{word}': " in said and hint in said


def test_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"efface {metadata.version('efface')}\n")


@pytest.mark.drawn
def test_unlearn_writes_three_files_and_prints_the_verdict(here: Path) -> None:
    result = run(*UNLEARN, *SMALL)
    assert result.stderr == ""
    assert new_files(here) == FILES
    document = json.loads((here / "run/report.json").read_text())
    validate(document)
    assert (here / "run/report.html").read_text().count("<svg ") == 5
    assert (here / "run/receipt.pdf").read_bytes().count(b"/Type /Page\n") == 1
    assert result.exit_code == (0 if document["verdict"]["status"] == "verified" else 3)
    lines = result.stdout.splitlines()
    result_line = f"Result: {VERDICTS[document['verdict']['status']]}. {document['verdict']['sentence']}"
    ending = lines[lines.index(result_line) :]
    assert ending[1 + len(document["verdict"]["reasons"])] == f"Meaning: {' '.join(first_screen(document).meaning)}"
    assert [line for line in lines if line.startswith("  - ")] == [f"  - {r}" for r in document["verdict"]["reasons"]]
    assert re.search(r"metric .* original .* unlearned", result.stdout)
    assert "retrained" not in next(line for line in lines if "metric" in line)
    assert any(line.startswith("Cost: unlearning ") and "; audit " in line for line in lines)
    names = ("unlearned.safetensors", "report.json", "report.html", "receipt.html", "receipt.pdf")
    assert ending[-5:] == [f"File: run/{name}" for name in names]
    assert {line.split(":")[0] for line in ending if not line.startswith("  - ")} == {
        "Result",
        "Meaning",
        "Next",
        "File",
    }
    table, ladder = result.stdout.split("Tests that decide (level standard")
    for metric in document["metrics"]:
        # what decides is in the table of tests, and only there
        assert (metric["title"] in table) is not metric["decisive"], metric["title"]
    assert {t["key"] for t in document["tests"]} == {m["key"] for m in document["metrics"] if m["decisive"]}
    for test in document["tests"]:
        assert re.search(rf"{re.escape(test['title'])} .* {OUTCOMES[test['outcome']].word} ", ladder), test["title"]


def test_the_weights_written_are_the_ones_judged(here: Path) -> None:
    run(*UNLEARN, *SMALL)
    document = json.loads((here / "run/report.json").read_text())
    space: dict[str, Any] = {}
    exec(TASK, space)
    for name, path in (("original", "model.safetensors"), ("unlearned", "run/unlearned.safetensors")):
        model = space["build_model"]()
        load_weights(model, here / path)
        assert document["weights"][name] == weights_digest(model)
    assert document["method"]["options"]["steps"] == 8
    assert document["request"]["count"] == len(FORGET)


@pytest.mark.parametrize(("status", "code"), [("verified", 0), ("not_verified", 3), ("undecided", 3)])
def test_exit_code_tells_the_verdict(here: Path, monkeypatch: pytest.MonkeyPatch, status: str, code: int) -> None:
    force_verdict(monkeypatch, status)
    result = run(*UNLEARN, *SMALL)
    assert result.exit_code == code
    assert f"{VERDICTS[status]}. All in all.\n  - so it was decided\n" in result.stdout
    assert new_files(here) == FILES


def test_json_is_all_that_standard_output_gets(here: Path) -> None:
    (here / "chatty.py").write_text(
        "from my_task import task as quiet\nprint('loading')\n\n\ndef task():\n    "
        "print('making')\n    return quiet()\n"
    )
    result = run("unlearn", "chatty:task", *UNLEARN[2:], *SMALL, "--json")
    said = answer(result)
    assert list(said) == ["status", "reasons", "next", "files", "report"]
    assert said["files"] == {
        "weights": "run/unlearned.safetensors",
        "report": "run/report.json",
        "page": "run/report.html",
    }
    assert said["report"] == json.loads((here / "run/report.json").read_text())
    assert (said["status"], said["reasons"]) == tuple(said["report"]["verdict"][k] for k in ("status", "reasons"))
    assert "loading" in result.stderr and "making" in result.stderr


def test_without_an_audit_nothing_is_verified(here: Path) -> None:
    result = run(*UNLEARN, *SMALL, "--no-audit", "--no-checks")
    assert result.exit_code == 3
    assert new_files(here) == ["run", "run/unlearned.safetensors"]
    assert "Result: Not audited. No audit was made, so nothing was verified.\n" in result.stdout
    assert "Note: the pass over all records was off" in result.stdout
    said = answer(run(*UNLEARN, *SMALL, "--no-audit", "--force", "--json"))
    assert (said["status"], said["report"], list(said["files"])) == ("not_audited", None, ["weights"])


def test_an_old_report_never_stays_beside_new_weights(here: Path) -> None:
    run(*UNLEARN, *SMALL)
    (here / "run/mine.txt").write_text("kept")
    assert run(*UNLEARN, *SMALL, "--no-audit", "--force").exit_code == 3
    assert new_files(here) == ["run", "run/mine.txt", "run/unlearned.safetensors"]


def test_audit_takes_any_tools_weights_and_retrained_models(here: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 3))
        save_weights(model, here / f"{name}.safetensors")
    result = run(*AUDIT, "--retrained", "one.safetensors", "--retrained", "two.safetensors")
    assert result.stderr == ""
    assert re.search(r"metric .* original .* unlearned .* retrained", result.stdout)
    assert new_files(here) == [
        "one.safetensors",
        "run",
        *RECEIPTS,
        "run/report.html",
        "run/report.json",
        "two.safetensors",
    ]
    document = json.loads((here / "run/report.json").read_text())
    assert document["method"] is None
    assert document["cost"]["unlearn"] is None
    again = answer(run(*AUDIT, "--force", "--json"))
    assert list(again["files"]) == ["report", "page"]


def test_twins_are_kept_or_forgotten_as_confirmed(here: Path) -> None:
    """The run and an audit of its weights take the same switch."""
    twin = (
        "def doubled():\n    data = records(300, 0)\n    data.tensors[0][200] = data.tensors[0][5]\n    return data\n"
    )
    (here / "my_task.py").write_text(f"{TASK}\n\n{twin}\n\ndef twinned():\n    return task(train=doubled())\n")
    command = [w.replace(":task", ":twinned") for w in UNLEARN]
    refused = run(*command, *SMALL)
    assert refused.exit_code == 2 and "5 (twin of 200" in refused.stderr and "--twins" in refused.stderr
    unconfirmed = run(*command, *SMALL, "--twins", "forget")
    assert unconfirmed.exit_code == 2 and "not confirmed: 200; look at them" in unconfirmed.stderr
    (here / "twins.txt").write_text("200\n")
    audit = [w.replace(":task", ":twinned").replace("other.saf", "run/unlearned.saf") for w in AUDIT]
    for twins, count in ((["--twins", "keep"], 35), (["--twins", "forget", "--confirm", "twins.txt"], 37)):
        done = run(*command, *SMALL, *twins, "--force", "--json")
        assert done.exit_code in (0, 3) and answer(done)["report"]["request"]["count"] == count
        judged = run(*("audited" if w == "run" else w for w in audit), *twins, "--force", "--json")
        assert answer(judged)["report"]["request"]["twins"] == answer(done)["report"]["request"]["twins"]
        assert answer(judged)["report"]["request"]["count"] == count
        other = ["--twins", "forget", "--confirm", "twins.txt"] if "keep" in twins else ["--twins", "keep"]
        refused = run(*("audited" if w == "run" else w for w in audit), *other, "--force")
        assert refused.exit_code == 2 and f"made with --twins {twins[1]}: --twins {other[1]} would" in refused.stderr
        if "keep" in twins:  # the switch of the run is that of its audit
            again = run(*("audited" if w == "run" else w for w in audit), "--force", "--json")
            assert answer(again)["report"]["verdict"] == answer(judged)["report"]["verdict"]


@pytest.mark.parametrize("text", ["3\n4", "3\n4\n\n\n", "\ufeff3\r\n4\r\n"])
def test_ids_files_of_all_kinds(here: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    seen = watch_forget(monkeypatch)
    (here / "ids.txt").write_bytes(text.encode())
    run(*UNLEARN)
    assert seen == [[3, 4]]


def test_ids_from_standard_input_and_strings_where_the_task_has_strings(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "named.py").write_text(
        "from types import SimpleNamespace\nfrom my_task import task as plain\n"
        "here = SimpleNamespace(task=plain(ids=[f'{i:03d}' for i in range(300)]))\n"
    )
    seen = watch_forget(monkeypatch)
    words = ["-" if word == "ids.txt" else word for word in UNLEARN[2:]]
    result = run("unlearn", "named:here.task", *words, stdin="007\n008\n")
    assert seen == [["007", "008"]], result.output


def test_the_import_path_is_as_before(here: Path) -> None:
    before = list(sys.path)
    run(*UNLEARN, "--method", "unknown")
    assert sys.path == before


HINT = " (set EFFACE_TRACEBACK=1 for a traceback)"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("the disk\nis on fire"), 1, "RuntimeError: the disk is on fire"),
        (DivergedError("the loss became nan"), 1, "the loss became nan"),
        (MemoryError(), 1, "MemoryError"),
        (SystemExit(0), 1, "SystemExit: 0"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_are_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    monkeypatch.setattr("efface.unlearn", failing(error))
    result = run(*UNLEARN)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"efface: {said}{HINT if code == 1 else ''}\n"
    result = run(*UNLEARN, "--json")
    assert result.exit_code == code
    assert answer(result) == {"error": said, "problems": []}
    assert new_files(here) == []


def test_a_traceback_on_request(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.unlearn", failing(RuntimeError("boom")))
    result = run(*UNLEARN, EFFACE_TRACEBACK="1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.endswith(f"efface: RuntimeError: boom{HINT}\n")


def test_a_failed_write_leaves_no_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efface.Result, "save", failing(CheckpointError("no space left")))
    result = run(*UNLEARN, *SMALL)
    assert (result.exit_code, result.stderr) == (6, "efface: no space left\n")
    assert new_files(here) == []


def test_a_switch_of_a_method_has_no_range() -> None:
    shown = run("methods").stdout
    assert "True or False" in shown and "any to any" not in shown


def test_methods_lists_every_option() -> None:
    said = answer(run("methods", "--json"))["methods"]
    assert [m["key"] for m in said] == list(REGISTRY)
    shown = run("methods").stdout
    for method in said:
        assert f"{method['key']}: {method['summary']}\n  source: {method['source']}\n" in shown
        assert {o["name"]: o["default"] for o in method["options"]} == dataclasses.asdict(REGISTRY[method["key"]]())
        for option in method["options"]:
            assert list(option) == ["name", "type", "default", "low", "high", "help"]
            assert option["help"] in shown


def test_demo_writes_the_same_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {}
    exec(TASK, space)
    task, model = space["task"](), space["build_model"]()
    load_weights(model, here / "model.safetensors")
    result = efface.unlearn(model, task=task, forget=list(FORGET), method=REGISTRY["noop"]())
    report = efface.audit(result, level="quick")
    asked: list[Any] = []

    def run_demo(*args: Any) -> Any:
        asked.append(args)
        return SimpleNamespace(result=result, report=report, doing_nothing=report)

    monkeypatch.setattr("efface.cli.demo_end.run_pen_demo", run_demo)
    monkeypatch.setattr("efface.cli.demo_end.show_demo", lambda run, files, stdout: print(*files.values(), file=stdout))
    outcome = run("demo", "--out", "run", "--seed", "3", "--device", "cpu")
    assert outcome.exit_code == 3, outcome.output
    assert asked == [(3, "cpu")] and outcome.stdout.split() == [
        "run/unlearned.safetensors",
        "run/report.json",
        "run/report.html",
        *RECEIPTS,
    ]
    assert new_files(here) == FILES
    document = answer(run("demo", "--out", "other", "--json"))
    assert document["doing_nothing"]["status"] == document["status"] == str(report.verdict.status)
    refused = run("demo", "--out", "run", "--device", "tpu")
    assert refused.exit_code == 2
    assert "run: is not empty" in refused.stderr and "device 'tpu' is unknown" in refused.stderr
    assert len(asked) == 2


def test_the_example_runs_from_script_to_report(here: Path) -> None:
    (here / EXAMPLE.name).write_text(EXAMPLE.read_text())
    environment = {**os.environ, "DIGITS_EPOCHS": "2", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-W", "error", EXAMPLE.name], check=True, env=environment, capture_output=True)
    result = run("unlearn", "digits_task:task", *UNLEARN[2:], *SMALL)
    assert result.exit_code in (0, 3), result.stderr
    assert set(FILES) <= set(new_files(here))
