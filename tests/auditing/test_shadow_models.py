"""Level strong, end to end: ensembles by a fast Task.fit, the two controls, and an audit that knows no method."""

import copy
import dataclasses
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import efface
from efface import Report, RequestError, Result, Task
from efface.auditing import run, shadow_models
from efface.auditing.audit_test import adjust_tests
from efface.auditing.ensemble_outputs import ensemble_places
from efface.auditing.ensemble_rows import NO_ENSEMBLE
from efface.auditing.readings import Metric
from efface.auditing.report.document import validate
from efface.auditing.run import MAX_TARGETS
from efface.auditing.verdict import Forgotten, Status, decide
from efface.data.records import Records
from efface.metrics.klom import MIN_KLOM_MODELS
from efface.models.ensembles import ModelSpec, Training, train_ensemble
from efface.models.running import logits_of
from efface.numerics.logits import margin
from efface.request import check_request
from efface.runtime.cost import Meter
from efface.runtime.seeds import derive_seed
from efface.unlearning import checks
from helpers.judged import FORGET, MODELS, Judged, alone, fit, kept_models, problem, stable, strong, tune
from helpers.tiny import REFERENCE

ENSEMBLE_KEYS = {"ulira", "klom_mean", "klom_95", "epsilon"}
STEER = {"rounds": "1", "steps": "5"}


def row(report: Report, key: str) -> Metric:
    [found] = [m for m in report.metrics if m.key == key]
    return found


def values(metric: Metric) -> list[float]:
    readings = (metric.original, metric.unlearned, metric.retrained)
    return [r.estimate.value for r in readings if r.estimate is not None]


def distances(report: Report) -> dict[str, Any]:
    """Tests of this model."""
    return {r.key: r for r in report.tests if r.family == "model"}


def of_method(report: Report) -> dict[str, Any]:
    """Tests of other models by the same method."""
    return {r.key.removeprefix("method_"): r for r in report.tests if r.family == "method"}


def test_doing_nothing_is_told_from_retraining() -> None:
    report = strong("noop")
    assert report.verdict.status is Status.NOT_VERIFIED
    tests = of_method(report)
    assert set(tests) == {f"d2_{k}" for k in ("margin", "other_classes", "perturbed", "logits", "neighbours")}
    assert set(distances(report)) == set(tests)
    assert min(r.p for r in distances(report).values()) == pytest.approx(1 / (MODELS + 1)), "the least there is"
    for key in ("d2_margin", "d2_perturbed", "d2_logits"):
        assert tests[key].outcome == "left", key
        assert tests[key].unlearned.value == pytest.approx(1) and tests[key].original.value == pytest.approx(1)
        assert any(reason.startswith(tests[key].title) for reason in report.verdict.reasons)
    # 2,000 assignments of 16 models to two groups of 8: the observed one and its mirror are the furthest
    assert tests["d2_margin"].p <= 4 / 2000
    validate(report.document)


def test_retraining_is_not_told_from_retraining() -> None:
    report = strong("retrain")
    assert report.verdict.status is not Status.NOT_VERIFIED, report.verdict.reasons
    tests = of_method(report)
    assert len(tests) == 5 and "left" not in {r.outcome for r in tests.values()}
    assert tests["d2_margin"].outcome == "cleared" and tests["d2_margin"].unlearned.high < 0.25
    assert all(r.p > 0.05 for r in tests.values())
    ours, theirs = values(row(report, "ulira")), values(row(strong("noop"), "ulira"))
    assert abs(ours[1] - 0.5) < 0.1 < theirs[1] - 0.5
    assert ours[0] == theirs[0] and ours[2] == theirs[2], "the same originals and retrained models"
    validate(report.document)


def slow_share(report: Report, judged: Judged) -> float:
    """Excess d2 of doing nothing by plain loops, from models trained here by the seeds of the ensembles."""
    own = derive_seed(0, "audit")
    sides = []
    for what, at in (("original", np.arange(len(judged.y))), ("retrained", report.inputs.splits.retain)):
        specs = [ModelSpec(None, at, derive_seed(own, "ensemble", what, str(k))) for k in range(MODELS)]
        training = Training(REFERENCE, kept_models(), jobs=1)
        made = train_ensemble(judged.task, judged.original, specs, training, Meter())
        assert made.found == MODELS, "the audit's own models"
        lines = []
        for model in made.models:
            told = []
            for data, where in ((judged.task.train, list(FORGET)), (judged.task.holdout, report.inputs.nonmembers)):
                records = Records(data, judged.task)
                z = logits_of(judged.task, model, records, where, Meter())
                v = margin(z, records.targets(where)).numpy()
                told.append(np.sign(v) * np.log1p(np.abs(v)))
            lines.append((told[0] - told[1].mean()) / told[1].std(ddof=1))
        sides.append(np.array(lines))
    ours, theirs = sides
    gaps, units = [], []
    for i in range(len(FORGET)):
        a, b = ours[:, i], theirs[:, i]
        gaps.append((a.mean() - b.mean()) ** 2 - a.var(ddof=1) / len(a) - b.var(ddof=1) / len(b))
        units.append(b.var(ddof=1))
    return float(np.mean(gaps) / np.mean(units))


