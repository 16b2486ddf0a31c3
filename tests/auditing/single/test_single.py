"""Looks at single requested records: what is known of each before and after, and what a look could have seen."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from efface import Report
from efface.auditing.single.run import MAX_REQUEST
from efface.kinds import CLASSES
from helpers.memorised import FORGET, Memorised

KEYS = ["lira", "perturbed", "other_classes", "relearning"]


def audited(known: Memorised, forget: Any, unlearned: Any, **changes: Any) -> Report:
    return known.audit(**{"forget": forget, "unlearned": unlearned, "seed": 3, **changes})


@pytest.fixture(scope="module")
def few(known: Memorised) -> Report:
    return audited(known, FORGET, known.retrained[0], retrained=known.retrained[1:2])


def test_every_look_ranks_each_record_in_each_model(few: Report) -> None:
    looks = few.findings.single_records
    assert [each.key for each in looks] == KEYS
    for each in looks:
        assert not each.why
        assert set(each.ranks) == {"original", "unlearned", "retrained"}
        assert all(len(r) == len(each.records) == len(each.could_see) for r in each.ranks.values())
        assert all(0 <= v <= 1 for r in (*each.ranks.values(), each.could_see) for v in r)
    assert looks[0].records == tuple(range(len(FORGET)))


def test_the_original_knows_its_records_and_a_retrained_model_does_not(few: Report) -> None:
    margin = few.findings.single_records[0]
    before, after = np.array(margin.ranks["original"]), np.array(margin.ranks["unlearned"])
    assert before.mean() > 0.62
    assert abs(after.mean() - 0.5) < 0.1
    # the forget set is any part of the training set, so as many of it stand out as of the records that stay
    assert np.mean(margin.could_see) == pytest.approx((before > 0.95).mean(), abs=0.1)


def test_a_record_that_was_skipped_stays_where_it_was(known: Memorised) -> None:
    looks = audited(known, FORGET[:1], known.original).findings.single_records
    assert all(each.ranks["original"] == each.ranks["unlearned"] for each in looks)
    assert "retrained" not in looks[0].ranks


def test_looks_decide_nothing_and_are_for_requests_of_few_records(known: Memorised, few: Report) -> None:
    assert "relearning" not in {t.key for t in few.tests}
    assert len(FORGET) == MAX_REQUEST
    many = audited(known, [*FORGET, 0], known.original)
    given = audited(known, FORGET[:3], known.original, references=known.retrained)
    for report in (many, given):  # given references may know the records that stay
        assert not report.findings.single_records and report.document["single_records"] == []


def test_the_report_says_each_in_one_line(known: Memorised, few: Report) -> None:
    shown = few.document["single_records"]
    assert [each["key"] for each in shown] == KEYS
    assert few.document["records"][shown[0]["records"][3]["record"]]["id"] == FORGET[3]
    single = audited(known, FORGET[:1], known.retrained[0])
    lines = [each["records"][0]["sentence"] for each in single.document["single_records"]]
    assert all(line in repr(single) for line in lines)
    assert "before" in lines[0] and ("would stand out" in lines[0] or "cannot see" in lines[0])


def test_a_look_that_sees_nothing_says_so() -> None:
    from efface.auditing.single.record_ranks import RecordRanks

    ranks = {"original": (0.9, 0.9), "unlearned": (0.4, 0.4)}
    found = RecordRanks("lira", "Margin", 50, (0, 1), ranks, (0.06, 0.7))
    assert found.sentence(0) == (
        "Margin: more like a training record than 90 % of the never-seen records before, 40 % after unlearning; "
        "so small a trace this look cannot see"
    )
    assert found.sentence(1).endswith("a record that was skipped would stand out 70 times in 100")


def test_looks_that_fail_do_not_lose_the_audit(known: Memorised, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("element 0 of tensors does not require grad")

    monkeypatch.setattr("efface.auditing.single.run.ranks_by_relearning", fail)
    report = audited(known, FORGET[:1], known.original)
    assert report.findings.single_records == () and report.document["single_records"] == []
    note = "single records were not looked at: RuntimeError: element 0 of tensors does not require grad"
    assert note in report.findings.notes


def test_what_a_look_could_have_seen_is_read_on_near_records_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 training records only the nearest 20 count, though 100 may."""
    from efface.auditing.single import from_outputs

    nearest: list[torch.Tensor] = []
    monkeypatch.setattr(from_outputs, "Scores", lambda *_: None)
    monkeypatch.setattr(from_outputs, "_ranks", lambda *given: nearest.append(given[-1]))
    scores: Any = SimpleNamespace(rules=CLASSES)
    training: Any = [None, None]
    from_outputs.ranks_by_outputs(scores, training, torch.arange(80.0)[None])
    assert sorted(nearest[0][0].tolist()) == list(range(20))
