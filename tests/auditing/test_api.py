"""The audit on a small memorised problem: what it concludes, on which records, and what it refuses."""

import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import DivergedError, Report, RequestError, Task
from efface.auditing import inputs as inputs_module
from efface.auditing.inputs import MAX_NONMEMBERS
from efface.auditing.verdict import Status
from helpers.memorised import FORGET, HOLDOUT, Memorised, readings
from helpers.tiny import REFERENCE, Tiny, bits, memorise, mlp


def test_doing_nothing_is_caught(known: Memorised) -> None:
    report = known.audit(known.noop, retrained=known.retrained[:3])
    assert report.verdict.status is Status.NOT_VERIFIED
    assert "forget records are still known" in "\n".join(report.verdict.reasons)
    for alone in (known.audit(known.noop), known.audit(), known.audit(known.noop, level="quick")):
        assert alone.verdict.status is not Status.VERIFIED


def of_one_class(known: Memorised, count: int = 60) -> list[int]:
    """A request that is no random sample."""
    return (known.y == 1).nonzero().flatten()[:count].tolist()  # type: ignore[no-any-return]


def test_the_quick_level_trains_nothing(known: Memorised) -> None:
    task, seen = spied(known)
    report = known.audit(task=task, level="quick")
    assert not (seen["trained"] | seen["relearned"]) and "references" not in report.document["cost"]["audit"]["phases"]
    assert report.cost.total.backward == 0
    assert report.verdict.status is Status.NOT_VERIFIED
    told = report.document["exchangeable"]
    assert told["is_exchangeable"] and told["tests"][0]["title"] == "labels"
    for key in ("rmia", "lira", "spread"):
        assert readings(report, key)["unlearned"].why == "needs reference models"
    assert readings(report, "loss")["original"].state == "measured"


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with one retrained model, which is no target"])
def test_the_quick_level_concludes_nothing_on_a_request_that_is_no_random_sample(others: int, known: Memorised) -> None:
    request = of_one_class(known)
    report = known.audit(forget=request, level="quick", retrained=known.retrained[:others])
    assert (report.verdict.status, list(report.tests)) == (Status.UNDECIDED, [])
    _, reason = report.verdict.reasons  # the first says that nothing was unlearned
    assert "does not look like a random sample" in reason and "use level standard" in reason
    assert not report.document["exchangeable"]["is_exchangeable"] and report.document["roc"] is None
    for key in ("loss", "entropy", "perturbed"):
        assert readings(report, key)["unlearned"].state == "not_applicable"
    # reference models, or retrained ones as a target, are what such a request needs
    assert known.audit(forget=request).tests
    assert known.audit(forget=request, level="quick", retrained=known.retrained[:2]).tests


def test_reference_models_that_are_given_are_used_and_none_is_trained(known: Memorised) -> None:
    task, seen = spied(known)
    report = known.audit(task=task, references=known.retrained[:3], level="standard")
    assert not seen["trained"] and len(seen["relearned"]) == 2 * len(FORGET)
    assert report.document["cost"]["audit"]["phases"]["references"]["backward"] == 0
    assert len(report.table.scores.references) == 3
    told = [m for m in report.document["models"] if "of the audit" in m["what"]]
    assert len(told) == 3 and all("handed in" in m["trained_on"] for m in told)
    assert "audit: its reference models" not in [u["who"] for u in report.document["uses"]]
    ignorant = copy.deepcopy(known.retrained[1])
    for p in ignorant[2].parameters():  # type: ignore[index, union-attr]
        p.data.zero_()
    with pytest.raises(RequestError, match=r"references\[1\]: .*no better than chance"):
        known.audit(references=[known.retrained[0], ignorant])


def test_a_whole_class_is_judged_with_a_warning_and_a_trace_of_its_own(known: Memorised) -> None:
    y = known.y.clone()
    y[y == 2] = 0
    y[:60] = 2
    task = replace(known.task, train=TensorDataset(known.x, y))
    report = known.audit(task=task, forget=range(60))
    assert report.document["request"]["kind"] == "class"
    assert any("takes every record of class 2" in note for note in report.document["notes"])
    assert readings(report, "class_geometry")["original"].state in ("measured", "not_measured")
    assert known.audit().document["request"]["kind"] == "records"
    assert "class_geometry" not in {m.key for m in known.audit().metrics}


