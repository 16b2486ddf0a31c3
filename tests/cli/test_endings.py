"""How commands end: advice after every answer that is no yes, and no weights where nothing was unlearned."""

import json
from pathlib import Path

import pytest

from helpers.command_line import AUDIT, SMALL, UNLEARN, answer, new_files, run

RUINOUS = (
    *("--method", "neggrad_plus", "--option", "alpha=0", "--option", "steps=60", "--option", "every=60"),
    *("--option", "lr=0.05"),
)


def test_where_nothing_was_unlearned_no_weights_are_written(here: Path) -> None:
    result = run(*UNLEARN, *RUINOUS)
    assert (result.exit_code, result.stderr) == (8, "")
    lines = result.stdout.splitlines()
    cost, empty, conclusion, meaning = lines[(at := lines.index("")) - 1 : at + 3]
    assert cost.startswith("Cost: unlearning by neggrad_plus ") and empty == ""
    assert conclusion.startswith(
        "Result: Nothing unlearned. Nothing may count as erased, and no weights were written: "
    )
    assert "held-out accuracy fell by" in conclusion
    assert meaning.startswith("Meaning: This means that the model is as it was, ")
    assert any(line.startswith("Next: let the method go less far, for example with lr=") for line in lines)
    assert lines[-1].startswith("Next: ")
    assert new_files(here) == []


@pytest.mark.parametrize("audited", [(), ("--no-audit",)])
def test_as_json_it_is_one_document_with_the_evidence(here: Path, audited: tuple[str, ...]) -> None:
    result = run(*UNLEARN, *RUINOUS, *audited, "--json")
    said = answer(result)
    assert (result.exit_code, said["status"], said["files"], said["report"]) == (8, "nothing_unlearned", {}, None)
    assert said["evidence"]["chosen_step"] == 0 and said["evidence"]["outcome"] == "utility_floor"
    assert (said["method"]["key"], said["seed"]) == ("neggrad_plus", 0)
    assert said["reasons"][0].startswith("no step could be kept") and len(said["next"]) > 1
    assert said["cost"]["steps"]["backward"] > 0
    assert new_files(here) == []


def test_old_files_stay_as_they_were(here: Path) -> None:
    run(*UNLEARN, *SMALL)
    before = {name: (here / name).read_bytes() for name in new_files(here) if (here / name).is_file()}
    assert before and run(*UNLEARN, *RUINOUS, "--force").exit_code == 8
    assert {name: (here / name).read_bytes() for name in before} == before


def test_an_answer_that_is_no_yes_says_what_to_do_next_everywhere(here: Path) -> None:
    result = run(*AUDIT)
    document = json.loads((here / "run/report.json").read_text())
    verdict, page = document["verdict"], (here / "run/report.html").read_text()
    assert result.exit_code == 3 and verdict["next"]
    assert [line for line in result.stdout.splitlines() if line.startswith("Next: ")] == [
        f"Next: {step}." for step in verdict["next"]
    ]
    assert "<h3>What can be done, with the call or the command</h3>" in page
    assert answer(run(*AUDIT, "--force", "--json"))["next"] == verdict["next"]


def test_without_an_audit_the_next_step_is_an_audit(here: Path) -> None:
    shown = run(*UNLEARN, *SMALL, "--no-audit").stdout
    assert "Next: let an audit judge it: efface.audit(result) (efface audit, " in shown
    assert answer(run(*UNLEARN, *SMALL, "--no-audit", "--force", "--json"))["next"]


def test_a_store_honours_nothing_by_a_run_that_unlearned_nothing(here: Path) -> None:
    init = ("init", "my_task:task", "--checkpoint", "model.safetensors", "--device", "cpu")
    assert run(*init).exit_code == 0
    assert run("request", "add", "--ids", "ids.txt").exit_code == 0
    for accept in ("undecided", "any"):
        result = run("run", *RUINOUS, "--accept", accept, "--no-audit")
        assert result.exit_code == 8
        lines = result.stdout.splitlines()
        assert lines[0] == "Result: Nothing unlearned."
        assert lines[1].startswith("  - no step could be kept, so the weights are the original's: held-out accuracy")
        assert "honours nothing: the model stays as it was, and request 1 pending." in result.stdout
        assert "\nNext: let the method go less far" in result.stdout and "rejected" not in result.stdout
    said = answer(run("run", *RUINOUS, "--json"))
    assert (said["status"], said["version"]) == ("nothing_unlearned", None) and said["next_steps"]
    status = answer(run("status", "--json"))
    assert [r["number"] for r in status["pending"]] == [1] and len(status["versions"]) == 1
    assert run("run", *SMALL[:4], "--no-audit").exit_code == 3, "another method honours it"
    assert answer(run("status", "--json"))["pending"] == []
