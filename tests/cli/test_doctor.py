"""`efface doctor`: what it sees in good and bad tasks, how it ends, and that it refuses what a run would refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface.auditing.doctor.data_facts import Content, describe_inputs, label_facts
from efface.auditing.doctor.evidence_facts import (
    FEW_BOTH,
    FEW_NEVER_SEEN,
    FEW_TRAINING,
    TOO_LITTLE,
    least_size,
    why_none,
)
from efface.auditing.doctor.missing import missing_parts
from efface.auditing.doctor.price_facts import about
from efface.types import Estimate
from helpers.command_line import answer, make_workshop, new_files, run
from helpers.kinds import tiny_kind

TASKS = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

from my_task import build_model, records, task as plain

IDS = ["ada", "ada", *map(str, range(298))]


def no_holdout():
    return plain(holdout=None)


def repeated():
    return plain(ids=IDS)


def probabilities():
    return plain(forward=lambda model, x: model(x).softmax(1))


def all_wrong():
    return plain(ids=IDS, holdout=None, forward=lambda model, x: model(x).softmax(1))


def other_network():
    return plain(build_model=lambda: nn.Linear(8, 3), ids=IDS)


def rich():
    held = records(200, 1)
    copied = torch.cat([held.tensors[0], records(300, 0).tensors[0][:20]])
    holdout = TensorDataset(copied, torch.cat([held.tensors[1], records(300, 0).tensors[1][:20]]))
    fit = lambda model, data, seed: None
    return plain(
        holdout=holdout,
        ids=[f"row {i}" for i in range(300)],
        groups=[i // 3 for i in range(300)],
        fit=fit,
        describe=str,
    )
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    (folder / "tasks.py").write_text(TASKS)
    return folder


def doctor(task: str, *more: str) -> tuple[int, str]:
    result = run("doctor", task, "--checkpoint", "model.safetensors", "--device", "cpu", *more)
    assert result.stderr == "", result.stderr
    return result.exit_code, result.stdout


def test_a_good_task(here: Path) -> None:
    before = new_files(here)
    code, said = doctor("my_task:task")
    assert code == 0
    assert said.splitlines()[0] == "A deletion request can start: all checks passed that need no request."
    for words in (
        "300 training records",
        "ids are indices 0 to 299",
        "no two records have equal inputs",
        "a batch of one record is float32 (1, 8)",
        "3 classes: 0 (101 records), 1 (97 records), 2 (102 records)",
        "Sequential of 579 parameters (float32) on cpu",
        "they look like logits",
        "possible levels: quick, standard",
        "50 holdout records are left for the audit",
        "on random training records doing nothing shows +0.",
        "unlearning a small request: about",
        "  - Task.fit: level strong",
        "  - Task.ids: records are named by position",
    ):
        assert words in said, words
    assert "Problems" not in said and new_files(here) == before


def test_the_facts_as_json(here: Path) -> None:
    result = run("doctor", "tasks:rich", "--checkpoint", "model.safetensors", "--device", "cpu", "--json")
    document = answer(result)
    assert result.exit_code == 0 and document["status"] == "ready" and document["problems"] == []
    facts = document["facts"]
    assert facts["records"]["training"] == 300 and facts["records"]["ids"] == ["text"]
    assert facts["records"]["groups"] == {"count": 100, "largest": 3} and facts["records"]["repeated_ids"] == 0
    assert facts["labels"]["counts"] == {"0": 101, "1": 97, "2": 102}
    assert facts["model"]["parameters"] == facts["model"]["trainable"] == 579
    assert facts["outputs"]["shape"] == ["records", 3] and facts["outputs"]["look_like_logits"] is True
    assert facts["outputs"]["accuracy"]["training"] > 0.9 > facts["outputs"]["accuracy"]["holdout"]
    assert facts["holdout"] == {"records": 220, "shared_with_training": 20}
    assert facts["test"] == {"records": 100, "shared_with_training": 0, "shared_with_holdout": 0}
    assert facts["audit"]["levels"] == ["quick", "standard", "strong"]
    assert facts["price"]["unlearning"]["record_trainings"] > 0 < facts["price"]["audit"]["seconds"]
    assert any("20 holdout records are also training records" in line for line in document["warnings"])
    assert any(line.startswith("Task.holdout_groups:") for line in document["missing"])
    assert not any(line.startswith("Task.fit") for line in document["missing"])


REFUSED = {
    "no_holdout": ["holdout is missing: give holdout="],
    "repeated": ["ids name more than one training record: 'ada'"],
    "probabilities": ["the model returns probabilities"],
    "all_wrong": [
        "holdout is missing: give holdout=",
        "ids name more than one training record: 'ada'",
        "the model returns probabilities",
    ],
    "other_network": [
        "model.safetensors: lacks keys of the model: weight, bias",
        "ids name more than one training record: 'ada'",
    ],
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_a_run_would_refuse(here: Path, name: str) -> None:
    code, said = doctor(f"tasks:{name}")
    assert code == 2
    problems = said.partition("What efface sees")[0]
    assert problems.startswith("A deletion request would be refused: ")
    for words in REFUSED[name]:
        assert words in problems
    assert "300 training records" in said  # what can be seen is shown all the same
    document = answer(run("doctor", f"tasks:{name}", "--checkpoint", "model.safetensors", "--json"))
    assert document["status"] == "refused" and len(document["problems"]) >= len(REFUSED[name])
    asked = ("unlearn", f"tasks:{name}", "--checkpoint", "model.safetensors", "--forget", "ids.txt", "--dry-run")
    assert run(*asked).exit_code == 2


def small(x: Tensor, y: Tensor, **changes: Any) -> efface.Task:
    held = TensorDataset(torch.randn(120, 4, generator=torch.Generator().manual_seed(9)), torch.arange(120) % 2)
    return efface.Task(train=TensorDataset(x, y), holdout=held, **changes)


def drawn(records: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(records, 4, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > 0).long()


def fitted() -> nn.Module:
    """A network that knows the sign of the first input."""
    network = nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(2, 4))  # type: ignore[operator]
        network[2].weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))  # type: ignore[operator]
    return network


def test_an_empty_training_set() -> None:
    found = efface.doctor(fitted(), task=small(torch.empty(0, 4), torch.empty(0, dtype=torch.int64)))
    assert [line for line in found.problems if line.startswith("the training set is empty: expected ")]
    assert not any("forget" in line for line in found.problems)


@pytest.mark.parametrize("records", [3, 60])
def test_too_few_training_records_are_a_fact_about_the_data(records: int) -> None:
    found = efface.doctor(fitted(), task=small(*drawn(records)))
    assert f"{records} training records: fewer than a request needs, since 60 must remain; give at least 61" in (
        found.problems
    )
    assert not any("would remain" in line or "forget set" in line for line in (*found.problems, *found.warnings))


def test_twins_of_every_record_are_a_fact_about_the_data() -> None:
    x, y = drawn(100)
    found = efface.doctor(fitted(), task=small(x.repeat(2, 1), y.repeat(2)))
    assert found.problems == ()
    assert not any("twin" in line or "forget set" in line for line in found.warnings)
    assert "200 records have twins (equal inputs): a request for one of them must say what becomes" in str(found)
    same = efface.doctor(fitted(), task=small(x[:1].repeat(100, 1), y[:1].repeat(100)))
    assert any(line.startswith("each of the 100 training records has 99 twins") for line in same.problems)


class Keeping(nn.Module):
    """Keeps the outputs of its last pass, with their graph."""

    def __init__(self) -> None:
        super().__init__()
        self.network = fitted()
        self.kept = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.network(x)
        return self.kept


def test_models_that_cannot_be_copied_or_measured_as_they_are() -> None:
    model, task = Keeping(), small(*drawn(200))
    model(torch.randn(3, 4))
    facts = efface.doctor(model, task=task).of("price")
    assert facts["unlearning"]["seconds"] > 0
    lazy = efface.doctor(nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 2)), task=task)
    assert any("lazy layers" in line for line in lazy.problems) and lazy.of("model")["parameters"] == 18


def test_no_price_of_an_audit_that_is_not_possible() -> None:
    found = efface.doctor(fitted(), task=small(*drawn(100)))
    assert found.of("audit")["levels"] == ["quick"] and set(found.of("price")) == {"unlearning"}


@pytest.mark.parametrize(
    ("effect", "nonmembers", "most", "why"),
    [
        (0.3, 10, 400, FEW_NEVER_SEEN),
        (0.3, 5000, 20, FEW_TRAINING),
        (0.3, 10, 20, FEW_BOTH),
        (0.002, 5000, 10_000, TOO_LITTLE),
    ],
)
def test_why_a_test_could_clear_nothing(effect: float, nonmembers: int, most: int, why: str) -> None:
    shown = Estimate(effect, effect * 0.9, effect * 1.1, 0.95)
    assert least_size(shown, nonmembers, most) is None and why_none(shown, nonmembers, most) == why
    assert any(why in line for line in missing_parts(small(*drawn(2)), why))


def test_seconds_have_few_digits() -> None:
    assert [about(s) for s in (0.2, 2.13, 47.3, 423.0, 19_000.0)] == [
        "less than a second",
        "about 2 s",
        "about 47 s",
        "about 7 min",
        "about 5 h",
    ]


def test_one_of_something_is_singular() -> None:
    assert describe_inputs(["a text"]) == "1 text"
    [classes] = label_facts(Content(np.empty(1, "V16"), torch.tensor([3])), efface.Classes())
    assert classes.text == "1 class: 3 (1 record)"


@pytest.mark.parametrize(
    ("key", "label", "output"),
    [
        ("multilabel", "several labels, each there or not, such as '", "they look like logits"),
        ("regression", "one or more real values, such as '", "they are taken as they are"),
        ("tokens", "a sequence of classes, such as '13 positions', '16 positions'", "they look like logits"),
    ],
)
def test_a_task_without_classes_is_seen_by_its_kind(key: str, label: str, output: str) -> None:
    tiny = tiny_kind(key)
    seen = efface.doctor(tiny.model, task=tiny.task(test=tiny.data["test"]))
    assert seen.can_start, seen.problems
    assert label in repr(seen) and output in repr(seen)
    accuracy = seen.of("outputs")["accuracy"]
    assert accuracy["training"] > accuracy["holdout"]
    assert seen.of("audit")["doing_nothing"][0] > 0


def test_a_task_that_cannot_be_loaded(here: Path) -> None:
    result = run("doctor", "my_task:nothing", "--checkpoint", "no.safetensors")
    assert result.exit_code == 2 and "no.safetensors: there is no such file (--checkpoint)" in result.stderr
    result = run("doctor", "my_task:nothing", "--checkpoint", "model.safetensors")
    assert result.exit_code == 2 and "nothing" in result.stderr


def test_the_python_call() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 4, generator=generator), torch.arange(400) % 2
    data = torch.utils.data.TensorDataset(x, y)
    parts = [torch.utils.data.Subset(data, range(a, b)) for a, b in ((0, 250), (250, 400))]
    task = efface.Task(train=parts[0], holdout=parts[1])  # type: ignore[arg-type]
    found = efface.doctor(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), task=task)
    assert not found.can_start and any("knows nothing of its training records" in line for line in found.problems)
    assert found.of("model")["special_layers"] == {"BatchNorm1d": 1}
    assert str(found).startswith("A deletion request would be refused: ")
    nobody = efface.doctor(None, task=task)  # type: ignore[arg-type]
    assert nobody.problems[0].startswith("model: expected a torch.nn.Module, got NoneType")
    assert nobody.of("records")["training"] == 250
    with pytest.raises(efface.RequestError, match=r"expected an efface\.Task"):
        efface.doctor(nn.Linear(2, 2), task=3)  # type: ignore[arg-type]