def test_a_retrained_model_is_not_failed(known: Memorised) -> None:
    distances = []
    for i, model in enumerate(known.retrained):
        report = known.audit(unlearned=model, retrained=[m for m in known.retrained if m is not model])
        assert report.verdict.status is not Status.NOT_VERIFIED, (i, report.verdict.reasons)
        before, after = (readings(report, "loss")[who].estimate.value for who in ("original", "unlearned"))
        assert abs(after - 0.5) < abs(before - 0.5)
        distances.append([readings(report, "d2_margin")[who].estimate.value for who in ("original", "unlearned")])
    assert all(theirs > 5 * ours for theirs, ours in distances)
    assert np.mean([ours for _, ours in distances]) < 0.5


def test_forgetting_too_much_is_flagged(known: Memorised) -> None:
    wrong = known.y.clone()
    wrong[list(FORGET)] = (wrong[list(FORGET)] + 1) % 3
    shunning = memorise(copy.deepcopy(known.original), known.x, wrong, steps=100, lr=3e-3)
    for others in ((), known.retrained[:3]):
        report = known.audit(unlearned=shunning, retrained=others)
        assert report.verdict.status is Status.NOT_VERIFIED
        assert "over-unlearned" in "\n".join(report.verdict.reasons)
        assert readings(report, "loss")["unlearned"].estimate.high < 0.5


