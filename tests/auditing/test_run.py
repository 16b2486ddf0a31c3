"""An audit that knows whose the records are: what counts persons instead of records, and what stays as it was."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch.utils.data import TensorDataset

from efface import Report
from efface.auditing.run import HOLDOUT_GROUPS
from efface.auditing.verdict import Status
from helpers.memorised import FORGET, HOLDOUT, TRAIN, Memorised, readings

FIVE = [f"person {i // 80}" for i in range(TRAIN)]  # of the 50 forget records, five each
ALONE = [f"person {i}" for i in range(TRAIN)]


def audit(known: Memorised, level: str = "quick", kinds: Any = None, **groups: Any) -> Report:
    task = replace(known.task, **groups)
    return known.audit(task=task, level=level, kinds=kinds or {})


def widths(report: Report, key: str, who: str = "original", records: str = "all") -> float:
    e = readings(report, key, records)[who].estimate
    assert e is not None
    return float(e.high - e.low)


@pytest.mark.parametrize("level", ["quick", "standard"])
def test_persons_of_one_record_each_change_no_number(level: str, known: Memorised) -> None:
    apart = audit(known, level, groups=ALONE, holdout_groups=range(HOLDOUT), test_groups=range(HOLDOUT))
    plain = audit(known, level)
    for part in ("tests", "metrics", "records", "exchangeable", "roc"):
        assert apart.document[part] == plain.document[part]
    assert (apart.document["request"]["groups"], plain.document["request"]["groups"]) == (50, None)
    assert "50 records of 50 groups" in apart.verdict.sentence and "50 records can" in plain.verdict.sentence
    assert not any("group" in note for note in plain.notes) and HOLDOUT_GROUPS not in apart.notes


def test_rows_of_persons_are_counted_as_persons(known: Memorised) -> None:
    plain = audit(known, kinds={"some": FORGET[:20]})
    grouped = audit(known, kinds={"some": FORGET[:20]}, groups=FIVE)
    assert grouped.document["request"]["groups"] == 10
    for one, other in zip(plain.tests, grouped.tests, strict=True):
        assert one.unlearned.value == other.unlearned.value
        assert other.unlearned.high - other.unlearned.low > one.unlearned.high - one.unlearned.low
        assert other.p > one.p
    for key in ("accuracy_forget", "loss_forget", "loss", "loss_marginal", "accuracy_retain", "loss_retain"):
        assert widths(grouped, key) > widths(plain, key), key
    assert widths(grouped, "loss", records="some") > widths(plain, "loss", records="some")
    for key in ("accuracy_holdout", "accuracy_test"):
        assert widths(grouped, key) == widths(plain, key), key
    assert "the 50 forget records belong to 10 groups, such as persons" in " ".join(grouped.notes)
    assert HOLDOUT_GROUPS in grouped.notes


def test_too_few_persons_verify_nothing_however_many_records(known: Memorised) -> None:
    task = replace(known.task, groups=FIVE)
    keep = known.audit(task=task, unlearned=known.retrained[0], retrained=known.retrained[1:])
    assert keep.verdict.status is Status.UNDECIDED
    assert any("forget records of 10 groups, such as persons, are too few" in r for r in keep.verdict.reasons)
    assert "50 records of 10 groups" in keep.verdict.sentence


def test_persons_that_were_never_seen_count_once(known: Memorised) -> None:
    plain, grouped = audit(known, groups=ALONE), audit(known, groups=ALONE, holdout_groups=np.arange(HOLDOUT) // 20)
    for one, other in zip(plain.tests, grouped.tests, strict=True):
        assert one.unlearned.value == other.unlearned.value
        assert other.unlearned.high - other.unlearned.low != one.unlearned.high - one.unlearned.low
    assert widths(grouped, "accuracy_holdout") > widths(plain, "accuracy_holdout")
    assert widths(grouped, "accuracy_test") == widths(plain, "accuracy_test")
    assert HOLDOUT_GROUPS not in grouped.notes


def test_utility_on_test_records_counts_persons(known: Memorised) -> None:
    def change(**groups: Any) -> float:
        e = known.audit(known.steered, test=None, level="quick", **groups).table.utility_change()
        return float(e.high - e.low)

    plain = change()
    known_task = replace(known.task, test_groups=[0] * (HOLDOUT // 2) + [1] * (HOLDOUT // 2))
    grouped = known.audit(replace(known.steered, task=known_task), level="quick").table.utility_change()
    assert grouped.high - grouped.low > 2 * plain


def test_other_test_records_have_no_groups_of_the_tasks(known: Memorised) -> None:
    grouped = replace(known.steered, task=replace(known.task, test_groups=[0] * HOLDOUT))
    x, y = known.task.test.tensors  # type: ignore[union-attr]
    other = known.audit(grouped, level="quick", test=TensorDataset(x[:300], y[:300]))
    plain = known.audit(known.steered, level="quick", test=TensorDataset(x[:300], y[:300]))
    assert other.table.utility_change() == plain.table.utility_change()


@pytest.mark.parametrize("keys", [tuple(FIVE), np.array(FIVE), np.arange(TRAIN) // 80])
def test_what_the_keys_are_is_no_matter(keys: Any, known: Memorised) -> None:
    found, plain = audit(known, groups=keys), audit(known, groups=FIVE)
    for part in ("tests", "metrics", "verdict"):
        assert found.document[part] == plain.document[part]
