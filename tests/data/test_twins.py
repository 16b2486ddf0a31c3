"""Twins of forget records: refused, forgotten too or kept, by one switch of the run and of its audit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import efface
from efface import AuditOptions, Recipe, RequestError, Result, Task, Twins, UnlearnOptions
from efface.data.checks import Findings
from efface.data.records import Records
from efface.data.twin_policy import TwinPolicy
from efface.data.twins import TwinSet, settle
from helpers.tiny import CLASSES, RECORDS, REFERENCE, Tiny, bits, memorise

ASKED = (5, 10, 15, 20, 25)
TWINS = {200: 5, 201: 10, 202: 10}  # and 202 has another label


def twinned(tiny: Tiny, **changes: Any) -> Task:
    """Twins of records 5 and 10 in training; holdout records 3 and 4 are training records too."""
    x, y, held = tiny.x.clone(), tiny.y.clone(), tiny.holdout_x.clone()
    for twin, at in TWINS.items():
        x[twin], y[twin] = x[at], y[at]
    y[202] = (y[10] + 1) % CLASSES
    held[3], held[4] = x[60], x[5]
    return tiny.task(train=TensorDataset(x, y), holdout=TensorDataset(held, tiny.holdout_y), **changes)


def unlearn(tiny: Tiny, task: Task | None = None, **options: Any) -> Result:
    return efface.unlearn(
        tiny.model,
        forget=ASKED,
        task=task or twinned(tiny),
        method=efface.methods.Steer(rounds=2, steps=8),
        options=UnlearnOptions(reference=REFERENCE, **options),
    )


def audit(result: Result, **options: Any) -> Any:
    return efface.audit(result, references=1, options=AuditOptions(recipe=REFERENCE, **options))


def test_an_audit_cannot_state_other_twins_than_its_run(tiny: Tiny) -> None:
    """Else records that nobody erased were judged, by reference models that were trained on them."""
    kept, forgotten = unlearn(tiny, twins="keep"), unlearn(tiny, twins="forget", confirmed=tuple(TWINS))
    unchecked = unlearn(tiny, checks=False)
    for result in (kept, unchecked):
        with pytest.raises(RequestError, match=r"twins: \d of the records to judge"):
            audit(result, twins="forget", confirmed=tuple(TWINS))
    with pytest.raises(RequestError, match="twins: the run forgot the twins too"):
        audit(forgotten, twins="keep")
    assert len(audit(unchecked, twins="keep").document["records"]) == 3, "a run without checks found no twins"


def test_kept_twins_take_their_records_out_of_the_request_and_the_tests(tiny: Tiny) -> None:
    result = unlearn(tiny, twins="keep")
    assert result.twins == Twins("keep", kept=(5, 10), holdout=2)
    assert result.forget == ASKED and result.splits.forget.tolist() == [15, 20, 25]
    everyone = np.concatenate([result.splits.retain, result.splits.forget])
    assert sorted(set(range(RECORDS)) - set(everyone.tolist())) == [5, 10], "kept records are in no part"
    assert "2 of 5 forget records have a twin (equal inputs) that stays in training, and are left out" in str(
        result.warnings
    )
    report = audit(result)
    assert [r["id"] for r in report.document["records"]] == [15, 20, 25]
    request = report.document["request"]
    assert request["count"] == 3
    assert request["twins"] == {"policy": "keep", "forgotten": 0, "kept": 2, "holdout": 2, "test": 0}
    assert "Kept by a twin" in report_page(report)
    same = efface.audit_models(
        result.original,
        result.model,
        forget=ASKED,
        task=result.task,
        references=1,
        options=AuditOptions(recipe=REFERENCE, run_seed=result.seed, twins="keep"),
    )
    assert same.document["distributions"] == report.document["distributions"]
    with pytest.raises(RequestError, match="2 forget records have an exact twin that stays in training"):
        audit(result, twins="refuse")


def report_page(report: Any) -> str:
    from efface.auditing.report.html import render

    return render(report.document)


def test_twins_that_go_too_are_not_said_to_stay_with_their_group(tiny: Tiny) -> None:
    keys = [TWINS.get(at, at) for at in range(RECORDS)]  # a twin is of the same person
    task, said = twinned(tiny, groups=keys), "3 other records of the 2 groups that requested records belong to stay"
    checked = {
        twins: efface.check(tiny.model, forget=ASKED, task=task, options=UnlearnOptions(twins=twins, confirmed=ids))
        for twins, ids in (("keep", ()), ("forget", tuple(TWINS)))
    }
    stays = {twins: [line for line in plan.warnings if "other record" in line] for twins, plan in checked.items()}
    assert len(stays["keep"]) == 1 and stays["keep"][0].startswith(said) and stays["forget"] == []


def test_confirmed_twins_are_forgotten_too(tiny: Tiny) -> None:
    with pytest.raises(RequestError) as caught:
        unlearn(tiny, twins="forget", confirmed=[200, 201])
    assert "1 twins of forget records (equal inputs) are not confirmed: 202" in str(caught.value)
    result = unlearn(tiny, twins="forget", confirmed=np.array([202, 200, 201]))
    assert result.twins == Twins("forget", forgotten=(200, 201, 202), holdout=2)
    assert result.forget == ASKED and result.splits.forget.tolist() == sorted([*ASKED, *TWINS])
    report = audit(result)
    assert [r["id"] for r in report.document["records"]] == [*ASKED, 200, 201, 202]
    assert report.document["request"]["twins"]["forgotten"] == 3
    assert "Twins forgotten too" in report_page(report)
    named = twinned(tiny, ids=[f"r{i}" for i in range(RECORDS)])
    with pytest.raises(RequestError, match="not confirmed: 'r200', 'r201', 'r202'; look at them"):
        efface.unlearn(tiny.model, forget=[f"r{i}" for i in ASKED], task=named, options=UnlearnOptions(twins="forget"))


def test_a_refusal_of_twins_lists_them_and_the_switches(tiny: Tiny) -> None:
    before = bits(tiny.model)
    with pytest.raises(RequestError) as caught:
        unlearn(tiny)
    (line,) = caught.value.problems
    assert "5 (twin of 200), 10 (twin of 201, 202, some with another label); forget" in line
    assert 'twins="forget"' in line and 'twins="keep"' in line
    assert "drop" not in line, "without its rows here, the model would go on knowing the record by its twin"
    assert bits(tiny.model) == before


def test_a_result_says_how_many_records_were_erased_of_those_asked_for(tiny: Tiny) -> None:
    both = repr(unlearn(tiny, twins="forget", confirmed=[200, 201, 202]))
    assert f"Result: {len(ASKED) + 3} of {RECORDS} training records" in both
    assert "3 twins of them were erased too" in both
    kept = repr(unlearn(tiny, twins="keep"))
    assert f"Result: {len(ASKED) - 2} of {RECORDS} training records" in kept
    assert "2 more were asked for, but a twin keeps them" in kept
    assert " 5, 10" not in kept.split("twins")[0]


def test_a_long_list_of_twins_is_cut(tiny: Tiny) -> None:
    twin_sets = [TwinSet((i,), (i + 100,)) for i in range(50)]
    train, found = Records(tiny.task().train, tiny.task()), Findings()
    settle(twin_sets, TwinPolicy(), train, np.arange(50), range(RECORDS), found)
    assert found.problems[0].startswith("50 forget records have an exact twin")
    assert found.problems[0].count("twin of") == 20 and " and 30 more; forget" in found.problems[0]


def test_records_beside_the_twins_keep_their_jobs(tiny: Tiny) -> None:
    """A seed draws the same splits with and without twins, but for the records that are left out."""
    kept, plain = unlearn(tiny, twins="keep").splits, unlearn(tiny, task=tiny.task()).splits
    for name in ("retain", "reference", "heldout_retain", "audit_reference"):
        assert np.array_equal(getattr(kept, name), getattr(plain, name))
    for name in ("calibration", "stopping", "audit"):
        expected = [at for at in getattr(plain, name).tolist() if at not in (3, 4)]
        assert getattr(kept, name).tolist() == expected
    assert set(plain.calibration.tolist()) | set(plain.stopping.tolist()) | set(plain.audit.tolist()) >= {3, 4}


def test_an_audit_handles_the_twins_of_a_run_that_did_not_compare(tiny: Tiny) -> None:
    result = unlearn(tiny, checks=False)
    assert result.twins == Twins() and result.splits.forget.tolist() == list(ASKED)
    with pytest.raises(RequestError, match="have an exact twin"):
        audit(result)
    report = audit(result, twins="keep")
    assert [r["id"] for r in report.document["records"]] == [15, 20, 25]
    nonmembers = len(report.table.scores.original.nonmembers.targets)
    assert nonmembers == len([at for at in result.splits.audit.tolist() if at not in (3, 4)])


def test_kinds_of_an_audit_may_name_kept_records(tiny: Tiny) -> None:
    report = audit(unlearn(tiny, twins="keep"), kinds={"some": [5, 15, 20]})
    assert report.document["request"]["kinds"] == {"some": 2}


def sessions(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Short sessions of a few items, and the item that follows: most of them occur more than once."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(8, (n, 3), generator=generator)
    noise = torch.randint(4, (n,), generator=generator)
    return x, torch.where(torch.rand(n, generator=generator) < 0.2, noise, x.sum(1) % 4)


class NextItem(nn.Module):
    """Reads a session item by item."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.reader, self.head = nn.Embedding(8, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        read, _ = self.reader(self.items(x))
        return self.head(read[:, -1])


