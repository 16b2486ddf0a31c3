"""That nothing judges itself: records kept apart, a run known again by its weights, and what a report may not hide."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset
from typer.testing import CliRunner

import efface
from efface import RequestError
from efface.cli.earlier_run import find_earlier_run
from efface.cli.main import app
from efface.data.splits import Splits, make_splits
from efface.models.checkpoint import load_weights, weights_digest
from efface.unlearning import driver, reference
from helpers.command_line import AUDIT, SMALL, UNLEARN, make_workshop
from helpers.memorised import FORGET, HOLDOUT, Memorised
from helpers.method_table import CONVOLUTIONAL
from helpers.tiny import CLASSES, FEATURES, REFERENCE, Tiny, Window, convolutional, make_tiny, memorise, weights

pytestmark = pytest.mark.usefixtures("brief")

BASELINES = {
    **{m: {"steps": "6"} for m in ("finetune", "perturb", "neggrad_plus", "align", "align_gan")},
    **{m: {"steps": "6"} for m in ("gradient_ascent", "random_label", "salun", "bad_teacher", "scrub", "l1_sparse")},
    "ssd": {"select": "1"},  # with the default it dampens no weight of these networks
    **{m: {"rounds": "2"} for m in ("influence", "woodfisher")},
    **{m: {"steps": "6"} for m in ("msg", "cfk", "euk", "fcs", "regun", "sfron", "delete")},
    "ct": {"steps": "60", "every": "60", "lr": "0.05"},  # until accuracy is back
    "tmu": {"steps": "6", "passes": "1", "young": "1"},
    "fisher": {"sample": "100"},
    **{m: {"steps": "6"} for m in ("boundary", "fnn", "game")},
}

READ_FEW = ("gradient_ascent", "boundary", "bad_teacher", "delete")  # they read no retain record, or a share of them


class Spying(TensorDataset):
    """Remembers which records were read since `read` was last cleared."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__(*tensors)
        self.read: set[int] = set()

    def __getitem__(self, at: int) -> tuple[torch.Tensor, ...]:
        self.read.add(int(at))
        return super().__getitem__(at)


