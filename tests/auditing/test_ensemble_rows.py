"""Rows that need ensembles, on statistics that are drawn."""

import pytest

from efface.auditing.ensemble_rows import ensemble_rows
from efface.auditing.readings import Metric
from efface.metrics.klom import MIN_KLOM_MODELS
from helpers.ensemble_statistics import drawn, of_ensembles


def values(metric: Metric) -> list[float]:
    readings = (metric.original, metric.unlearned, metric.retrained)
    return [r.estimate.value for r in readings if r.estimate is not None]


def test_with_enough_models_klom_is_measured_and_tells_models_apart() -> None:
    for n, halves in ((MIN_KLOM_MODELS, "not_measured"), (2 * MIN_KLOM_MODELS, "measured")):
        seen = of_ensembles(drawn(n, 0, 3.0), drawn(n, 1), drawn(n, 2))
        found = {m.key: m for m in ensemble_rows(seen)}
        for key in ("klom_mean", "klom_95"):
            assert (found[key].original.state, found[key].retrained.state) == ("measured", halves)
            read = values(found[key])
            assert read[0] > 2 * read[1]
        assert values(found["ulira"])[1:] == pytest.approx([0.5, 0.5], abs=0.03) and values(found["ulira"])[0] > 0.8
