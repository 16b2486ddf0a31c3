"""The table and the tests of an audit for every kind of outputs."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from efface.attacks.outputs import RecordSet, collect_outputs
from efface.attacks.relearn import matched
from efface.auditing.attack_tests import attack_tests
from efface.auditing.ensemble_outputs import CELLS, read_places, standardised
from efface.auditing.exchangeability import compare
from efface.auditing.report.first_screen import first_screen
from efface.auditing.report.links import terms_of
from efface.auditing.report.parts import outputs_part
from efface.auditing.scores import Scores
from efface.auditing.table import Table
from efface.auditing.utility_rows import UtilitySet
from efface.data.records import Records
from efface.kinds import Kind, kind_by_key
from efface.models.running import logits_of
from efface.runtime.cost import Meter
from efface.task import Task
from helpers.kinds import KEYS, TinyKind, tiny_kind
from helpers.report_document import example, metric

FORGET, REST = np.arange(40), np.arange(40, 300)
MODELS = 3  # retrained


def jittered(tiny: TinyKind, seed: int) -> nn.Module:
    """The model with some noise on its weights, as another training might have left it."""
    model, generator = copy.deepcopy(tiny.model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * weight.square().mean().sqrt() * torch.randn(weight.shape, generator=generator))
    return model


def task_of(key: str) -> Task:
    """The tiny task with its kind, which knows the spread of the targets."""
    task = tiny_kind(key).task(kind=key, test=tiny_kind(key).data["test"])
    task.kind = task.rules.measured(Records(task.train, task).targets(REST))
    return task


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    """The table of each kind."""
    made = {}
    for key in KEYS:
        tiny, task = tiny_kind(key), task_of(key)
        train, holdout, test = (Records(part, task) for part in (task.train, task.holdout, tiny.data["test"]))
        models = [tiny.model, *(jittered(tiny, seed) for seed in range(1 + MODELS + 2))]
        sets = RecordSet(train, FORGET), RecordSet(holdout, np.arange(150)), RecordSet(train, REST)
        found = collect_outputs(task, models, *sets, 0, Meter())
        last = 2 + MODELS
        scores = Scores(found[0], found[1], found[2:last], found[last:], {})
        read = [logits_of(task, m, test, np.arange(100), Meter()) for m in models[:last]]
        labels = test.targets(np.arange(100))
        made[key] = Table(scores, {"test": UtilitySet(labels, read[0], read[1], read[2:], rules=task.rules)})
    return made


@pytest.mark.parametrize("key", KEYS)
def test_rows_of_the_table_are_those_of_the_kind(key: str, tables: dict[str, Table]) -> None:
    table, rules = tables[key], task_of(key).rules
    rows = {m.key: m for m in table.metrics()}
    assert rows["accuracy_forget"].title == f"{rules.utility} on forget"
    assert rows["loss_test"].title == ("Loss (nats) on test" if rules.is_probable else "Loss on test")
    assert ("tow" in rows) == math.isfinite(rules.least)
    assert ("min_k" in rows) == ("zlib" in rows) == ("extracted_holdout" in rows) == (key == "tokens")
    assert rows["d2_margin"].title.endswith("retrained, margin")
    assert ("d2_other_classes" in rows) == (key != "binary")
    if key != "binary":
        assert rows["d2_other_classes"].title.endswith(f"gap of {rules.words.other_short}")
    for row in rows.values():
        reading = row.unlearned
        assert (reading.estimate is None) == bool(reading.why), row.key
        assert reading.estimate is None or math.isfinite(reading.estimate.value), row.key
    useful = rules.useful(table.utility_sets["test"].unlearned, table.utility_sets["test"].targets)
    found = rows["accuracy_test"].unlearned.estimate
    assert found is not None and found.low < found.value < found.high
    assert found.value == pytest.approx(float(useful.mean()))
    change = table.utility_change()
    assert change.low <= change.value <= change.high


@pytest.mark.parametrize("key", KEYS)
def test_doing_nothing_is_seen_by_tests_of_every_kind(key: str, tables: dict[str, Table]) -> None:
    tests = {t.key: t for t in attack_tests(tables[key].scores)}
    assert {"lira", "rmia", "perturbed"} <= set(tests)
    assert ("entropy" in tests) == tables[key].scores.rules.is_probable
    assert not {"min_k", "zlib", "confidence"} & set(tests)
    assert tests["lira"].original.value > 0.05
    assert sum(table is not None for table in tables[key].record_gaps().values()) == 2


@pytest.mark.parametrize("key", KEYS)
def test_ensembles_have_the_cells_of_the_kind(key: str) -> None:
    task, tiny = task_of(key), tiny_kind(key)
    train, holdout = Records(task.train, task), Records(task.holdout, task)
    places = {"forget": RecordSet(train, FORGET), "control": RecordSet(holdout, np.arange(100))}
    found = standardised(read_places(task, tiny.model, places, Meter()))
    expected = {"margin", "perturbed", "logits"} | ({"other_classes"} if key != "binary" else set())
    assert set(found) == expected
    assert all(bool(values.isfinite().all()) for values in found.values())
    assert all("{" not in cell.title_for(task.rules) for cell in CELLS)


@pytest.mark.parametrize("key", KEYS)
def test_a_request_is_compared_by_its_labels_where_they_are_classes(key: str, tables: dict[str, Table]) -> None:
    seen = tables[key].scores.original
    titles = [title for title, _ in compare(seen.forget, seen.nonmembers, 0).tests]
    assert ("labels" in titles) == seen.forget.rules.has_classes
    assert {"margin", "margin on perturbed copies"} <= set(titles)


def test_controls_are_matched_by_difficulty_alone_where_there_are_no_classes() -> None:
    forget, candidates = torch.tensor([0.0, 5.0]), torch.tensor([9.0, 4.0, 0.5])
    assert matched(forget, candidates, None, None).tolist() == [2, 1]


@pytest.mark.parametrize("key", KEYS)
def test_a_report_speaks_of_the_kind(key: str) -> None:
    rules: Kind = kind_by_key(key)
    document = {**example(), "outputs": outputs_part(rules)}
    document["metrics"] = [metric("accuracy_test", "on test", "all", "utility", (0.9, 0.8, 0.9))]
    assert terms_of(document)["margin"].definition == rules.words.definition
    assert len(rules.words.definition) < 260
    assert len(f"margin ({rules.words.margin})") <= 40, "the figure has no room for more"
    said = " ".join(first_screen(document).found)
    assert rules.has_classes == ("the model is right in" in said)
    assert rules.has_classes or f"On never-seen records its {rules.words.utility} is " in said
    document["verdict"] = {**document["verdict"], "reasons": ["utility: it fell"], "status": "not_verified"}
    document["tests"] = []
    assert f"lost more of its {rules.words.utility}" in " ".join(first_screen(document).found)