def spied(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> tuple[Spying, Spying]:
    """Training and holdout records that tell what a run reads after the checks, which read all there are."""
    train, holdout = Spying(tiny.x, tiny.y), Spying(tiny.holdout_x, tiny.holdout_y)

    def split(*given: Any) -> Splits:
        train.read.clear()
        holdout.read.clear()
        return make_splits(*given)

    monkeypatch.setattr(driver, "make_splits", split)
    return train, holdout


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.parametrize("method", ["steer", *BASELINES])
def test_no_method_reads_the_records_that_judge_it(
    method: str, looks: bool, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, holdout = spied(tiny, monkeypatch)
    options = BASELINES.get(method, {"rounds": "2", "steps": "30"})
    result = efface.unlearn(
        make_tiny(convolutional).model if method in CONVOLUTIONAL else tiny.model,
        forget=tiny.forget,
        task=tiny.task(train=train, holdout=holdout),
        method=efface.methods.get(method, options),
        options=efface.UnlearnOptions(reference=REFERENCE, checks=False, evaluate=looks),
    )
    kept = set(result.splits.audit_reference.tolist())
    assert kept and not kept & train.read
    least = len(tiny.forget) if method in READ_FEW and not looks else 101
    assert len(train.read) >= least, "the spy saw the run"
    used = [result.splits.calibration, *([result.splits.stopping] if looks else [])]
    assert holdout.read <= set(np.concatenate(used).tolist())


def test_the_reference_is_taught_by_its_own_records_alone(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    train, holdout = spied(tiny, monkeypatch)
    real, read = reference.reference_model, []

    def watched(*given: Any) -> nn.Module:
        train.read.clear()  # what the original says of records was read before
        holdout.read.clear()
        done = real(*given)
        read.append((set(train.read), set(holdout.read)))
        return done

    monkeypatch.setattr(reference, "reference_model", watched)
    task = tiny.task(train=train, holdout=holdout)
    splits = efface.unlearn(
        tiny.model, forget=tiny.forget, task=task, method="perturb", options=efface.UnlearnOptions(reference=REFERENCE)
    ).splits
    [(taught, held)] = read
    assert taught == set(splits.reference.tolist()) and not held
    for part in (splits.forget, splits.heldout_retain, splits.audit_reference):
        assert len(part) and not taught & set(part.tolist())


@pytest.mark.parametrize("method", BASELINES)
def test_dropout_draws_from_the_seed_alone(method: str, tiny: Tiny) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = Window((1, 8), 3, (4, 4)) if method in CONVOLUTIONAL else nn.Linear(FEATURES, 32)
        net = nn.Sequential(first, nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, CLASSES))
        memorise(net, tiny.x, tiny.y, steps=60)
    found = []
    for process_seed in (1, 2):
        torch.manual_seed(process_seed)
        done = efface.unlearn(
            net,
            forget=tiny.forget,
            task=tiny.task(),
            method=efface.methods.get(method, BASELINES[method]),
            options=efface.UnlearnOptions(evaluate=False),
        )
        found.append(weights(done.model))
    assert found[0] == found[1]


def test_retraining_is_never_taken_back(tiny: Tiny) -> None:
    task = tiny.task(build_model=lambda: nn.Linear(FEATURES, CLASSES), fit=lambda model, data, seed: None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = memorise(nn.Linear(FEATURES, CLASSES), tiny.x, tiny.y)
    result = efface.unlearn(
        model, forget=tiny.forget, task=task, method="retrain", options=efface.UnlearnOptions(reference=REFERENCE)
    )
    assert result.evidence.chosen_step == 1 and weights(result.model) != weights(model)


def test_an_audit_that_knows_the_run_leaves_out_what_it_used(known: Memorised) -> None:
    result = known.steered
    same = known.audit(unlearned=result.model, run_seed=result.seed)
    assert len(same.table.scores.original.nonmembers.targets) == len(result.splits.audit)
    assert sorted(known.audit(result).document["distributions"]["original"]["holdout"]) == sorted(
        same.document["distributions"]["original"]["holdout"]
    )
    alone = known.audit(unlearned=result.model)
    assert len(alone.table.scores.original.nonmembers.targets) == HOLDOUT
    assert any("all of the holdout" in note for note in alone.document["notes"])


def test_test_records_of_other_sets_are_left_out(known: Memorised) -> None:
    assert not any("test records are also" in n for n in known.audit(known.steered).document["notes"])
    x, y = known.task.test.tensors  # type: ignore[union-attr]
    for data, kind in ((known.task.train, "training"), (known.task.holdout, "holdout")):
        own_x, own_y = data.tensors  # type: ignore[attr-defined]
        mixed = TensorDataset(torch.cat([own_x[:3], x]), torch.cat([own_y[:3], y]))
        report = known.audit(known.steered, test=mixed)
        line = f"3 test records are also {kind} records (equal inputs), the first at position 0: they were left out"
        assert any(n == f"{line}, and {len(y)} remain" for n in report.document["notes"])
        assert report.document["request"]["twins"]["test"] == 3
        plain, same = (r.table.utility_sets["test"].targets for r in (known.audit(known.steered), report))
        assert torch.equal(plain, same)
        with pytest.raises(RequestError, match="test records are also") as caught:
            known.audit(known.steered, test=TensorDataset(own_x, own_y))
        assert f"{len(own_y)} test records are also {kind} records (equal inputs)" in str(caught.value)


def test_what_the_method_used_is_no_reference_of_the_audit(known: Memorised) -> None:
    """Nor is what is judged, in whatever object it comes."""
    result, fair = known.steered, known.retrained[0]
    own: list[nn.Module] = []
    real = reference.reference_model

    def spied(*args: Any) -> nn.Module:
        own.append(real(*args))
        return own[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "reference_model", spied)
        again = efface.unlearn(
            known.original,
            forget=FORGET,
            task=known.task,
            method=result.method,
            options=efface.UnlearnOptions(reference=REFERENCE),
        )
    assert again.reference == result.reference == weights_digest(own[0])
    cases = {
        "the original": known.original,
        "the unlearned model": copy.deepcopy(result.model),
        "the reference that the method was steered and stopped by": own[0],
    }
    for what, model in cases.items():
        with pytest.raises(efface.RequestError, match=rf"references\[1\] is {what}: the audit needs models"):
            known.audit(result, references=[fair, model])
    with pytest.raises(efface.RequestError, match="steered and stopped by"):
        known.audit(unlearned=result.model, run_seed=result.seed, references=own, used_reference=result.reference)
    told = known.audit(result, references=[fair]).document
    assert [m["digest"] for m in told["models"] if m["what"] == "reference 0 of the audit"] == [weights_digest(fair)]


def test_a_report_states_what_was_so_at_the_audit(known: Memorised) -> None:
    model = nn.Sequential(
        *(type(m)(m.in_features, m.out_features) if hasattr(m, "in_features") else m for m in known.original)
    )
    model.load_state_dict(known.retrained[0].state_dict())
    report = known.audit(unlearned=model)
    before = report.document["weights"]["unlearned"]
    with torch.no_grad():
        model[0].weight += 1
    assert report.document["weights"]["unlearned"] == before


def test_each_record_has_its_distance_to_the_retrained_models(known: Memorised) -> None:
    rows = known.audit(known.steered, retrained=known.retrained).document["records"]
    assert len(rows) == len(FORGET)
    mean = {who: sum(abs(r[f"gap_{who}"]) for r in rows) / len(rows) for who in ("original", "unlearned")}
    assert mean["unlearned"] < mean["original"]
    assert all(r["gap_original"] is None for r in known.audit(known.steered).document["records"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retrained": nn.Sequential(nn.Linear(2, 2))}, "retrained: expected a list of models, got Sequential"),
        ({"references": "2"}, "references: expected a number of models, or models, got str"),
        ({"references": nn.Linear(2, 2)}, "references: expected a number of models, or models, got Linear"),
        ({"references": True}, "references: expected a number of models, or models, got bool"),
        ({"references": 0}, "references: expected 1 or more, got 0; level 'quick' needs none"),
        ({"references": []}, "references: expected models, got none"),
        ({"references": [nn.Linear(2, 2), "x"]}, "references: expected models, got str"),
        ({"level": "thorough"}, "level: expected one of quick, standard, strong, got 'thorough'"),
        ({"models": 7}, "models: expected 8 or more, got 7"),
        ({"models": 8.0}, "models: expected 8 or more, got 8.0"),
        ({"jobs": 0}, "jobs: expected a number of processes, got 0"),
        ({"method": "stear"}, "did you mean 'steer'"),
        ({"recipe": "long"}, "recipe: expected an efface.Recipe"),
        ({"kinds": [1, 2]}, "kinds: expected record ids by the name of each kind, got"),
        ({"run_seed": True}, "run_seed: expected an integer, got True"),
        ({"title": 3}, "title: expected text, got 3"),
        ({"show_ids": None}, "show_ids: expected True or False, got None"),
        ({"cache": "models"}, "cache: only level strong uses it"),
        ({"seed": "x"}, "seed: expected an integer"),
    ],
)
def test_an_audit_refuses_bad_arguments(changes: dict[str, object], said: str, known: Memorised) -> None:
    with pytest.raises(efface.RequestError, match=said):
        known.audit(**changes)


def test_the_command_line_knows_a_run_by_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_workshop(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, [*UNLEARN, *SMALL, "--seed", "7"]).exit_code in (0, 3)
    again = [w if w != "other.safetensors" else "run/unlearned.safetensors" for w in AUDIT]
    again[again.index("run")] = "audit"
    done = CliRunner().invoke(app, again)
    assert done.exit_code in (0, 3), done.output
    told = {name: json.loads((tmp_path / name / "report.json").read_text()) for name in ("run", "audit")}
    held = [sorted(t["distributions"]["unlearned"]["holdout"]) for t in told.values()]
    assert len(held[0]) == 50 and held[0] == held[1]
    digests = [[m["digest"] for m in t["models"] if "of the method" in m["what"]] for t in told.values()]
    assert digests[0] == digests[1] and len(digests[0]) == 1, "the audit names the reference that the run was made by"
    path = tmp_path / "run" / "unlearned.safetensors"
    model = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 3))
    load_weights(model, path)
    known = find_earlier_run(path, model)
    assert known is not None
    assert (known.seed, known.reference) == (7, digests[0][0])
    assert known.method == efface.methods.get("steer", {"rounds": "1", "steps": "8"})
    assert find_earlier_run(path, nn.Linear(2, 2)) is None, "other weights"
    assert find_earlier_run(tmp_path / "model.safetensors", nn.Linear(2, 2)) is None, "no report"
    report = tmp_path / "run" / "report.json"
    made = json.loads(report.read_text())
    for broken in ({**made, "method": None}, {**made, "method": {"key": "gone", "options": {}}}, {}, []):
        report.write_text(json.dumps(broken))
        assert find_earlier_run(path, model) is None
    report.write_text("{")
    assert find_earlier_run(path, model) is None


def test_all_problems_of_a_call_are_told_at_once(tiny: Tiny) -> None:
    with pytest.raises(efface.RequestError) as caught:
        efface.unlearn(tiny.model, forget=[], task=tiny.task(), method="stear", seed="x")  # type: ignore[arg-type]
    for part in ("seed: expected an integer", "did you mean 'steer'?", "the forget set is empty"):
        assert part in str(caught.value)
