"""Calls that Python cannot bind are refused with the right call; what is decorated keeps its signature."""

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import efface
from efface import RequestError, UnlearnOptions
from efface.methods import Scrub, Steer, get
from efface.runtime.options import Options, clear_calls, option
from efface.store import DriftLimits, RunPlan, Store, StoreSettings

# `Any`, since type checkers would refuse these calls too
unlearn: Any = efface.unlearn
audit: Any = efface.audit
audit_models: Any = efface.audit_models
any_of: Callable[[Any], Any] = lambda thing: thing  # noqa: E731
model, task = object(), object()
END = "; the call would be "


def called(call: Callable[[], object]) -> str:
    """The one problem of a call that is refused."""
    with pytest.raises(RequestError) as caught:
        call()
    (line,) = caught.value.problems
    return line


CALLS: dict[str, tuple[Callable[[], object], str, str]] = {
    "by position": (
        lambda: unlearn(model, task, [1, 2]),
        "efface.unlearn takes only model by position, and more came (object, list): give the others by name",
        "efface.unlearn(model, forget=..., task=...)",
    ),
    "nothing at all": (
        lambda: unlearn(),
        "efface.unlearn lacks model, forget",
        "efface.unlearn(model, forget=..., task=...)",
    ),
    "no model": (
        lambda: unlearn(forget=[3], train=[], holdout=[]),
        "efface.unlearn lacks model",
        "efface.unlearn(model, forget=[3], train=[], holdout=[])",
    ),
    "twice": (
        lambda: unlearn(model, model=model, forget=[3], task=task),
        "efface.unlearn got model twice, by position and by name: give each once",
        "efface.unlearn(model, forget=[3], task=task)",
    ),
    "another word": (
        lambda: unlearn(model, forget_ids=[1, 2], task=task),
        "efface.unlearn has no argument 'forget_ids' (did you mean 'forget'?)",
        "efface.unlearn(model, forget=[1, 2], task=task)",
    ),
    "an option of the default method": (
        lambda: unlearn(model, forget=[1], task=task, steps=10),
        "efface.unlearn has no argument 'steps': it is part of method",
        "efface.unlearn(model, forget=[1], task=task, method=efface.methods.Steer(steps=10))",
    ),
    "an option of another method": (
        lambda: unlearn(model, forget=[1], task=task, method="scrub", alpha=0.5),
        "efface.unlearn has no argument 'alpha': it is part of method",
        "efface.unlearn(model, forget=[1], task=task, method=efface.methods.Scrub(alpha=0.5))",
    ),
    "an option beside a method that has options": (
        lambda: unlearn(model, forget=[1], task=task, method=Steer(travel=3.0), steps=10),
        "efface.unlearn has no argument 'steps': it is part of method",
        "efface.unlearn(model, forget=[1], task=task, method=efface.methods.Steer(..., steps=10))",
    ),
    "an option beside the class of a method": (
        lambda: unlearn(model, forget=[1], task=task, method=Scrub, alpha=0.5),
        "efface.unlearn has no argument 'alpha': it is part of method",
        "efface.unlearn(model, forget=[1], task=task, method=efface.methods.Scrub(alpha=0.5))",
    ),
    "an option of the run": (
        lambda: unlearn(model, forget=[1], task=task, evaluate=False),
        "efface.unlearn has no argument 'evaluate': it is part of options",
        "efface.unlearn(model, forget=[1], task=task, options=efface.UnlearnOptions(evaluate=False))",
    ),
    "an earlier word for an option of the run": (
        lambda: unlearn(model, forget=[1], task=task, looks=False),
        "efface.unlearn has no argument 'looks' (did you mean 'evaluate', which is part of options?)",
        "efface.unlearn(model, forget=[1], task=task, options=efface.UnlearnOptions(evaluate=False))",
    ),
    "a hook beside data sets, which go where it goes": (
        lambda: any_of(unlearn)(model, forget=[1], train=task, holdout=task, test=task),
        "efface.unlearn has no argument 'test': it is part of task",
        "efface.unlearn(model, forget=[1], task=efface.Task(train=train, holdout=holdout, test=test))",
    ),
    "a hook": (
        lambda: unlearn(model, forget=[1], task=task, batch_size=8),
        "efface.unlearn has no argument 'batch_size': it is part of task",
        "efface.unlearn(model, forget=[1], task=efface.Task(batch_size=8))",
    ),
    "models by position": (
        lambda: audit_models(model, model, [1], task),
        "efface.audit_models takes only original, unlearned by position, and more came (list, object): "
        "give the others by name",
        "efface.audit_models(original, unlearned, forget=..., task=...)",
    ),
    "an option of the audit": (
        lambda: audit_models(model, model, forget=[1], task=task, models=16),
        "efface.audit_models has no argument 'models': it is part of options",
        "efface.audit_models(original, unlearned, forget=[1], task=task, options=efface.AuditOptions(models=16))",
    ),
    "an option that is misspelt": (
        lambda: any_of(Steer)(stepz=3),
        "efface.methods.Steer has no argument 'stepz' (did you mean 'steps'?)",
        "efface.methods.Steer(steps=3)",
    ),
    "options by key": (
        lambda: any_of(get)("steer", steps=3),
        "efface.methods.get has no argument 'steps': it is part of options",
        "efface.methods.get('steer', options={'steps': 3})",
    ),
    "too many for a rule": (
        lambda: any_of(efface.LooksUnseen)(0.5, 0.05, 3),
        "efface.LooksUnseen takes only target, margin by position, and more came (int)",
        "efface.LooksUnseen(target=0.5, margin=0.05)",
    ),
    "a task without records": (
        lambda: any_of(efface.Task)(),
        "efface.Task lacks train, holdout",
        "efface.Task(train=..., holdout=...)",
    ),
    "a task by position": (
        lambda: any_of(efface.Task)([], []),
        "efface.Task takes nothing by position, and more came (list, list): give the others by name",
        "efface.Task(train=..., holdout=...)",
    ),
    "a recipe beside the options": (
        lambda: any_of(efface.AuditOptions)(epochs=3),
        "efface.AuditOptions has no argument 'epochs': it is part of recipe",
        "efface.AuditOptions(recipe=efface.Recipe(epochs=3))",
    ),
    "a plan": (
        lambda: any_of(RunPlan)(method="scrub", steps=3),
        "efface.store.RunPlan has no argument 'steps': it is part of options",
        "efface.store.RunPlan(method='scrub', options={'steps': 3})",
    ),
    "limits beside the settings": (
        lambda: any_of(StoreSettings)(changed=0.2),
        "efface.store.StoreSettings has no argument 'changed': it is part of limits",
        "efface.store.StoreSettings(limits=efface.store.DriftLimits(changed=0.2))",
    ),
    "limits that are misspelt": (
        lambda: any_of(DriftLimits)(changd=0.2),
        "efface.store.DriftLimits has no argument 'changd' (did you mean 'changed'?)",
        "efface.store.DriftLimits(changed=0.2)",
    ),
    "a store by position": (
        lambda: any_of(Store)("store", task, "store.key"),
        "efface.store.Store takes only folder, task by position, and more came (str): give the others by name",
        "efface.store.Store('store', task=task)",
    ),
    "a new store without a model": (
        lambda: any_of(Store.create)("store", task),
        "Store.create lacks model",
        "Store.create('store', task, model)",
    ),
    "a run without its plan": (
        lambda: any_of(Store.run)(None, method="scrub"),
        "Store.run has no argument 'method': it is part of plan",
        "Store.run(plan=efface.store.RunPlan(method='scrub'))",
    ),
    "a result saved nowhere": (
        lambda: any_of(efface.Result.save)(None),
        "Result.save lacks path",
        "Result.save(path)",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_refused_with_the_right_one(name: str) -> None:
    call, wrong, right = CALLS[name]
    assert called(call) == f"{wrong}{END}{right}"


def test_what_no_call_would_take_is_refused_without_one() -> None:
    assert called(lambda: unlearn(model, forget=[1], task=task, epsilon=3)) == (
        "efface.unlearn has no argument 'epsilon' "
        "(it has model, forget, task, train, holdout, ids, method, seed, options, progress)"
    )


def test_an_audit_of_models_is_pointed_to_the_function_for_it() -> None:
    lead = "two models are judged by efface.audit_models(original, unlearned, forget=..., task=...)"
    assert called(lambda: audit(model, model)).endswith(f"give the others by name; {lead}")
    assert called(lambda: audit(model, task=task)).endswith(f"; {lead}")
    assert called(lambda: audit(model)).endswith(f"got object; {lead}")


def test_every_wrong_argument_is_named_and_the_right_call_stands_last() -> None:
    with pytest.raises(RequestError) as caught:
        unlearn(model, task, forget=[1], travel=3.0, checks=False)
    first, second, third = caught.value.problems
    assert first.startswith("efface.unlearn takes only model by position")
    assert second == "efface.unlearn has no argument 'travel': it is part of method"
    assert third == (
        f"efface.unlearn has no argument 'checks': it is part of options{END}efface.unlearn(model, forget=[1], "
        "task=..., method=efface.methods.Steer(travel=3.0), options=efface.UnlearnOptions(checks=False))"
    )


def test_a_long_value_is_not_repeated() -> None:
    assert called(lambda: unlearn(model, forget_ids=list(range(1000)), task=task)).endswith(
        "(model, forget=forget, task=task)"
    )


@clear_calls(options=UnlearnOptions)
def passed_on(first: int, second: int = 2, *, options: object = None, **others: int) -> dict[str, Any]:
    """Return what was given."""
    return {"first": first, "second": second, "options": options, **others}


def test_what_can_be_called_is_called_with_the_same_arguments() -> None:
    assert passed_on(1, evaluate=3) == {"first": 1, "second": 2, "options": None, "evaluate": 3}
    assert passed_on(second=3, first=1, options=4) == {"first": 1, "second": 3, "options": 4}
    assert called(lambda: any_of(passed_on)()).endswith(f"passed_on lacks first{END}passed_on(first)")


def test_a_type_error_within_a_call_stays_as_it_is() -> None:
    @clear_calls()
    def fails(value: int) -> int:
        return value + "text"  # type: ignore[operator]

    with pytest.raises(TypeError, match="unsupported operand"):
        fails(1)


def test_signatures_and_texts_stay_as_they_are() -> None:
    assert list(inspect.signature(efface.unlearn).parameters)[:3] == ["model", "forget", "task"]
    assert efface.unlearn.__doc__ is not None and efface.unlearn.__name__ == "unlearn"
    assert list(inspect.signature(UnlearnOptions).parameters)[:2] == ["stop", "evaluate"]
    assert list(inspect.signature(Steer).parameters)[:2] == ["steps", "passes"]
    assert list(inspect.signature(Store.create).parameters)[:3] == ["folder", "task", "model"]
    assert inspect.signature(Store.cancel).parameters.keys() == {"self", "number"}


@dataclass(frozen=True)
class Wide(Options):
    """Options of a user's own method."""

    width: int = option(3, "width", 1)


def test_options_are_copied_and_pickled_as_before() -> None:
    for made in (Wide(4), Steer(steps=4), UnlearnOptions(checks=False), RunPlan(seed=3)):
        assert copy.deepcopy(made) == made == pickle.loads(pickle.dumps(made))
    assert (
        called(lambda: any_of(Wide)(widht=3))
        == f"Wide has no argument 'widht' (did you mean 'width'?){END}Wide(width=3)"
    )
