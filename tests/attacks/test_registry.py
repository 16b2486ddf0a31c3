"""The attacks of the registry against slow loops over records, what each needs, and which of them decide."""

import math

import pytest
import torch
from torch import Tensor, nn

from efface.attacks import ATTACKS
from efface.attacks.outputs import COPIES, RecordOutputs
from helpers.draws import CLASSES, RECORDS, random_outputs

SCORES = {a.key: a.score for a in ATTACKS}


def probability(logits: list[float], label: int) -> float:
    return math.exp(logits[label]) / sum(math.exp(z) for z in logits)


def slow_loss(logits: list[float], label: int) -> float:
    return math.log(probability(logits, label))


def slow_other_classes(logits: list[float], label: int) -> float:
    best, second = sorted((z for c, z in enumerate(logits) if c != label), reverse=True)[:2]
    return best - second


def slow_confidence(logits: list[float], label: int) -> float:
    return math.log(max(probability(logits, c) for c in range(len(logits))))


def slow_entropy(logits: list[float], label: int) -> float:
    return sum(p * math.log(p) for p in (probability(logits, c) for c in range(len(logits))))


def slow_modified_entropy(logits: list[float], label: int) -> float:
    """The paper's formula, its sign turned."""
    p = [probability(logits, c) for c in range(len(logits))]
    others = sum(q * math.log(1 - q) for c, q in enumerate(p) if c != label)
    return (1 - p[label]) * math.log(p[label]) + others


def slow_margin(logits: list[float], label: int) -> float:
    p = probability(logits, label)
    return math.log(p / (1 - p))


# of a record's own logits and label
OF_OWN_LOGITS = {
    "loss": slow_loss,
    "confidence": slow_confidence,
    "entropy": slow_entropy,
    "modified_entropy": slow_modified_entropy,
    "other_classes": slow_other_classes,
}


@pytest.mark.parametrize("key", [a.key for a in ATTACKS if not a.is_special])
def test_scores_are_those_of_a_slow_loop(key: str) -> None:
    outputs, references = random_outputs(0), [random_outputs(1), random_outputs(2)]
    assert outputs.copies is not None
    expected = []
    for i, label in enumerate(outputs.targets.tolist()):
        own = outputs.logits[i].tolist()
        if key in OF_OWN_LOGITS:
            expected.append(OF_OWN_LOGITS[key](own, label))
        elif key == "perturbed":
            expected.append(sum(slow_margin(z[i].tolist(), label) for z in outputs.copies) / COPIES)
        elif key == "probe":
            assert outputs.probe is not None
            expected.append(slow_margin(outputs.probe[i].tolist(), label))
        elif key in ("lira", "spread"):  # spread reads how far this score lies from that of comparable nonmembers
            out = [slow_margin(r.logits[i].tolist(), label) for r in references]
            expected.append(slow_margin(own, label) - sum(out) / len(out))
        else:  # the paper's offline approximation, with its a = 0.3
            out = sum(probability(r.logits[i].tolist(), label) for r in references) / len(references)
            expected.append(math.log(probability(own, label) / (((1 + 0.3) * out + 1 - 0.3) / 2)))
    found = SCORES[key](outputs, references)
    assert found is not None and found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_members_score_higher_where_the_model_knows_the_label_better() -> None:
    outputs, references = random_outputs(0), [random_outputs(1)]
    assert outputs.copies is not None
    lift = 2 * nn.functional.one_hot(outputs.targets, CLASSES)
    assert outputs.probe is not None
    surer = RecordOutputs(outputs.logits + lift, outputs.targets, outputs.copies + lift, outputs.probe + lift)
    for key in ("loss", "modified_entropy", "rmia", "lira", "perturbed", "probe"):
        before, after = SCORES[key](outputs, references), SCORES[key](surer, references)
        assert before is not None and after is not None and bool((after > before).all()), key
    before, after = SCORES["other_classes"](outputs, ()), SCORES["other_classes"](surer, ())
    assert before is not None and after is not None
    assert after.tolist() == pytest.approx(before.tolist(), abs=1e-5)  # no part of the margin


def test_what_is_missing_gives_none() -> None:
    for key in ("rmia", "lira", "spread"):
        assert SCORES[key](random_outputs(0), ()) is None
    assert SCORES["probe"](RecordOutputs(random_outputs(0).logits, random_outputs(0).targets, None), ()) is None
    assert SCORES["other_classes"](random_outputs(0, classes=2), ()) is None
    assert SCORES["perturbed"](random_outputs(0, copies=False), ()) is None
    for key in ("loss", "confidence", "entropy", "modified_entropy"):
        assert SCORES[key](random_outputs(0, classes=2, copies=False), ()) is not None
    for attack in ATTACKS:
        if attack.is_special:
            assert attack.score(random_outputs(0), [random_outputs(1)]) is None
    assert {a.key for a in ATTACKS if not a.needs} == {"loss"}


def test_what_decides() -> None:
    """Of attacks that order records alike one decides; the label's own score without references, RMIA and LiRA with."""
    with_references, without_references = ({a.key for a in ATTACKS if a.decides[i]} for i in (0, 1))
    both = {"entropy", "other_classes", "perturbed", "probe"}
    assert with_references == both | {"rmia", "lira", "spread"} and without_references == both | {"loss"}
    assert all(a.needs == "reference models" for a in ATTACKS if a.decides == (True, False))


@pytest.mark.parametrize("key", [a.key for a in ATTACKS if not a.is_special])
def test_each_record_is_scored_by_itself(key: str) -> None:
    def part(v: RecordOutputs, rows: Tensor) -> RecordOutputs:
        assert v.copies is not None and v.probe is not None
        return RecordOutputs(v.logits[rows], v.targets[rows], v.copies[:, rows], v.probe[rows])

    every, references = random_outputs(0), [random_outputs(1), random_outputs(2)]
    shuffled = torch.randperm(RECORDS, generator=torch.Generator().manual_seed(0))
    full = SCORES[key](every, references)
    assert full is not None
    for rows in (shuffled, torch.tensor([7])):
        some = SCORES[key](part(every, rows), [part(r, rows) for r in references])
        assert some is not None and torch.equal(some, full[rows])
