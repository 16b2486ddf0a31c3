"""Texts of values: they fit on one screen whatever the data, and say what matters."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import efface
from efface import Verdict
from efface.auditing.verdict import Status
from efface.runtime.printing import MAX_CHARACTERS, MAX_LINES, Brief, bounded, brief, clip, sheet
from helpers.memorised import FORGET, Memorised
from helpers.tiny import REFERENCE, Tiny

pytestmark = pytest.mark.usefixtures("brief")


@dataclass(frozen=True, repr=False)
class Held(Brief):
    value: Any
    other: Any = 1


def fits(text: str) -> bool:
    return len(text.splitlines()) <= MAX_LINES <= 30 and len(text) <= MAX_CHARACTERS <= 4000


class Rude:
    """A user's object whose own text is endless."""

    def __repr__(self) -> str:
        return "rude " * 100_000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (1.5, "1.5"),
        (Status.UNDECIDED, "undecided"),
        ("a" * 9000, "..."),
        (torch.zeros(7, 3), "<Tensor, 7 x 3>"),
        (np.arange(10_000), "[0, 1, 2, 3, 4 and 9995 more]"),
        (torch.tensor(3), "<Tensor, a number>"),
        (list(range(100_000)), "[0, 1, 2, 3, 4 and 99995 more]"),
        ([list(range(100))] * 2, "[[0, 1, 2, 3, 4 and 95 more], [0, 1, 2, 3, 4 and 95 more]]"),
        ({i: i for i in range(100)}, "{0: 0, 1: 1, 2: 2, 3: 3, 4: 4 and 95 more}"),
        (nn.Linear(3, 3), "<Linear>"),
        (torch.utils.data.TensorDataset(torch.zeros(9, 2)), "<TensorDataset, 9 items>"),
        (Rude(), "<Rude>"),
        ([Rude()] * 9, "<Rude>"),
        (Held(Held(1)), "<Held>"),
        ("two\nlines", "two"),
    ],
)
def test_one_value_is_one_short_line(value: Any, shown: str) -> None:
    text = brief(value)
    assert "\n" not in text and len(text) <= 120
    assert shown in text or shown in repr(Held(value))
    assert fits(repr(Held(value, value)))


def test_the_text_of_many_fields_and_rows_is_cut_with_a_count() -> None:
    many = dataclasses.make_dataclass("Many", [(f"f{i}", str) for i in range(90)], bases=(Brief,), repr=False)
    text = repr(many(*["x" * 300] * 90))
    assert fits(text) and text.endswith("more lines")
    rows = sheet("t" * 9000, [(f"n{i}", ["y" * 900] * 9) for i in range(40)])
    assert fits(rows) and "and 5 more" in rows and rows.endswith("more lines")
    exact = [str(i) for i in range(MAX_LINES)]
    assert bounded(exact).splitlines() == exact
    assert bounded([*exact, "one"]).splitlines() == [*exact[:-1], "  ... 2 more lines"]
    assert clip("a  b\nc", 10) == "a b c" and len(clip("z" * 99, 20)) == 20


def parts(value: Any, seen: set[int], depth: int = 0) -> Iterator[Any]:
    """The dataclass objects of efface that a value holds, itself among them."""
    if id(value) in seen or depth > 8:
        return
    seen.add(id(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for f in dataclasses.fields(value):
            yield from parts(getattr(value, f.name), seen, depth + 1)
    elif isinstance(value, dict):
        for item in value.values():
            yield from parts(item, seen, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from parts(item, seen, depth + 1)


def test_a_report_and_everything_in_it_fits_on_one_screen(known: Memorised) -> None:
    report = known.audit(known.steered, retrained=known.retrained, kinds={"half": FORGET[:20], "rest": FORGET[20:]})
    found = list(parts(report, set()))
    names = {type(part).__name__ for part in found}
    assert {"Report", "Result", "Table", "Evidence", "Splits", "Verdict", "Task", "AuditInputs", "Scores"} <= names
    for part in found:
        assert fits(repr(part)), type(part).__name__
        assert str(part) == repr(part) or isinstance(part, str)


def test_a_report_says_the_verdict_and_what_it_rests_on(known: Memorised) -> None:
    report = known.audit(known.steered)
    text = str(report)
    assert text.startswith(f"Report: {report.verdict.status.capitalize().replace('_', ' ')}. {report.verdict.sentence}")
    for said in ("50 of 800 training records: 3, 19", "Steer(steps=10", "level standard, seed 0", "CPU time"):
        assert said in text
    assert report.verdict.reasons[0][:60] in text and report.verdict.next_steps[0][:60] in text
    withheld = str(known.audit(known.steered, show_ids=False))
    assert "ids withheld" in withheld and "3, 19" not in withheld


def test_a_result_says_what_was_to_be_erased_and_what_to_do_next(tiny: Tiny) -> None:
    result = efface.unlearn(
        tiny.model, forget=tiny.forget, task=tiny.task(), options=efface.UnlearnOptions(reference=REFERENCE)
    )
    text = str(result)
    assert text.startswith(
        "Result: 12 of 300 training records, unlearned by steer\n  records   5, 10, 15, 20, 25 and 7"
    )
    assert fits(text) and result.evidence.reason in text and "efface.audit(result)" in text
    assert f"weights of step {result.evidence.chosen_step} kept" in str(result.evidence)


def test_long_ids_reasons_and_evidence_are_cut(tiny: Tiny, known: Memorised) -> None:
    names = [f"{'person ' * 400}{i}" for i in range(len(tiny.x))]
    result = efface.unlearn(
        tiny.model, forget=names[:10], task=tiny.task(ids=names), method="noop", options=efface.UnlearnOptions()
    )
    many = dataclasses.replace(
        known.steered.evidence, evaluations=known.steered.evidence.evaluations * 300, reason="why " * 900
    )
    for value in (
        result,
        many,
        dataclasses.replace(result, warnings=["warned " * 900] * 900, evidence=many),
        Verdict(Status.UNDECIDED, ("reason " * 900,) * 900, 0.1, "sentence " * 900, ("step " * 900,) * 90),
    ):
        assert fits(str(value)), str(value)[:400]
    assert "and 595 more evaluations" not in str(many) and "and 592 more evaluations" in str(many)
