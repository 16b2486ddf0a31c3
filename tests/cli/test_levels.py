"""How much evidence a command asks for: levels, reference models from a folder, ensembles and their cache, and ids."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from efface.auditing.report import validate
from efface.models.checkpoint import load_weights, save_weights, weights_digest
from efface.unlearning import reference
from helpers.command_line import (
    AUDIT,
    FORGET,
    SMALL,
    TASK,
    UNLEARN,
    answer,
    listing,
    make_workshop,
    new_files,
    run,
    taught,
)

FIT = '''
from pathlib import Path

import torch
import torch.nn.functional as F

from my_task import task as plain


def fit(model, dataset, seed):
    """Full-batch steps of Adam; each training leaves a line."""
    with Path("trained.txt").open("a") as log:
        print(len(dataset), file=log)
    x, y = (torch.stack(part) for part in zip(*(dataset[i] for i in range(len(dataset)))))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()


def task():
    return plain(fit=fit)


def named():
    return plain(ids=[f"patient-{i:03d}" for i in range(300)])
'''
STRONG = ("--level", "strong", "--models", "8", "--jobs", "1", "--cache", "cache")
REFERENCES = ("first.safetensors", "second.safetensors")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    (folder / "fitted.py").write_text(FIT)
    for seed, name in enumerate(REFERENCES, 5):
        save_file(trained(seed).state_dict(), folder / name)
    return folder


def trained(seed: int) -> nn.Module:
    """A model that never saw the forget records."""
    return taught(len(FORGET), seed)


def folder_of(here: Path, *names: str) -> Path:
    """A folder of reference models, with a note beside them."""
    folder = here / "references"
    folder.mkdir()
    (folder / "README.txt").write_text("trained on Monday")
    for name in names:
        shutil.move(here / name, folder / name)
    return folder


def document_of(here: Path, folder: str = "run") -> Any:
    told = json.loads((here / folder / "report.json").read_text())
    validate(told)
    return told


def test_the_quick_level_trains_no_reference(here: Path) -> None:
    result = run(*AUDIT, "--level", "quick")
    assert result.stderr == "" and result.exit_code in (0, 3)
    document = document_of(here)
    assert document["level"] == "quick" and document["exchangeable"] is not None
    assert document["cost"]["audit"]["total"]["backward"] == 0
    assert "not measured: needs reference models" in result.stdout
    assert "Tests that decide (level quick;" in result.stdout or not document["tests"]


def test_the_quick_level_refuses_to_conclude_on_a_request_that_is_no_random_sample(here: Path) -> None:
    space: dict[str, Any] = {}
    exec(TASK, space)
    y = space["records"](300, 0).tensors[1]
    (here / "ids.txt").write_text("\n".join(map(str, (y == 1).nonzero().flatten()[:36].tolist())))
    result = run(*AUDIT, "--level", "quick")
    assert result.exit_code == 3
    assert (
        "Result: Undecided. Nothing can be concluded: the forget set does not look like a random sample"
        in result.stdout
    )
    assert result.stdout.count("use level standard") >= 1
    # what would have decided is not left out of the tables without a word
    for title in ("Loss attack, AUC", "Entropy attack, AUC", "Margin of a last layer fitted afresh, AUC"):
        assert f"{title} " in result.stdout and document_of(here)["tests"] == []
    assert "not applicable" in result.stdout and "never-seen records of all difficulties mislead" in result.stdout


def test_the_standard_level_is_the_default_and_trains_as_many_references_as_told(here: Path) -> None:
    assert run(*AUDIT).exit_code in (0, 3)
    assert run(*AUDIT, "--force", "--level", "standard", "--reference-models", "3").exit_code in (0, 3)
    document = document_of(here)
    assert (
        document["level"] == "standard"
        and document["exchangeable"]["is_exchangeable"]
        and document["ensembles"] is None
    )
    told = [m["what"] for m in document["models"] if "of the audit" in m["what"]]
    assert told == [f"reference {i} of the audit" for i in range(3)]


def test_the_strong_level_trains_ensembles_once(here: Path) -> None:
    """The second audit, of the weights that the first run wrote, knows their method and finds all of its models."""
    small = [w for w in SMALL if w not in ("--reference-models", "1")]
    words = ["fitted:task" if w == "my_task:task" else w for w in UNLEARN]
    result = run(*words, *small, "--reference-models", "1", *STRONG)
    assert result.stderr == "" and result.exit_code in (0, 3), result.output
    first = document_of(here)
    # retrained ones without the 36 records, originals, and shadows with about half of the canaries
    lines = (here / "trained.txt").read_text().splitlines()
    assert lines[:16] == ["264"] * 8 + ["300"] * 8 and len(lines) == 20
    canaries = first["canaries"]
    assert canaries["shadows"] == 4 and canaries["guesses"] == 2 * canaries["records"] > 0
    assert all(300 - canaries["records"] <= int(n) < 300 for n in lines[16:])
    assert [first["ensembles"][k] for k in ("originals", "unlearned", "retrained", "found")] == [8, 8, 8, 0]
    assert {t["kind"] for t in first["tests"]} >= {"attack", "distance"}
    cached = listing(here / "cache")
    assert len(cached) == 20

    words = {"my_task:task": "fitted:task", "other.safetensors": "run/unlearned.safetensors", "run": "again"}
    result = run(*(words.get(w, w) for w in AUDIT), *STRONG)
    assert result.stderr == "" and result.exit_code in (0, 3), result.output
    again = document_of(here, "again")
    assert (here / "trained.txt").read_text().splitlines() == lines, "nothing was trained"
    assert listing(here / "cache") == cached
    assert again["ensembles"]["found"] == 16 and again["ensembles"]["unlearned"] == 8
    for key in ("tests", "metrics", "canaries", "verdict"):
        assert again[key] == first[key], key


def test_the_strong_level_without_a_method_compares_the_one_model(here: Path) -> None:
    words = ["fitted:task" if w == "my_task:task" else w for w in AUDIT]
    result = run(*words, *STRONG, "--json")
    assert result.exit_code in (0, 3), result.output
    document = answer(result)["report"]
    assert [document["ensembles"][k] for k in ("originals", "unlearned", "retrained")] == [1, 1, 8]
    assert document["canaries"] is None
    rows = {m["key"]: m for m in document["metrics"]}
    assert "cannot be run again" in rows["ulira"]["unlearned"]["why"]
    assert (here / "trained.txt").read_text().splitlines() == ["264"] * 8
    # told which method made it, the audit trains originals too
    result = run(*words, *STRONG, "--method", "noop", "--force", "--json")
    assert result.exit_code in (0, 3), result.output
    told = answer(result)["report"]["ensembles"]
    assert [told[k] for k in ("originals", "unlearned", "retrained", "found")] == [8, 8, 8, 8]


@pytest.mark.parametrize("command", [UNLEARN, AUDIT], ids=["unlearn", "audit"])
def test_the_strong_level_needs_the_tasks_own_training_before_any_work(
    here: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("work began")

    for name in ("unlearn", "audit", "audit_models"):
        monkeypatch.setattr(f"efface.{name}", work)
    before = listing(here)
    result = run(*command, *STRONG)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1:] == [
        "  - level strong trains models as the original was trained: give Task.fit, or use level standard (--level)"
    ]
    assert listing(here) == before


@pytest.mark.parametrize("command", [UNLEARN, AUDIT], ids=["unlearn", "audit"])
def test_an_unknown_level_is_refused_with_the_nearest(here: Path, command: tuple[str, ...]) -> None:
    before = listing(here)
    result = run(*command, "--level", "standrd")
    assert result.exit_code == 2
    assert "  - level: expected one of quick, standard, strong, got 'standrd' (--level)" in result.stderr.splitlines()
    result = run(*command, "--level", "x", "--device", "tpu")
    assert "level: expected one of quick, standard, strong, got 'x' (--level)" in result.stderr
    assert "refused for 2 reasons" in result.stderr
    assert listing(here) == before


@pytest.mark.parametrize(
    "words", [("--models", "7"), ("--models", "eight"), ("--jobs", "0"), ("--reference-models", "0")], ids=" ".join
)
def test_numbers_out_of_range_are_refused(here: Path, words: tuple[str, str]) -> None:
    for command in (UNLEARN, AUDIT):
        result = run(*command, *words)
        assert result.exit_code == 2 and words[0] in result.stderr
    assert new_files(here) == sorted(["fitted.py", *REFERENCES])


def test_the_method_of_an_audit_must_be_known(here: Path) -> None:
    result = run(*AUDIT, "--method", "ster")
    assert result.exit_code == 2 and "there is no method 'ster' (did you mean 'steer'?)" in result.stderr


def test_reference_models_of_a_folder_are_used(here: Path) -> None:
    folder_of(here, *REFERENCES)
    result = run(*AUDIT, "--references", "references", "--reference-models", "9")
    assert result.stderr == "" and result.exit_code in (0, 3), result.output
    document = document_of(here)
    expected = []
    for name in REFERENCES:
        model = trained(0)
        load_weights(model, here / "references" / name)
        expected.append(weights_digest(model))
    told = [m for m in document["models"] if "of the audit" in m["what"]]
    assert [m["digest"] for m in told] == expected
    assert {m["trained_on"] for m in told} == {"handed in: said to have seen neither forget nor holdout records"}
    assert document["cost"]["audit"]["phases"]["references"]["backward"] == 0
    # retrained models are another thing, and stay apart
    save_weights(trained(7), here / "more.safetensors")
    again = run(*AUDIT, "--force", "--references", "references", "--retrained", "more.safetensors")
    assert again.exit_code in (0, 3), again.output
    told = [m["what"] for m in document_of(here)["models"]]
    assert told[2:] == ["reference 0 of the audit", "reference 1 of the audit", "retrained 0, handed in"]


def refuse(here: Path, *words: str) -> list[str]:
    """The problems of an audit that is refused, and writes nothing."""
    before = listing(here)
    result = run(*AUDIT, *words)
    assert result.exit_code == 2, result.output
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert listing(here) == before
    return [line.removeprefix("  - ") for line in result.stderr.splitlines()[1:]]


def test_a_folder_without_reference_models_is_refused(here: Path) -> None:
    (line,) = refuse(here, "--references", "none")
    assert line == "none: cannot be read: No such file or directory (--references)"
    (line,) = refuse(here, "--references", "ids.txt")
    assert line == "ids.txt: cannot be read: Not a directory (--references)"
    folder_of(here)
    (line,) = refuse(here, "--references", "references")
    assert line == "references: holds no weights (.safetensors, .pt, .pth, .ckpt, .bin or .pth.tar) (--references)"


def test_reference_weights_that_do_not_fit_are_refused(here: Path) -> None:
    folder = folder_of(here, REFERENCES[0])
    save_file(nn.Linear(8, 3).state_dict(), folder / "odd.safetensors")
    (folder / "torn.pt").write_bytes(b"torn")
    lines = refuse(here, "--references", "references")
    assert any("references/odd.safetensors" in line and "lacks keys of the model" in line for line in lines)
    assert any("references/torn.pt: damaged" in line for line in lines)
    assert not any(REFERENCES[0] in line for line in lines)


@pytest.mark.parametrize(
    ("name", "what"), [("model.safetensors", "the original"), ("other.safetensors", "the unlearned model")]
)
def test_what_is_judged_is_no_reference(here: Path, name: str, what: str) -> None:
    folder = folder_of(here, *REFERENCES)
    shutil.copy(here / name, folder / "third.safetensors")
    (line,) = refuse(here, "--references", "references")
    assert line == f"references[2] is {what}: the audit needs models that had no part, each once"


def test_the_methods_own_reference_is_no_reference_of_the_audit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own: list[nn.Module] = []
    real = reference.reference_model

    def spied(*args: Any) -> nn.Module:
        own.append(real(*args))
        return own[-1]

    monkeypatch.setattr(reference, "reference_model", spied)
    assert run(*UNLEARN, *SMALL).exit_code in (0, 3)
    assert len(own) == 1
    folder = folder_of(here, *REFERENCES)
    save_file(own[0].state_dict(), folder / "a.safetensors")
    words = {"other.safetensors": "run/unlearned.safetensors", "run": "again"}
    result = run(*(words.get(w, w) for w in AUDIT), "--references", "references")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[1:] == [
        "  - references[0] is the reference that the method was steered and stopped by: "
        "the audit needs models that had no part, each once"
    ]
    assert not (here / "again").exists()


def test_hidden_ids_are_nowhere(here: Path) -> None:
    names = [f"patient-{i:03d}" for i in FORGET]
    (here / "ids.txt").write_text("\n".join(names) + "\n")
    made = ("unlearn", "fitted:named", *UNLEARN[2:], "--method", "noop", "--reference-models", "1")
    for words in (made, ("audit", "fitted:named", *AUDIT[2:], "--force", "--json")):
        result = run(*words, "--hide-ids")
        assert result.exit_code in (0, 3), result.output
        written = [(here / "run" / name).read_text(encoding="utf-8") for name in ("report.json", "report.html")]
        for text in (result.output, *written):
            assert "patient" not in text
        hidden = document_of(here)["records"]
        assert {r["id"] for r in hidden} == {None} and len({r["record"] for r in hidden}) == len(FORGET)
    result = run(*words)
    assert [r["id"] for r in answer(result)["report"]["records"]] == names
    assert [r["record"] for r in answer(result)["report"]["records"]] == [r["record"] for r in hidden]
    assert names[0] in (here / "run" / "report.html").read_text(encoding="utf-8")


def test_flagged_records_are_listed_by_id_or_by_hash(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few records none may be flagged, so all of them are here."""

    def found(scores: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.arange(1, 37) / 1000, torch.ones(36, dtype=torch.bool)

    monkeypatch.setattr("efface.auditing.scores.Scores.record_tests", found)
    (here / "ids.txt").write_text("\n".join(f"patient-{i:03d}" for i in FORGET))
    words = ["fitted:named" if w == "my_task:task" else w for w in AUDIT]
    said = "36 records can still be recognised one by one: "
    assert f"{said}patient-000, patient-001, patient-002, patient-003, patient-004 and 31 more\n" in run(*words).stdout
    hidden = run(*words, "--hide-ids", "--force").stdout
    hashes = [r["record"] for r in document_of(here)["records"][:5]]
    assert f"{said}{', '.join(hashes)} and 31 more\n" in hidden
