"""Expected logits of a model that never saw a record: the map, and the memory that is taken out."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import ks_2samp
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import TensorDataset

from efface import Task
from efface.calibration.counterfactual import (
    MAX_FEATURES,
    CalibratedLogits,
    CalibrationRecords,
    CounterfactualLogits,
    original_logits,
    project_features,
)
from efface.calibration.reference import half_way_model, reference_model
from efface.data.records import Records
from efface.data.splits import Splits, make_splits
from efface.models.running import logits_of
from efface.numerics.logits import centre, mask_classes
from efface.runtime.cost import Meter
from helpers.networks import Functional
from helpers.refused import bag
from helpers.tiny import CLASSES, FEATURES, REFERENCE, Tiny, bits, memorise, mlp, records


class Built:
    """The expected logits of a task's model, with the parts that they were made from."""

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        forget: Any,
        forget_classes: tuple[int, ...] = (),
        reference: nn.Module | None = None,
        seed: int = 0,
    ) -> None:
        self.task, self.model, self.meter = task, model, Meter()
        self.train, self.holdout = Records(task.train, task), Records(task.holdout, task)
        self.splits: Splits = make_splits(np.asarray(forget), len(self.train), len(self.holdout), seed)
        self.reference = reference or self._trained(seed)
        self.expected = self.again(forget_classes)

    def _trained(self, seed: int) -> nn.Module:
        start = half_way_model(self.task, self.model, seed)
        return reference_model(self.task, start, self.train, self.splits.reference, REFERENCE, seed, self.meter)

    def places(self, forget_classes: tuple[int, ...] = (), **places: Any) -> CalibrationRecords:
        p = self.splits
        where = {"members": p.heldout_retain, "nonmembers": p.calibration, **places}
        return CalibrationRecords(self.train, self.holdout, **where, forget_classes=forget_classes)

    def again(self, forget_classes: tuple[int, ...] = (), **places: Any) -> CounterfactualLogits:
        where = self.places(forget_classes, **places)
        return CounterfactualLogits(self.task, self.model, self.reference, where, self.meter)

    def logits(self, records: Records, positions: Any) -> Tensor:
        return logits_of(self.task, self.model, records, positions, Meter()).double()


@pytest.fixture(scope="module")
def built(tiny: Tiny) -> Built:
    return Built(tiny.task(), tiny.model, tiny.forget)