def test_the_distance_is_that_of_a_slow_loop_over_the_models() -> None:
    report = strong("noop")
    assert values(row(report, "ensemble_d2_margin"))[0] == pytest.approx(slow_share(report, problem()), rel=1e-4)


def test_rows_of_retain_and_test_are_reported_and_never_decide() -> None:
    for method in ("noop", "retrain"):
        report = strong(method)
        decisive = {m.key: m.decisive for m in report.metrics if m.key.startswith("ensemble_d2_")}
        assert {k for k, d in decisive.items() if not d} == {"ensemble_d2_retain", "ensemble_d2_test"}
        assert all(m.retrained.state == "measured" for m in report.metrics if m.key in decisive)
        assert not {"d2_retain", "d2_test"} & {r.key for r in report.tests}
    # original and retrained models differ on what only the ones forgot: far less on retain records
    assert values(row(strong("noop"), "ensemble_d2_retain"))[0] < values(row(strong("noop"), "ensemble_d2_margin"))[0]


def test_klom_needs_32_models_of_each_kind() -> None:
    for key in ("klom_mean", "klom_95"):
        found = row(strong("noop"), key)
        for reading, n in ((found.original, MODELS), (found.unlearned, MODELS), (found.retrained, MODELS // 2)):
            assert (reading.state, reading.estimate) == ("not_measured", None)
            assert f"there are {n} + {n}" in reading.why
    assert MIN_KLOM_MODELS == 32


def test_without_a_method_only_the_one_model_is_compared() -> None:
    report = alone()
    assert report.document["ensembles"]["unlearned"] == report.document["ensembles"]["originals"] == 1
    assert report.document["ensembles"]["retrained"] == MODELS
    assert report.document["canaries"] is None
    for key in ENSEMBLE_KEYS:
        found = row(report, key)
        for reading in (found.original, found.unlearned, found.retrained):
            assert (reading.state, reading.why) == ("not_measured", NO_ENSEMBLE)
    # retrained elsewhere, it is not told from the retrained ones; and with 1 + 8 models nothing else could be shown
    assert report.verdict.status is not Status.NOT_VERIFIED, report.verdict.reasons
    for test in distances(report).values():
        assert test.outcome != "left" and test.p >= 1 / (MODELS + 1) - 1e-9
    assert abs(values(row(report, "ensemble_d2_margin"))[1]) < 2


def wrong_labels(judged: Judged) -> nn.Module:
    y = judged.y.clone()
    y[list(FORGET)] = (y[list(FORGET)] + 1) % 3
    return tune(judged.original, judged.x, y)


def test_a_foreign_model_is_far_away() -> None:
    judged = problem()
    near, far = alone(), judged.audit(unlearned=wrong_labels(judged), level="strong", cache=kept_models())
    before, after, control = values(row(far, "ensemble_d2_margin"))
    assert before > 1 and after > 1 and abs(control) < 0.5
    assert after > 4 * abs(values(row(near, "ensemble_d2_margin"))[1])
    assert far.verdict.status is Status.NOT_VERIFIED
    assert "over-unlearned" in "\n".join(far.verdict.reasons)
    # of 9 assignments the observed one is the furthest: the least p value there is
    assert distances(far)["d2_margin"].p == pytest.approx(1 / (MODELS + 1))
    assert distances(far)["d2_margin"].unlearned.value > 0.5


def test_a_method_that_forgets_does_not_speak_for_weights_that_it_did_not_make() -> None:
    """Half original, half retrained weights, said to be by retraining: its shadows are clean, and clear nothing."""
    judged = problem()
    mixed = judged.audit(unlearned=judged.original, level="strong", cache=kept_models(), method="retrain")
    assert {r.outcome for r in of_method(mixed).values()} <= {"cleared", "uninformative"}
    assert mixed.verdict.status is Status.NOT_VERIFIED
    only = [
        dataclasses.replace(r, uninformative_reason="" if r.family == "method" else "too few")
        for r in adjust_tests(mixed.tests)
    ]
    told = [dataclasses.replace(r, p=1.0, p_adjusted=1.0) for r in only]
    found = decide(told, None, Forgotten(60), "them")
    assert found.status is Status.UNDECIDED and "reads this model itself" in "\n".join(found.reasons)


def test_models_from_the_cache_give_the_same_document() -> None:
    judged, first = problem(), strong("noop")
    again = judged.audit(judged.unlearned("noop"), level="strong", cache=kept_models())
    assert again.document["ensembles"]["found"] == 2 * MODELS
    assert stable(again) == stable(first)
    assert again.document["cost"]["audit"] != first.document["cost"]["audit"]
    # and without any cache, what is trained now is the same
    anew = judged.audit(judged.unlearned("noop"), level="strong")
    assert anew.document["ensembles"]["found"] == 0 and stable(anew) == stable(first)


class Spy:
    """Which records go through a model while a shadow of the run is unlearned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: set[bytes] = set()
        self.checking = False
        self.calls: list[dict[str, Any]] = []
        real = efface.unlearn

        def unlearn(model: nn.Module, *, task: Task, **rest: Any) -> Result:
            if rest["options"].splits is None:  # a shadow with canaries, which no nonmember judges
                return real(model, task=task, **rest)
            self.calls.append(rest)

            def forward(net: nn.Module, inputs: Tensor) -> Tensor:
                if not self.checking:
                    self.seen.update(r.numpy().tobytes() for r in inputs)
                return task.forward(net, inputs)

            return real(model, task=replace(task, forward=forward), **rest)

        def check(*args: Any, **rest: Any) -> Any:
            self.checking = True  # checks of the model itself may read any record
            try:
                return check_request(*args, **rest)
            finally:
                self.checking = False

        monkeypatch.setattr(shadow_models, "unlearn", unlearn)
        monkeypatch.setattr(checks, "check_request", check)


def rows_of(dataset: Any, positions: Any) -> set[bytes]:
    return {dataset[int(i)][0].numpy().tobytes() for i in positions}


def test_shadows_keep_to_the_parts_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    judged, spy = problem(), Spy(monkeypatch)
    result = judged.unlearned(efface.methods.get("steer", STEER))  # type: ignore[arg-type]
    report = judged.audit(result, level="strong", cache=kept_models())
    assert len(spy.calls) == MODELS and len({c["seed"] for c in spy.calls}) == MODELS
    assert all(c["options"].splits is result.splits and tuple(c["forget"]) == FORGET for c in spy.calls)
    assert all(c["method"] == result.method for c in spy.calls)
    task, splits = judged.task, result.splits
    assert not spy.seen & rows_of(task.holdout, report.inputs.nonmembers)
    assert not spy.seen & rows_of(task.train, splits.audit_reference)
    assert spy.seen >= rows_of(task.train, FORGET) | rows_of(task.holdout, splits.calibration), "the spy saw the run"


def test_shadows_of_a_run_that_is_not_known_stay_off_their_own_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonmembers are then the whole holdout, but what the ensembles' scale is read from must be unseen by shadows."""
    judged, spy, made = problem(), Spy(monkeypatch), []
    real = shadow_models.make_ensembles

    def remembered(*args: Any) -> Any:
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr(run, "make_ensembles", remembered)
    method, task = efface.methods.get("steer", STEER), replace(judged.task, test=None)
    report = judged.audit(method=method, task=task, level="strong", cache=kept_models())
    assert len(report.inputs.nonmembers) == len(judged.task.holdout)  # type: ignore[arg-type]
    assert spy.calls and rows_of(judged.task.train, FORGET) <= spy.seen
    places = ensemble_places(report.inputs, made[0], Meter())
    for name in ("control", "near", "test"):
        place = places[name]
        assert len(place.positions) and not spy.seen & rows_of(place.records.dataset, place.positions), name
    control, elsewhere = places["control"].positions, places["test"].positions
    assert not set(control.tolist()) & set(elsewhere.tolist()) and len(control) == len(elsewhere) == 50


def test_retrained_models_are_what_single_models_are_measured_against() -> None:
    report = strong("noop")
    assert len(report.table.scores.retrained) == min(MODELS, MAX_TARGETS) and report.table.scores.against_retrained
    assert report.document["cost"]["retrain"]["models"] == MODELS
    assert math.isfinite(report.document["cost"]["ratio_cpu"])
    whos = {u["who"]: u["records"] for u in report.document["uses"]}
    assert whos["audit: its retrained models"] == len(problem().y) - len(FORGET)


def test_what_level_strong_cannot_do_is_refused() -> None:
    judged = problem()
    with pytest.raises(RequestError, match=r"give Task\.fit, or use level standard"):
        judged.audit(task=replace(judged.task, fit=None), level="strong")
    with pytest.raises(RequestError, match="models: expected 8 or more, got 7"):
        judged.audit(level="strong", models=7)
    with pytest.raises(RequestError, match="method given beside a result"):
        judged.audit(judged.unlearned("noop"), method="noop", level="strong")
    assert fit is judged.task.fit


def test_a_shadow_that_the_method_cannot_change_stays_as_it_is() -> None:
    """As the method leaves the caller's model, but the audit goes on."""
    judged = problem()
    inputs = strong("noop").inputs
    still = efface.methods.get("ssd", {"select": "1e9"})
    idle = replace(inputs, method=still)
    meter = Meter()
    ids, shadow = inputs.request.ids, copy.deepcopy(judged.original)
    shadow.kept = [2 * p for p in shadow.parameters()]  # with a graph, which copy.deepcopy refuses
    made = shadow_models.forget_by_method(idle, judged.task, shadow, ids, 0, None, meter)
    assert made is not shadow
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), judged.original.parameters(), strict=True))
    assert meter.cost().total.forward > 0
