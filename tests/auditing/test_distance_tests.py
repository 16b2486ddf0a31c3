"""Tests made of distances: their error rate, and models of another recipe."""

import dataclasses

import numpy as np
from scipy.stats import ks_2samp

from efface.auditing.distance_tests import distance_tests, recipe_mismatch
from helpers.ensemble_statistics import drawn, of_ensembles

MODELS = 8


def test_distance_tests_reject_models_that_are_alike_at_the_nominal_rate() -> None:
    """Adjusted p values of all distances, over 40 draws of 8 + 8 models that differ by chance alone."""
    least, unadjusted = [], []
    for seed in range(40):
        one, two, three = (drawn(MODELS, 3 * seed + k, shift) for k, shift in ((0, 2.0), (1, 0.0), (2, 0.0)))
        tests = distance_tests(of_ensembles(one, two, three), 10, "", seed)
        tests = [r for r in tests if r.family == "method"]
        least.append(min(r.p_adjusted for r in tests))
        unadjusted.append(tests[0].p)
        assert all(r.p_adjusted >= r.p for r in tests)
    assert np.mean(np.array(least) <= 0.05) <= 6 / 40  # a binomial of 40 at 5 % is above 6 once in 300
    assert ks_2samp(unadjusted, np.linspace(0, 1, 5000)).pvalue > 0.01


def test_models_of_another_recipe_are_no_measure() -> None:
    """An original far from all that Task.fit makes, on test records too, was trained by something else."""
    sides = [{**drawn(24, k), "test": drawn(24, 9 + k)["margin"]} for k in range(3)]
    seen = of_ensembles(*sides)
    assert recipe_mismatch(seen) == ""
    far = {**seen.own[0], "test": seen.own[0]["test"] + 2}
    why = recipe_mismatch(dataclasses.replace(seen, own=(far, seen.own[1])))
    assert "not like models trained by Task.fit" in why
    tests = distance_tests(seen, 10, why, 0)
    assert {r.outcome for r in tests} == {"uninformative"} and all(
        r.control_failed and r.uninformative_reason == why for r in tests
    )
