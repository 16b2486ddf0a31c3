"""What to do next after a run whose own evidence gives no yes, each as one line with the command or the Python call."""

from collections.abc import Mapping
from dataclasses import fields

from efface.methods.base import Method
from efface.unlearning.evidence import Evidence, Outcome

RETRAIN = (
    "train anew without the records, which is the only sure way: method='retrain' with Task.fit "
    "(efface unlearn --method retrain; in a store, efface run --retrain)"
)
OTHER_METHOD = "try another method or seed: method=... or seed=... (--method, --seed; efface methods lists them)"
AUDIT = "let an audit judge it: efface.audit(result) (efface audit, or efface unlearn without --no-audit)"
UNCHANGED_BY_RETRAINING = (
    "let Task.build_model make an untrained network, and Task.fit train the network that it is given",
)
# By what an option is multiplied for a longer way, in the order in which options are looked for. What steer's forget
# records reach is bounded by what its retain records may move, and hardly by more steps, a longer way or farther aims.
FARTHER = {
    "spare": 3.0,
    "beyond": 2.0,
    "steps": 2.0,
    "rounds": 2.0,
    "lr": 3.0,
    "scale": 2.0,
    "noise": 2.0,
    "select": 1 / 3,
    "alpha": 10.0,
}
LESS_FAR = {
    "spare": 1 / 3,
    "beyond": 0.5,
    "lr": 1 / 3,
    "steps": 0.5,
    "scale": 0.5,
    "rounds": 0.5,
    "noise": 0.5,
    "select": 3.0,
    "alpha": 0.1,
}


def after_run(method: Method, evidence: Evidence) -> tuple[str, ...]:
    """What to do after a run that made a model, before its audit.

    Args:
        method: The method, with its options.
        evidence: The evidence of the run.
    """
    if method.is_control or evidence.outcome in (Outcome.LOOKS_UNSEEN, Outcome.NOT_JUDGED, Outcome.UNDECIDED):
        return (AUDIT,)
    if evidence.outcome is Outcome.UNDER_UNLEARNED:
        return (AUDIT, *farther(method))
    return (AUDIT, *less_far(method))


def after_nothing(method: Method, evidence: Evidence) -> tuple[str, ...]:
    """What to do after a run that changed nothing, or kept no change.

    Args:
        method: The method, with its options.
        evidence: The evidence of the run.
    """
    if method.is_control:
        return UNCHANGED_BY_RETRAINING
    tune = farther(method) if evidence.chosen_step or not evidence.evaluations else less_far(method)
    floor: tuple[str, ...] = ()
    if evidence.outcome is Outcome.UTILITY_FLOOR:
        floor = (
            "or allow a larger loss of accuracy: options=efface.UnlearnOptions(stop=efface.UtilityFloor(drop=0.05) | "
            "efface.LooksUnseen())",
        )
    return (*tune, *floor, OTHER_METHOD, RETRAIN)


def farther(method: Method) -> tuple[str, ...]:
    """How to let a method go farther; empty if it has no such option."""
    return _changed(method, "let the method go farther", FARTHER)


def less_far(method: Method) -> tuple[str, ...]:
    """How to let a method go less far; empty if it has no such option."""
    return _changed(method, "let the method go less far", LESS_FAR)


def _changed(method: Method, what: str, factors: Mapping[str, float]) -> tuple[str, ...]:
    """A line with one option of the method changed, within its range."""
    known = {f.name: f.metadata for f in fields(method)}
    for name in (name for name in factors if name in known):
        value, low, high = getattr(method, name), known[name].get("low"), known[name].get("high")
        wanted = min(max(value * factors[name], value if low is None else low), value if high is None else high)
        word = f"{wanted:.3g}" if isinstance(value, float) else f"{round(wanted)}"
        if float(word) != value:
            return (
                f"{what}, for example with {name}={word} instead of {value:g}: "
                f"method=efface.methods.{type(method).__name__}({name}={word}) (--option {name}={word})",
            )
    return ()