@pytest.fixture(scope="module")
def large() -> Built:
    """1500 records known by heart, so that there are 300 members, and 600 nonmembers."""
    (x, y), held = records(1500, seed=40, noise=0.3), records(1200, seed=41, noise=0.3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = memorise(mlp(96), x, y, steps=200)
    return Built(Task(train=TensorDataset(x, y), holdout=TensorDataset(*held)), model, range(0, 1000, 4))


def same(one: CalibratedLogits, other: CalibratedLogits, atol: float = 1e-9) -> bool:
    return torch.equal(one.targets, other.targets) and all(
        torch.allclose(getattr(one, part), getattr(other, part), atol=atol) for part in ("logits", "expected")
    )


def test_it_has_the_originals_centred_logits_and_the_labels(built: Built) -> None:
    splits, expected = built.splits, built.expected
    for seen, source, at in (
        (expected.members, built.train, splits.heldout_retain),
        (expected.nonmembers, built.holdout, splits.calibration),
        (expected.of_training(splits.forget), built.train, splits.forget),
        (expected.of_holdout(splits.stopping), built.holdout, splits.stopping),
    ):
        torch.testing.assert_close(seen.logits, centre(built.logits(source, at)))
        assert seen.targets.tolist() == source.targets(at).tolist()
        assert seen.expected.dtype == torch.float64 and seen.expected.isfinite().all()
        torch.testing.assert_close(seen.expected.sum(1), torch.zeros(len(at)).double(), atol=1e-9, rtol=0)


def test_of_nonmembers_it_expects_nearly_what_the_original_says(large: Built) -> None:
    """Also of those that the map was not fitted on: both are read out of sample, so err alike."""
    errors = [
        float((seen.expected - seen.logits).square().mean())
        for seen in (large.expected.nonmembers, large.expected.of_holdout(large.splits.stopping))
    ]
    scale = float(large.expected.nonmembers.logits.square().mean())
    assert max(errors) < 0.25 * scale
    assert errors[0] == pytest.approx(errors[1], rel=0.3)


def test_no_label_of_a_nonmember_or_a_forget_record_is_read(built: Built, tiny: Tiny) -> None:
    """The label decides which coordinates are aligned, but not what is expected of a nonmember."""
    held = TensorDataset(tiny.holdout_x, (tiny.holdout_y + 1) % CLASSES)
    other = Built(tiny.task(holdout=held), tiny.model, tiny.forget, reference=built.reference)
    torch.testing.assert_close(other.expected.nonmembers.expected, built.expected.nonmembers.expected)


def test_the_map_is_fitted_on_nonmembers_alone(built: Built, tiny: Tiny) -> None:
    x = tiny.x.clone()
    x[torch.from_numpy(built.splits.heldout_retain)] += 1
    other = Built(
        tiny.task(train=TensorDataset(x, tiny.y)), tiny.model, tiny.forget, reference=built.reference
    ).expected
    assert same(other.nonmembers, built.expected.nonmembers)
    assert same(other.of_holdout(built.splits.stopping), built.expected.of_holdout(built.splits.stopping))
    assert not same(other.members, built.expected.members)


def test_once_its_memory_is_out_members_are_as_nonmembers(large: Built) -> None:
    expected = large.expected
    uncorrected = expected.uncorrected(large.train, large.splits.heldout_retain)
    members, raw, nonmembers = (s.score for s in (expected.members, uncorrected, expected.nonmembers))
    assert ks_2samp(raw, nonmembers).pvalue < 1e-3, "the reference remembers members"
    levels = torch.linspace(0.05, 0.95, 19).double()
    # a rank is kept to half a record, which is a three-hundredth
    torch.testing.assert_close(members.quantile(levels), nonmembers.quantile(levels), atol=0.05, rtol=0.1)
    assert (members - raw).mean() < 0
    # and the order of difficulty stays
    assert torch.equal(members.argsort(), raw.argsort())


def test_and_so_are_forget_records(large: Built) -> None:
    """Drawn as the members are, so a false alarm in a thousand."""
    forget = large.expected.of_training(large.splits.forget)
    raw = large.expected.uncorrected(large.train, large.splits.forget)
    assert ks_2samp(forget.score, large.expected.nonmembers.score).pvalue > 1e-3
    assert raw.score.mean() - forget.score.mean() > 0.1
    assert forget.margin.mean() > forget.score.mean() + 1, "the original knows them by heart"


def test_a_records_value_does_not_depend_on_its_company(built: Built) -> None:
    forget = built.splits.forget
    everyone = built.expected.of_training(forget)
    some = built.expected.of_training(forget[3:7])
    assert same(some, everyone.rows(torch.arange(3, 7)), atol=1e-5)
    before = built.meter.cost().total.forward
    assert built.expected.of_training(forget[3:7]) is some, "asked again, nothing is read again"
    assert built.meter.cost().total.forward == before
    assert same(built.expected.of_training(forget), everyone)


def test_it_changes_no_model(built: Built, tiny: Tiny) -> None:
    before = [bits(m) for m in (built.model, built.reference)]
    built.again().of_training(built.splits.forget)
    assert [bits(m) for m in (built.model, built.reference)] == before


# what the original says of members and nonmembers


def test_the_gap_is_how_much_more_often_members_are_given_their_label(built: Built) -> None:
    places = built.places()
    known = original_logits(built.task, built.model, places, Meter())
    right = []
    for seen, source, at in (
        (known.members, built.train, places.members),
        (known.nonmembers, built.holdout, places.nonmembers),
    ):
        z = built.logits(source, at)
        torch.testing.assert_close(seen, centre(z))
        labels = source.targets(at).tolist()
        hits = [max(range(CLASSES), key=row.__getitem__) == y for row, y in zip(z.tolist(), labels, strict=True)]
        right.append(sum(hits) / len(hits))
    assert known.gap == pytest.approx(right[0] - right[1]) and known.gap > 0.1, "it knows members by heart"


@pytest.mark.parametrize("request_of", ["built", "class_request"])
def test_what_is_known_is_not_read_again(request_of: str, request: pytest.FixtureRequest) -> None:
    made: Built = request.getfixturevalue(request_of)
    classes = made.expected.forget_classes
    places = made.places(classes)
    reading, meter, plain = Meter(), Meter(), Meter()
    known = original_logits(made.task, made.model, places, reading)
    given = CounterfactualLogits(made.task, made.model, made.reference, places, meter, known)
    alone = CounterfactualLogits(made.task, made.model, made.reference, places, plain)
    for part in ("members", "nonmembers"):
        assert same(getattr(given, part), getattr(alone, part), atol=0)
    forget = made.splits.forget
    assert same(given.of_training(forget), alone.of_training(forget), atol=0)
    # every record once by each of the two models, but forget records are always read
    every, both = len(places.members) + len(places.staying()), 2 * len(forget)
    assert reading.cost().total.forward == every
    assert meter.cost().total.forward == every + both
    assert plain.cost().total.forward == 2 * every + both


# classes that are wholly forgotten


FORGOTTEN = 2


@pytest.fixture(scope="module")
def class_request(tiny: Tiny) -> Built:
    """A request for all of class 2, and the records of the others beside it."""
    forget = (tiny.y == FORGOTTEN).nonzero().flatten().numpy()
    return Built(tiny.task(), tiny.model, forget, forget_classes=(FORGOTTEN,))


def test_records_of_a_forgotten_class_are_left_alone(class_request: Built, tiny: Tiny) -> None:
    forget = class_request.splits.forget
    torch.testing.assert_close(
        class_request.expected.of_training(forget).expected,
        class_request.expected.uncorrected(class_request.train, forget).expected,
    )
    # beside others, which move
    mixed = np.concatenate([class_request.splits.heldout_retain[:5], forget[:5]])
    moved = (
        class_request.expected.of_training(mixed).expected
        - class_request.expected.uncorrected(class_request.train, mixed).expected
    )
    assert (moved[:5].abs().amax(1) > 1e-6).all() and moved[5:].abs().max() < 1e-9


def test_nonmembers_of_a_forgotten_class_are_left_out(class_request: Built, tiny: Tiny) -> None:
    expected, at = class_request.expected, class_request.splits.calibration
    stay = (tiny.holdout_y != FORGOTTEN).numpy()[at]
    assert 0 < stay.sum() < len(at) and len(expected.nonmembers.targets) == stay.sum()
    assert same(class_request.again((FORGOTTEN,), nonmembers=at[stay]).nonmembers, expected.nonmembers)
    logits = class_request.logits(class_request.holdout, at[stay])
    torch.testing.assert_close(expected.nonmembers.logits, mask_classes(logits, (FORGOTTEN,)))
    for seen in (expected.nonmembers, expected.members, expected.of_training(class_request.splits.forget)):
        assert (seen.logits[:, FORGOTTEN] <= seen.logits[:, :FORGOTTEN].amin(1) + 1e-9).all()
        torch.testing.assert_close(
            seen.expected[:, :FORGOTTEN].sum(1), torch.zeros(len(seen.targets)).double(), atol=1e-9, rtol=0
        )
        # next to none is expected to be of that class, which the map learns of the few nonmembers here
        assert (seen.expected.argmax(1) == FORGOTTEN).double().mean() < 0.1


# kinds of models


def known(model: nn.Module, x: Any, y: Tensor) -> nn.Module:
    return memorise(model, x, y, steps=60)


def test_a_model_without_a_last_linear_layer(tiny: Tiny) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = [known(m, tiny.x, tiny.y) for m in (Functional(), nn.Linear(FEATURES, CLASSES))]
    for model in models:
        made = Built(tiny.task(), model, tiny.forget)
        outputs = made.expected.reference_outputs(made.holdout, made.splits.stopping)
        assert outputs.shape[1] == CLASSES, "there are only logits"
        seen = made.expected.of_training(made.splits.forget)
        assert seen.expected.isfinite().all() and seen.score.mean() < seen.margin.mean()


def test_texts_that_the_holdout_pads_to_another_length() -> None:
    """The last layer reads each word, and the model takes the mean of what it says."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(64, 8), nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.table(x))).mean(1)  # type: ignore[no-any-return]

    def texts(n: int, length: int, seed: int) -> list[tuple[Tensor, int]]:
        generator = torch.Generator().manual_seed(seed)
        return [(torch.randint(20, (length,), generator=generator) + 20 * (i % 3), i % 3) for i in range(n)]

    def collate(rows: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        return pad_sequence([r[0] for r in rows], batch_first=True), torch.tensor([r[1] for r in rows])

    train = texts(200, 3, 0)
    x, y = collate(train)
    for make in (Words, bag):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = known(make(), x, y)
        made = Built(Task(train=train, holdout=texts(150, 5, 1), collate=collate), model, range(10))  # type: ignore[arg-type]
        assert made.expected.of_training(made.splits.forget).expected.isfinite().all()


def test_a_wide_hidden_layer_is_narrowed_the_same_way_each_time(tiny: Tiny) -> None:
    hidden = torch.randn(50, 700, generator=torch.Generator().manual_seed(0)).double()
    narrow = project_features(hidden)
    assert narrow.shape == (50, MAX_FEATURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        state = torch.get_rng_state()
        torch.testing.assert_close(project_features(hidden[7:9]), narrow[7:9])
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(project_features(hidden[:, :MAX_FEATURES]), hidden[:, :MAX_FEATURES])
    # distances keep: of 50 vectors in 128 random directions
    apart = [F.pdist(v) for v in (hidden, narrow)]
    assert ((apart[1] / apart[0]) - 1).abs().max() < 0.4
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = known(mlp(200), tiny.x, tiny.y)
    made = Built(tiny.task(), model, tiny.forget)
    assert made.expected.reference_outputs(made.holdout, made.splits.stopping).shape[1] == CLASSES + MAX_FEATURES
    assert same(made.again().members, made.expected.members)
