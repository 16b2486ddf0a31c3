"""Attacks on outputs of every kind: which ones a kind has, and those that only sequences have, against slow loops."""

import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

from efface.attacks import ATTACKS, by_key
from efface.attacks.outputs import RecordOutputs, copier
from efface.data.records import Records
from efface.kinds import KINDS, Kind, Tokens, kind_by_key
from efface.kinds.tokens import CHANGED
from helpers.draws import normal
from helpers.kinds import IGNORED, KEYS, tiny_kind

RECORDS, POSITIONS, VOCABULARY = 12, 9, 6
EVERYWHERE = {"loss", "rmia", "lira", "spread", "perturbed"}
PROBABLE = {"confidence", "entropy"}
# the attacks that each kind has, where copies were made and a last layer was fitted afresh
HAVE = {
    "classes": EVERYWHERE | PROBABLE | {"modified_entropy", "other_classes", "probe"},
    "binary": EVERYWHERE | PROBABLE | {"modified_entropy", "probe"},
    "multilabel": EVERYWHERE | PROBABLE | {"modified_entropy", "other_classes", "probe"},
    "regression": EVERYWHERE | {"other_classes", "probe"},
    "tokens": EVERYWHERE | PROBABLE | {"other_classes", "min_k", "zlib"},
}


def outputs_of(key: str, seed: int) -> RecordOutputs:
    """What a model with random weights says of holdout records of a kind, with a head where there is one."""
    tiny, rules = tiny_kind(key), kind_by_key(key)
    inputs, targets = (part[:20] for part in tiny.data["holdout"].tensors)
    model = tiny.fresh()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(normal(*weight.shape, seed=seed).float() / 3)
        values = rules.values(model(inputs), targets)
    fitted = rules.head(normal(20, 3), rules.labels(targets), values)
    probe = None if fitted is None else fitted(normal(20, 3))
    return RecordOutputs(values, rules.labels(targets), torch.stack([values] * 4), probe, rules=rules)


def test_every_kind_has_a_row() -> None:
    assert set(HAVE) == set(KINDS) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_the_attacks_that_a_kind_has(key: str) -> None:
    own, references = outputs_of(key, 0), [outputs_of(key, 1), outputs_of(key, 2)]
    scores = {a.key: a.score(own, references) for a in ATTACKS}
    assert {name for name, score in scores.items() if score is not None} == HAVE[key]
    for name, score in scores.items():
        assert score is None or (score.shape == (20,) and bool(score.isfinite().all())), name
        assert score is None or len(score.unique()) > 10, name
    assert {a.title_for(own.rules) for a in ATTACKS} >= {own.rules.words.other, "Loss attack"}


@pytest.mark.parametrize("key", KEYS)
def test_who_knows_a_record_better_scores_higher(key: str) -> None:
    rules, own = kind_by_key(key), outputs_of(key, 0)
    margin = rules.margin(own.logits, own.targets)
    better = rules.with_margin(rules.compared(own.logits).double(), own.targets, margin / 2 + 1)
    surer = own.logits.double().clone()
    surer[:, : better.shape[1]] = better
    knows = margin < 1.9
    assert bool(knows.any())
    for name in ("loss", "lira"):
        scores = [
            by_key(name).score(RecordOutputs(v, own.targets, None, rules=rules), [own]) for v in (own.logits, surer)
        ]
        assert scores[0] is not None and scores[1] is not None
        assert bool((scores[1] > scores[0])[knows].all()), name


def sequences() -> tuple[Tensor, Tensor, Kind, RecordOutputs]:
    """Logits of sequences of two lengths, their targets, and what is kept of them."""
    logits, rules = 2 * normal(RECORDS, POSITIONS, VOCABULARY), Tokens()
    targets = torch.randint(VOCABULARY, (RECORDS, POSITIONS), generator=torch.Generator().manual_seed(3))
    targets[::2, 6:] = IGNORED
    return (
        logits,
        targets,
        rules,
        RecordOutputs(rules.values(logits, targets), rules.labels(targets), None, rules=rules),
    )


def counted(logits: Tensor, targets: Tensor) -> list[list[tuple[Tensor, int]]]:
    """The log-probabilities and the target of each position that counts, record by record."""
    rows = zip(logits.log_softmax(2), targets, strict=True)
    return [[(z, int(c)) for z, c in zip(zs, cs, strict=True) if c != IGNORED] for zs, cs in rows]


def test_attacks_on_sequences_are_those_of_a_slow_loop() -> None:
    logits, targets, _, outputs = sequences()
    least, packed, gaps = [], [], []
    for record in counted(logits, targets):
        standard = []
        for z, c in record:
            mean = float((z.exp() * z).sum())
            standard.append((float(z[c]) - mean) / float((z.exp() * (z - mean) ** 2).sum()) ** 0.5)
        lowest = sorted(standard)[: -int(-0.2 * len(standard) // 1)]
        least.append(sum(lowest) / len(lowest))
        content = np.array([c for _, c in record], dtype=np.int32).tobytes()
        packed.append(sum(float(z[c]) for z, c in record) / len(zlib.compress(content)))
        tops = [sorted((v for k, v in enumerate(z.tolist()) if k != c), reverse=True) for z, c in record]
        gaps.append(sum(top[0] - top[1] for top in tops) / len(tops))
    for key, expected in (("min_k", least), ("zlib", packed), ("other_classes", gaps)):
        found = by_key(key).score(outputs, ())
        assert found is not None and found.tolist() == pytest.approx(expected, rel=1e-4), key


def test_measures_of_sequences_are_those_of_a_slow_loop() -> None:
    logits, targets, rules, outputs = sequences()
    expected: dict[str, list[float]] = {}
    for record in counted(logits, targets):
        each, right = [float(z[c]) for z, c in record], [int(z.argmax()) == c for z, c in record]
        after = right[::-1].index(False) if False in right else len(right)
        shares = {"memorised": sum(right) / len(right), "extracted": after / len(right)}
        for key, value in {"likelihood_sum": sum(each), "likelihood_worst": min(each), **shares}.items():
            expected.setdefault(key, []).append(value)
    found = {m.key: m.of_records.tolist() for m in rules.measures(outputs.logits, outputs.targets)}
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-4, abs=1e-6), key


def test_a_copy_of_a_sequence_takes_a_tenth_of_its_positions_from_elsewhere_in_it() -> None:
    tiny = tiny_kind("tokens")
    task = tiny.task(kind="tokens")
    perturb = copier(task, Records(task.train, task))
    assert perturb is not None
    x = torch.arange(400 * 50).view(400, 50)
    copied = perturb(x, torch.Generator().manual_seed(0))
    # a position may be drawn for itself; five standard deviations
    share = float((copied != x).double().mean())
    assert share == pytest.approx(CHANGED * 49 / 50, abs=5 * (CHANGED / x.numel()) ** 0.5)
    assert bool((copied // 50 == x // 50).all())
    assert torch.equal(copied, perturb(x, torch.Generator().manual_seed(0)))
    several = tiny.task(kind="tokens", unpack=lambda batch: ({"ids": batch[0], "mask": batch[0] > 0}, batch[1]))
    assert copier(several, Records(several.train, several)) is None  # which of them is the sequence?
