"""Plans of runs: what is refused before any work."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from efface import Task
from efface.methods import REGISTRY, get
from efface.store import RunPlan, Store
from efface.store.plan import check_plan, contradictions
from helpers.store_cases import ANEW, IDS
from helpers.store_verbs import everything, refused
from helpers.tiny import Tiny, mlp


@pytest.fixture
def store(asked_store: Store) -> Store:
    return asked_store


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        ({"method": "noop"}, ["method 'noop' is a control, which honours nothing"]),
        ({"method": "retrain"}, ["method 'retrain' is a control"]),
        ({"method": "stear"}, ["did you mean 'steer'?"]),
        ({"options": {"stepps": 3}}, ["stepps"]),
        ({"options": ["steps=3"]}, ["options: expected the values by name, such as {'steps': '40'}, got ['steps=3']"]),
        ({"method": get("steer")}, ["method: a plan names the method by its key, and has its options beside it"]),
        ({"method": type(get("steer"))}, ["method: a plan names the method by its key"]),
        (
            {"accept": ["any"]},
            ["no_trace_found, undecided, any, got ['any']"],
        ),
        (
            {"seed": True, "references": True},
            ["references: expected an integer", "seed: expected an integer, got True"],
        ),
        (
            {"accept": "not_verified"},
            ["no_trace_found, undecided, any"],
        ),
        ({"level": "thorough"}, ["level: expected one of quick, standard, strong, got 'thorough'"]),
        ({"references": 0}, ["references: expected an integer of 1 or more, got 0"]),
        ({"seed": 1.5}, ["seed: expected an integer, got 1.5"]),
        (
            {"level": None, "accept": "verified"},
            ["without a level (--no-audit) there is none: leave one"],
        ),
        ({"level": None, "references": 8}, ["8 reference models are asked for, and none is trained"]),
        ({"level": "quick", "references": 8}, ["8 reference models are asked for"]),
        ({"retrain": True, "level": "strong"}, ["level 'strong' asks for an audit, and a retrained model"]),
        ({"retrain": True, "level": "quick"}, ["level 'quick' asks for an audit"]),
        ({"retrain": True, "accept": "verified"}, ["accept 'verified' asks for an audit, and a retrained model"]),
        ({"retrain": True, "accept": "no_trace_found"}, ["accept 'no_trace_found' asks for an audit, and a retrained"]),
        ({"level": "quick", "rehearse": True}, ["a rehearsal is part of an audit at level standard or strong"]),
        (
            {"retrain": True, "method": "finetune", "level": "strong", "accept": "verified", "references": 8},
            ["takes no method or option", "level 'strong' asks", "accept 'verified' asks", "8 reference models"],
        ),
        (
            {"retrain": "yes", "level": None, "accept": "verified"},
            ["without a level", "retrain: expected True or"],
        ),
        (
            {"level": None, "accept": "verified", "references": 0},
            ["without a level", "references: expected an integer"],
        ),
        ({"accept": "", "seed": None, "method": "noop"}, ["seed", "accept", "control"]),
    ],
)
def test_a_plan_is_refused_before_any_work(store: Store, plan: dict[str, Any], lines: list[str]) -> None:
    before = everything(store.path)
    problems = refused(store.run, RunPlan(**plan))
    assert len(problems) == len(lines)
    assert all(line in problem for line, problem in zip(lines, problems, strict=True))
    assert everything(store.path) == before


def test_numbers_of_numpy_are_taken_as_pythons() -> None:
    plan = RunPlan(seed=np.int64(3), references=np.int32(2))  # type: ignore[arg-type]
    assert (plan, type(plan.seed), type(plan.references)) == (RunPlan(seed=3, references=2), int, int)


def test_a_run_without_what_it_needs_is_refused(store: Store, tiny: Tiny) -> None:
    bare = Store(store.path, tiny.task(ids=IDS))
    assert refused(bare.run, ANEW) == (
        "the task has no build_model: set Task.build_model, which makes the network to load into",
        "retraining is done by Task.fit, which the task lacks: set it",
    )


def test_options_mean_the_same_as_words_and_as_values() -> None:
    for key in REGISTRY:
        method = get(key)
        options = asdict(method)
        words = {name: str(value) for name, value in options.items()}
        assert RunPlan(method=key, options=options).chosen() == RunPlan(method=key, options=words).chosen() == method
    assert RunPlan(method="boundary", options={"expand": True}).chosen() != get("boundary")
    task = Task(train=[], holdout=[], build_model=mlp)
    assert "steps" in refused(check_plan, RunPlan(options={"steps": 10.7}), task)[0]


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"level": None},
        {"level": None, "accept": "any"},
        {"level": "quick", "accept": "verified"},
        {"references": 8, "accept": "verified"},
        {"retrain": True, "level": None, "seed": 3},
        {"retrain": True, "accept": "any"},
    ],
)
def test_defaults_and_what_fits_together_contradict_nothing(plan: dict[str, Any]) -> None:
    assert contradictions(RunPlan(**plan)) == []
