"""Help, and refusals that need no model, do not wait for torch and other libraries that take long to import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.command_line import make_workshop, run

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "sqlalchemy", "jsonschema", "jinja2", "joblib")
# runs each command in one process, and says how it ended and which of these libraries are imported by then
SCRIPT = f"""
import contextlib, io, json, sys
from efface.cli.main import app
ends = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        try:
            app(words, prog_name="efface")
        except SystemExit as end:
            code = end.code
    ends.append([code, out.getvalue(), [m for m in {HEAVY} if m in sys.modules]])
json.dump(ends, sys.stdout)
"""
VERBS = (
    *("unlearn", "audit", "methods", "demo", "doctor", "init", "run", "status", "verify", "export", "rollback"),
    *("clock", "retire", "backup", "restore", "head"),
)
HELP: list[list[str]] = [
    [],
    ["--help"],
    ["--version"],
    *([verb, "--help"] for verb in VERBS),
    ["request", "--help"],
    *(["request", verb, "--help"] for verb in ("add", "list", "show", "cancel")),
]
MODEL = ["--checkpoint", "model.pt"]
INDEX = "model.safetensors.index.json"
IDS = ["--forget", "ids.txt"]
UNLEARN = ["unlearn", "my_task:task", *MODEL, *IDS, "--out", "run"]
AUDIT = ["audit", "my_task:task", "--original", "model.pt", "--unlearned", "model.pt", *IDS, "--out", "run"]
REFUSALS: dict[str, tuple[list[str], str]] = {
    "no file of ids": ([*UNLEARN, "--forget", "no.txt"], "no.txt: there is no such file (--forget)"),
    "ids that are no text": ([*UNLEARN, "--forget", "bytes.txt"], "bytes.txt: is not UTF-8 text (byte 0)"),
    "unknown method": ([*UNLEARN, "--method", "ster"], "there is no method 'ster' (did you mean 'steer'?)"),
    "option without a value": ([*UNLEARN, "--option", "lr"], "option 'lr': expected NAME=VALUE"),
    "no checkpoint": ([*UNLEARN, "--checkpoint", "no.pt"], "no.pt: there is no such file (--checkpoint)"),
    "checkpoint of another kind": ([*UNLEARN, "--checkpoint", "ids.txt"], "ids.txt: weights files end in"),
    "an index of no shards": ([*UNLEARN, "--checkpoint", INDEX], f"{INDEX}: is no index of shards"),
    "a folder of several models": ([*UNLEARN, "--checkpoint", "runs"], "runs: holds a.pt, b.pt: name one"),
    "unknown level": (
        [*UNLEARN, "--level", "standrd"],
        "level: expected one of quick, standard, strong, got 'standrd'",
    ),
    "cache without its level": ([*UNLEARN, "--cache", "cache"], "--cache is for --level strong"),
    "unusable cache": ([*UNLEARN, "--level", "strong", "--cache", "ids.txt"], "cache ids.txt: is not a folder"),
    "twins of no kind": ([*UNLEARN, "--twins", "drop"], "--twins: expected one of refuse, forget, keep, got 'drop'"),
    "twins kept without checks": ([*UNLEARN, "--twins", "keep", "--no-checks"], "--twins: 'keep' needs the pass over"),
    "twins confirmed, and none to forget": ([*AUDIT, "--confirm", "ids.txt"], "--confirm: it names twins to forget,"),
    "no file of twins": (
        [*UNLEARN, "--twins", "forget", "--confirm", "no.txt"],
        "no.txt: there is no such file (--confirm)",
    ),
    "unknown device": ([*UNLEARN, "--device", "tpu"], "device 'tpu' is unknown"),
    "no module of the task": (["unlearn", "my_tsk:task", *UNLEARN[2:]], "there is no module 'my_tsk'"),
    "task without a name": (["unlearn", "my_task", *UNLEARN[2:]], "expected MODULE:NAME"),
    "folder that is there": ([*UNLEARN, "--out", "."], ".: is not empty; give --force"),
    "no references": ([*AUDIT, "--references", "no"], "no: cannot be read: No such file or directory (--references)"),
    "unknown method of an audit": ([*AUDIT, "--level", "strong", "--method", "ster"], "there is no method 'ster'"),
    "unknown command": (["unlern"], "No such command 'unlern'"),
    "missing option": (["unlearn", "my_task:task"], "Missing option"),
    "doctor without weights": (
        ["doctor", "my_task:task", "--checkpoint", "no.pt"],
        "no.pt: there is no such file (--checkpoint)",
    ),
    "demo into a folder that is there": (["demo", "--out", "."], ".: is not empty"),
    "no store": (["status"], "there is no store"),
    "no store to run": (["run", "--method", "ster"], "there is no store"),
    "no store to add to": (["request", "add", "--ids", "no.txt"], "no.txt: there is no such file (--ids)"),
    "a plan that contradicts itself": (["run", "--no-audit", "--accept", "verified"], "leave one of the two out"),
    "ids and groups": (["request", "add", "--ids", "ids.txt", "--groups", "ids.txt"], "--ids and --groups: give one"),
    "neither ids nor groups": (["request", "add"], "name a file of record ids (--ids), or of keys of groups"),
    "deleted groups": (["request", "add", "--groups", "ids.txt", "--deleted"], "--deleted: a request by group is for"),
    "no date": (["request", "add", "--ids", "ids.txt", "--due", "soon"], "due: expected a date"),
    "no store to list": (["request", "list"], "there is no store"),
    "no store to verify": (
        ["verify", "--level", "quickest"],
        "level: expected one of quick, standard, strong, got 'quickest'",
    ),
    "no store to export from": (["export", "1", "--out", "bundle"], "there is no store"),
    "no store to back up": (["backup", "--out", "backup"], "there is no store"),
    "no store with a head": (["head"], "there is no store"),
    "no head to check": (["head", "--check", "no.txt"], "--check: expected SEQ:HASH, or a file of such lines, got"),
    "no backup to restore": (["restore", "runs"], "runs: there is no backup"),
    "no head of a restoration": (
        ["restore", "runs", "--head", "ids.txt"],
        "ids.txt, line 1: --head: expected SEQ:HASH",
    ),
    "place that is taken": (["init", "my_task:task", *MODEL, "--store", "."], "there is something already"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of the right names; nothing in them is read."""
    (tmp_path / "my_task.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "model.pt").write_text("")
    (tmp_path / "ids.txt").write_text("1\n")
    (tmp_path / INDEX).write_text("{}")
    (tmp_path / "runs").mkdir()
    for name in ("a.pt", "b.pt"):
        (tmp_path / "runs" / name).write_text("")
    (tmp_path / "bytes.txt").write_bytes(b"\xff")
    return tmp_path


def ends_of(folder: Path, commands: list[list[str]]) -> list[tuple[int, str, list[str]]]:
    """Exit code, output and imported libraries after each of some commands, which run in one process, in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(commands), cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [(code, " ".join(out.split()), loaded) for code, out, loaded in json.loads(done.stdout)]


def test_help_is_light(folder: Path) -> None:
    for words, (code, out, loaded) in zip(HELP, ends_of(folder, HELP), strict=True):
        assert (code, loaded) == (0, []), words
        assert out, words


def test_refusals_that_need_no_model_are_light(folder: Path) -> None:
    ends = ends_of(folder, [words for words, _ in REFUSALS.values()])
    for (name, (_, expected)), (code, out, loaded) in zip(REFUSALS.items(), ends, strict=True):
        assert expected in out, name
        assert (code, loaded) == (2, []), name


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store."""
    folder = tmp_path_factory.mktemp("store")
    make_workshop(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("init", "my_task:task", "--checkpoint", "model.safetensors", "--device", "cpu").exit_code == 0
    (folder / "my_task.py").write_text("raise RuntimeError('imported')\n")
    (folder / "gone.jsonl").write_text('"gone"\n')
    return folder


VERBS_WITHOUT_A_MODEL = {
    "status": 0,
    "request add --ids ids.txt": 0,
    "request add --ids gone.jsonl --deleted": 2,  # the store names records by position
    "request list": 0,
    "request show 9": 2,
    "request cancel 9": 2,
    "rollback 9": 2,
    "export 9 --out bundle": 2,
    "head": 0,
    "head --check 1:0123456789abcdef": 4,
    "backup --out efface-store/backup": 2,
    "retire": 2,
    "clock": 0,
    "clock --confirm": 0,
    "clock --reset": 2,
    "clock --confirm --reset": 2,
    "run --accept all": 2,
    "init my_task:task --checkpoint model.safetensors": 2,
}


def test_verbs_that_read_the_history_only_do_not_wait_for_torch(store_folder: Path) -> None:
    ends = ends_of(store_folder, [words.split() for words in VERBS_WITHOUT_A_MODEL])
    for (words, expected), (code, out, loaded) in zip(VERBS_WITHOUT_A_MODEL.items(), ends, strict=True):
        assert code == expected, out
        assert set(loaded) <= {"numpy", "sqlalchemy"}, words


def test_a_command_that_passes_these_checks_imports_what_it_needs(folder: Path) -> None:
    """So that the tests above can fail."""
    ((code, out, loaded),) = ends_of(folder, [UNLEARN])
    assert code == 2 and "module my_task raised RuntimeError: imported" in out
    assert "torch" in loaded
