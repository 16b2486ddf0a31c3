"""A new audit of the model in service is about all that its lineage forgot."""

from pathlib import Path

from efface import Task
from efface.models.checkpoint import weights_digest
from efface.store import Store
from efface.store.keys import read_key, short_tag
from helpers.store_cases import BATCHES, QUICK, people, task_of
from helpers.store_verbs import refused
from helpers.tiny import Tiny, mlp


def test_a_new_audit_is_about_all_that_the_lineage_forgot(tmp_path: Path, tiny: Tiny) -> None:
    store = Store.create(tmp_path / "store", task_of(tiny), tiny.model)
    for wanted in BATCHES:
        store.add(people(wanted))
        store.run(QUICK)
    report = store.verify(references=1).report
    assert report is not None
    key = read_key(store.key_path)
    assert key is not None
    tags = {short_tag(key.tag(name)) for wanted in BATCHES for name in people(wanted)}
    assert {r["id"] for r in report.document["records"]} == tags
    assert report.document["weights"] == {
        "original": weights_digest(tiny.model),
        "unlearned": store.status().serving.weights,
    }


def test_the_original_that_is_given_must_be_the_one(path: Path, task: Task, tiny: Tiny) -> None:
    store = Store(path, task)
    assert refused(store.verify, original=mlp()) == (
        "the model given is not version 1, which the lineage began with (original, or --original)",
    )
    assert store.verify(original=tiny.model, references=1).report is not None
