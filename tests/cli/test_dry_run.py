"""`--dry-run` shows which records would go and writes nothing; `--groups` reads keys of groups."""

from pathlib import Path

import pytest

from helpers.command_line import AUDIT, FORGET, SMALL, UNLEARN, answer, make_workshop, new_files, run, watch_forget

DRY = [*UNLEARN, "--dry-run"]
BARE = UNLEARN[: UNLEARN.index("--out")] + UNLEARN[UNLEARN.index("--out") + 2 :]
PERSONS = """from my_task import task as plain


def task():
    return plain(groups=[f"person {i // 3}" for i in range(300)], describe=lambda r: f"first {r[0][0]:.2f}")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    (folder / "persons.py").write_text(PERSONS)
    (folder / "keys.txt").write_text("person 4\nperson 2\n")
    return folder


def test_a_dry_run_shows_the_records_and_writes_nothing(here: Path) -> None:
    before = new_files(here)
    for words in (DRY, [*BARE, "--dry-run"]):
        result = run(*words)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        head, *lines = result.stdout.splitlines()
        assert head.startswith(f"{len(FORGET)} of 300 training records would go, by steer; ids are indices 0 to 299.")
        assert lines[0].startswith(f"  {FORGET[0]}, position {FORGET[0]}, label ")
    document = answer(run(*DRY, "--json"))
    assert (document["status"], document["count"], document["training_records"]) == ("dry_run", len(FORGET), 300)
    assert [r["id"] for r in document["records"]] == list(FORGET)
    hidden = run(*DRY, "--hide-ids")
    assert " ".join(hidden.stdout.split()).endswith("Ids are hidden, with 1 warning that may name them.")
    assert "position" not in hidden.stdout and answer(run(*DRY, "--hide-ids", "--json"))["records"] is None
    assert new_files(here) == before


def test_a_run_names_the_records_that_it_erased(here: Path) -> None:
    words = [*UNLEARN, *SMALL, "--no-audit", "--device", "cpu"]
    said = run(*words).stdout
    assert "Records: 0 (position 0, label " in said and f"and {len(FORGET) - 5} more." in said


def test_a_dry_run_refuses_what_the_run_would(here: Path) -> None:
    (here / "ids.txt").write_text("900\n")
    assert run(*DRY).stderr == run(*UNLEARN).stderr != ""
    missing = run(*BARE)
    assert missing.exit_code == 2
    assert "--out is missing: name the folder to write to, or look first with --dry-run" in missing.stderr


def test_groups_on_the_command_line(here: Path) -> None:
    words = ["unlearn", "persons:task", "--checkpoint", "model.safetensors", "--forget", "keys.txt", "--groups"]
    document = answer(run(*words, "--dry-run", "--json"))
    assert [r["id"] for r in document["records"]] == [12, 13, 14, 6, 7, 8]
    assert {r["group"] for r in document["records"]} == {"person 4", "person 2"}
    shown = run(*words, "--dry-run").stdout
    assert "  12, position 12, label" in shown and "group 'person 4': first " in shown
    (here / "keys.txt").write_text("Person 4\n")
    refusal = run(*words, "--dry-run").stderr
    assert "1 group has no training records (Task.groups): 'Person 4'; 'person 4' is there" in refusal
    plain = run(*[w.replace("persons", "my_task") for w in words], "--dry-run").stderr
    assert "the request names groups, but the task has none" in plain


def test_ids_from_standard_input_as_json_lines(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_forget(monkeypatch)
    words = ["-" if word == "ids.txt" else word for word in UNLEARN]
    run(*words, "--forget-format", "jsonl", stdin="3\n4\n")
    assert seen == [[3, 4]]


def test_an_audit_by_groups(here: Path) -> None:
    words = ["keys.txt" if w == "ids.txt" else w.replace("my_task", "persons") for w in AUDIT]
    result = run(*words, "--groups", "--level", "quick", "--json")
    assert [r["position"] for r in answer(result)["report"]["records"]] == [12, 13, 14, 6, 7, 8]
