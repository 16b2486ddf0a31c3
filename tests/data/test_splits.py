"""Splits: every record has one job, whatever the sizes, and the seed alone decides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from efface.data.splits import HOLDOUT_SHARES, MAX_SIZES, RETAIN_SHARES, leave_out, make_splits


@settings(max_examples=40, deadline=None)
@given(st.integers(60, 20_000), st.integers(100, 20_000), st.integers(1, 50), st.integers(0, 2**40))
def test_splits(records: int, holdout: int, size: int, seed: int) -> None:
    forget = np.random.default_rng(seed).choice(records, size, replace=False)
    parts = make_splits(forget, records, holdout, seed)
    assert np.array_equal(parts.forget, np.sort(forget))
    assert np.array_equal(np.sort(np.concatenate([parts.forget, parts.retain])), np.arange(records))
    most = {**MAX_SIZES, "stopping": max(MAX_SIZES["stopping"], size)}
    for names, everyone in ((RETAIN_SHARES, parts.retain), (HOLDOUT_SHARES, np.arange(holdout))):
        parts_of = [getattr(parts, name) for name in names]
        joined = np.concatenate(parts_of)
        assert len(np.unique(joined)) == len(joined) and np.isin(joined, everyone).all()
        for (name, share), part in zip(names.items(), parts_of, strict=True):
            # to the last part goes what the others leave
            left = (
                len(everyone) - sum(map(len, parts_of[:-1])) if part is parts_of[-1] else round(share * len(everyone))
            )
            assert len(part) == min(left, most.get(name, left)) > 0
    same = make_splits(forget[::-1], records, holdout, seed)
    other = make_splits(forget, records, holdout, seed + 1)
    assert all(np.array_equal(getattr(same, n), v) for n, v in vars(parts).items())
    assert not np.array_equal(other.reference, parts.reference)


def test_there_are_as_many_stopping_records_as_forget_records() -> None:
    """Where the holdout has them, and not fewer than for a small request."""
    most = MAX_SIZES["stopping"]
    sizes = (1, most, most + 1, 3 * most)
    parts = [make_splits(np.arange(size), 10_000, 10_000, seed=0) for size in sizes]
    assert [len(p.stopping) for p in parts] == [most, most, most + 1, 3 * most]
    assert len(make_splits(np.arange(3 * most), 10_000, 1000, seed=0).stopping) == 250
    # the other parts are no larger for it
    assert {len(p.calibration) for p in parts} == {MAX_SIZES["calibration"]}
    assert {len(p.reference) for p in parts} == {MAX_SIZES["reference"]}


def test_records_left_out_leave_all_others_in_their_parts() -> None:
    splits = make_splits(np.arange(10), 400, 300, seed=3)
    assert leave_out(splits, np.arange(0), np.arange(0)) is splits
    rest = leave_out(splits, np.array([4, 7]), np.array([0, 1, 299]))
    assert rest.forget.tolist() == [0, 1, 2, 3, 5, 6, 8, 9]
    for name in ("retain", *RETAIN_SHARES):
        assert np.array_equal(getattr(rest, name), getattr(splits, name))
    for name in HOLDOUT_SHARES:
        assert getattr(rest, name).tolist() == [i for i in getattr(splits, name).tolist() if i not in (0, 1, 299)]