def test_next_items_of_short_sessions_end_to_end() -> None:
    """Most sessions have twins and are in the holdout and the test set too; the run and its audit say so, and end."""
    x, y = sessions(400, seed=0)
    torch.manual_seed(0)
    model = memorise(NextItem(), x, y, steps=80, lr=2e-2)
    held = sessions(600, seed=1)
    task = Task(train=TensorDataset(x, y), holdout=TensorDataset(*held), test=TensorDataset(*sessions(300, seed=2)))
    forget, rest = list(range(40)), {tuple(row) for row in x[40:].tolist()}
    alone = [i for i in forget if tuple(x[i].tolist()) not in rest]
    with pytest.raises(RequestError, match="forget records have an exact twin"):
        efface.unlearn(model, forget=forget, task=task)
    recipe = Recipe(epochs=6, lr=2e-2, batch=32, least_steps=120)
    result = efface.unlearn(
        model,
        forget=forget,
        task=task,
        method=efface.methods.Steer(rounds=2, steps=8),
        options=UnlearnOptions(twins="keep", reference=recipe),
    )
    assert result.splits.forget.tolist() == alone and len(result.twins.kept) == len(forget) - len(alone) > 10
    known = {tuple(row) for row in x.tolist()}
    assert result.twins.holdout == sum(tuple(row) in known for row in held[0].tolist()) > 100
    report = efface.audit(result, references=1, options=AuditOptions(recipe=recipe))
    assert len(report.document["records"]) == len(alone)
    assert report.document["request"]["twins"]["test"] > 50 and str(report.verdict.status)


@pytest.mark.parametrize(
    ("confirmed", "missing", "extra"),
    [([201, 200], "", ""), ([200, 9, 9], "1 twins", "1 confirmed ids"), (["200", "201"], "2 twins", "2 confirmed ids")],
)
def test_just_the_twins_that_are_there_can_be_confirmed(
    confirmed: list[Any], missing: str, extra: str, tiny: Tiny
) -> None:
    train, found = Records(tiny.task().train, tiny.task()), Findings()
    twin_sets = [TwinSet((5,), (200,)), TwinSet((10,), (201,))]
    settle(twin_sets, TwinPolicy("forget", confirmed), train, np.array([5, 10]), range(RECORDS), found)
    wanted = [f"{missing} of forget records (equal inputs) are not confirmed: "] * bool(missing)
    wanted += [f"{extra} are no twins of a forget record: "] * bool(extra)
    assert [line.startswith(start) for line, start in zip(found.problems, wanted, strict=True)] == [True] * len(wanted)