@pytest.mark.parametrize("test", [True, False], ids=["with test records", "on nonmembers"])
def test_a_ruined_model_is_not_verified(test: bool, known: Memorised) -> None:
    task = known.task if test else replace(known.task, test=None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ruined = mlp(64)
    report = known.audit(unlearned=ruined, task=task)
    assert report.verdict.status is Status.NOT_VERIFIED
    assert "utility: accuracy on never-seen records fell" in "\n".join(report.verdict.reasons)


def spied(known: Memorised) -> tuple[Task, dict[str, set[bytes]]]:
    """The task, and the records that went through any model, by whether it was being trained.

    Relearned are those that a copy of a model, in eval mode, is let learn, to see how fast it does.
    """
    seen: dict[str, set[bytes]] = {"trained": set(), "relearned": set(), "scored": set()}

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        what = "trained" if model.training else "relearned" if torch.is_grad_enabled() else "scored"
        seen[what].update(row.numpy().tobytes() for row in inputs)
        return model(inputs)  # type: ignore[no-any-return]

    return replace(known.task, forward=forward), seen


def rows_of(dataset: Any, positions: Any) -> set[bytes]:
    return {dataset[int(i)][0].numpy().tobytes() for i in positions}


def test_the_audit_keeps_to_records_that_the_method_did_not_use(known: Memorised) -> None:
    task, seen = spied(known)
    splits = known.steered.splits
    known.audit(replace(known.steered, task=task))
    train, holdout = task.train, task.holdout
    used = np.concatenate([splits.calibration, splits.stopping])
    assert not set().union(*seen.values()) & rows_of(holdout, used)
    assert rows_of(holdout, splits.audit) <= seen["scored"]
    assert seen["trained"] == rows_of(train, splits.audit_reference)
    # records that stay are learned again, too, but none that the audit's references know
    staying = rows_of(train, np.setdiff1d(splits.retain, splits.audit_reference))
    allowed = rows_of(train, FORGET) | rows_of(holdout, splits.audit) | staying
    assert rows_of(train, FORGET) <= seen["relearned"] <= allowed
    assert not seen["trained"] & rows_of(train, [*splits.reference, *splits.heldout_retain, *FORGET])


def test_a_method_never_sees_the_audits_records(known: Memorised) -> None:
    task, seen = spied(known)
    result = efface.unlearn(
        known.original,
        forget=FORGET,
        task=task,
        method=known.steered.method,
        options=efface.UnlearnOptions(reference=REFERENCE),
    )
    assert not (seen["scored"] | seen["trained"]) & rows_of(task.holdout, result.splits.audit)
    assert seen["trained"] == rows_of(task.train, result.splits.reference)


def test_another_tools_model_is_judged_on_the_whole_holdout(known: Memorised) -> None:
    task, seen = spied(known)
    report = known.audit(task=task)
    assert rows_of(task.holdout, range(HOLDOUT)) <= seen["scored"]
    assert not seen["trained"] & rows_of(task.train, FORGET)
    assert len(report.document["distributions"]["original"]["holdout"]) == HOLDOUT


def test_a_holdout_sorted_by_class_is_sampled(known: Memorised, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_NONMEMBERS > HOLDOUT
    monkeypatch.setattr(inputs_module, "MAX_NONMEMBERS", 100)
    x, y = known.task.holdout.tensors  # type: ignore[attr-defined]
    order = y.argsort()
    report = known.audit(task=replace(known.task, holdout=TensorDataset(x[order], y[order])))
    targets = report.table.scores.original.nonmembers.targets
    assert len(targets) == 100 and set(targets.tolist()) == {0, 1, 2}


def only(known: Memorised, **changes: Any) -> Callable[[], Report]:
    return lambda: known.audit(**changes)


def test_what_cannot_be_judged_is_refused(known: Memorised) -> None:
    wide, deaf = nn.Linear(16, 7), nn.Linear(5, 3)
    cases = {
        r"kind 'x' names 4, not in the forget set": only(known, kinds={"x": [3, 4]}),
        r"kind 'x' is empty": only(known, kinds={"x": []}),
        r"retrained\[1\]: it has 7 classes where the original has 3": only(known, retrained=[known.retrained[0], wide]),
        r"unlearned: the model cannot read the records": only(known, unlearned=deaf),
        r"run_seed, used_reference given beside a result": only(
            known, result=known.noop, run_seed=3, used_reference="0"
        ),
        r"original: expected a torch.nn.Module, got NoneType": only(known, original=None),
        r"unlearned: expected a torch.nn.Module, got NoneType": only(known, unlearned=None),
        r"forget: expected a sequence of record ids, got None": only(known, forget=None),
        r"task: expected an efface.Task, got None": only(known, task=None),
        r"result: expected what efface.unlearn gives, got Sequential; two models are judged by": lambda: efface.audit(
            known.original  # type: ignore[arg-type]
        ),
        r"1 forget id is not in the training records": only(known, forget=[1, 900]),
    }
    for match, call in cases.items():
        with pytest.raises(RequestError, match=match):
            call()


def test_all_problems_of_a_call_are_refused_at_once(known: Memorised) -> None:
    with pytest.raises(RequestError) as refused:
        known.audit(level="thorough", references=0, seed="x", forget=[1, 900], retrained=known.original)
    for part in (
        "level: expected one of quick, standard, strong, got 'thorough'",
        "references: expected 1 or more",
        "seed: expected an integer, got 'x'",
        "1 forget id is not in the training records",
        "retrained: expected a list of models, got Sequential",
    ):
        assert any(part in p for p in refused.value.problems), part
    with pytest.raises(RequestError, match=r"options: expected an .*AuditOptions, got dict"):
        efface.audit(known.noop, options={"models": 32})  # type: ignore[arg-type]


def test_a_model_whose_logits_are_not_finite_is_named(known: Memorised) -> None:
    huge = copy.deepcopy(known.retrained[1])
    huge[2].weight.data.mul_(1e38)  # type: ignore[index, operator, union-attr]
    with pytest.raises(DivergedError, match=r"^retrained\[1\]: the logits hold NaN or infinite values"):
        known.audit(retrained=[known.retrained[0], huge])


def test_models_and_process_stay_as_they_were(known: Memorised) -> None:
    before, after = copy.deepcopy(known.original).train(), copy.deepcopy(known.retrained[0])
    after[0].weight.requires_grad_(False)  # type: ignore[index, operator, union-attr]
    held = bits(before), bits(after)
    torch.manual_seed(5)
    state = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), torch.is_grad_enabled()
    known.audit(original=before, unlearned=after, retrained=known.retrained[1:]).document["verdict"]
    assert (bits(before), bits(after)) == held
    assert state == (
        random.getstate(),
        str(np.random.get_state()),
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    )


def test_one_record_can_be_audited_and_the_report_saved(tiny: Tiny, tmp_path: Path) -> None:
    options = efface.AuditOptions(progress=False)
    report = efface.audit_models(tiny.model, tiny.fresh(), forget=[5], task=tiny.task(), references=1, options=options)
    assert report.verdict.status == "undecided"
    written, _ = report.save(tmp_path)
    assert "cka" not in {m["key"] for m in json.loads(written.read_text())["metrics"]}
