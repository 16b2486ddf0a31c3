"""A real data set, distinct records and planted label noise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.data.sets import digits, distinct, pen_digits, plant_label_noise
from efface.errors import EffaceError, RequestError


def test_digits() -> None:
    x, y = digits()
    assert x.shape == (1797, 1, 8, 8)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert y.unique().tolist() == list(range(10))
    assert abs(float(x.mean())) < 0.01
    assert abs(float(x.std()) - 1) < 0.01
    assert len(distinct(x)) == len(x)


def test_distinct_keeps_first_occurrences_in_order() -> None:
    x = torch.tensor([[3.0, 1.0], [0.0, 0.0], [3.0, 1.0], [1.0, 3.0], [-0.0, 0.0]])
    assert distinct(x).tolist() == [0, 1, 3]
    assert distinct(x.bfloat16().reshape(5, 1, 2)).tolist() == [0, 1, 3]
    assert distinct(torch.tensor([4, 4, 2])).tolist() == [0, 2]
    assert distinct(torch.zeros(0, 3)).tolist() == []
    assert distinct(torch.zeros(2, 0)).tolist() == [0]


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(*[st.integers(-1, 1)] * 2), min_size=1, max_size=20))
def test_distinct_agrees_with_a_plain_search(rows: list[tuple[int, int]]) -> None:
    expected = [i for i, row in enumerate(rows) if row not in rows[:i]]
    assert distinct(torch.tensor(rows)).tolist() == expected
    assert distinct(torch.tensor(rows).float()).tolist() == expected


@settings(deadline=None)  # a busy machine is no failure
@given(st.data())
def test_label_noise_changes_exactly_the_share(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 5))
    y = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), max_size=30)), dtype=torch.int64)
    share = data.draw(st.floats(0, 1))
    seed = data.draw(st.integers(0, 2**63 - 1))
    before, state = y.clone(), torch.get_rng_state()
    noisy, changed = plant_label_noise(y, classes, share, seed)
    again, _ = plant_label_noise(y, classes, share, seed)
    assert torch.equal(y, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(noisy, again)
    assert torch.equal(noisy != y, changed)
    assert int(changed.sum()) == round(share * len(y))
    assert noisy.dtype == y.dtype
    assert ((noisy >= 0) & (noisy < classes)).all()


def test_label_noise_is_spread_over_the_other_classes() -> None:
    noisy, changed = plant_label_noise(torch.zeros(4000, dtype=torch.int64), 5, 0.5, 0)
    counts = torch.bincount(noisy[changed], minlength=5)[1:]
    # 2000 draws over four classes: five standard deviations are 97
    assert ((counts - 500).abs() < 97).all()
    assert not torch.equal(changed, plant_label_noise(torch.zeros(4000, dtype=torch.int64), 5, 0.5, 1)[1])


def test_label_noise_refuses_every_problem_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        plant_label_noise(torch.tensor([0, 3]), 3, 1.5, 0)
    assert caught.value.problems == (
        "labels must lie in 0 to 2, not 0 to 3",
        "the share of noisy labels must lie in 0 to 1, not 1.5",
    )
    with pytest.raises(RequestError, match="at least 2 classes"):
        plant_label_noise(torch.tensor([0]), 1, 0.5, 0)
    with pytest.raises(RequestError, match="not nan"):
        plant_label_noise(torch.tensor([0]), 2, float("nan"), 0)


def test_pen_digits() -> None:
    x, y = pen_digits()
    assert x.shape == (10_992, 16) and x.dtype == y.dtype == torch.int64
    assert (int(x.min()), int(x.max())) == (0, 100) and len(distinct(x)) == len(x)
    assert y.bincount().tolist() == [1143, 1143, 1144, 1055, 1144, 1055, 1056, 1142, 1055, 1055]


def test_another_file_of_pen_digits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.data.sets.PEN_DIGITS_SHA256", "0" * 64)
    with pytest.raises(EffaceError, match="expected sha256 0000"):
        pen_digits()
