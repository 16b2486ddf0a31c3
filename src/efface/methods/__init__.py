"""Unlearning methods by key."""

from collections.abc import Mapping

from efface.errors import RequestError
from efface.methods.align import Align, AlignGan
from efface.methods.base import Method
from efface.methods.controls import Noop, Retrain
from efface.methods.finetune import Finetune
from efface.methods.influence import Influence, WoodFisher
from efface.methods.neggrad_plus import NegGradPlus
from efface.methods.perturb import Perturb
from efface.methods.steer import Steer
from efface.options import nearest

REGISTRY: dict[str, type[Method]] = {
    m.key: m
    for m in (
        Steer,
        Perturb,
        Finetune,
        NegGradPlus,
        Influence,
        WoodFisher,
        Align,
        AlignGan,
        Noop,
        Retrain,
    )
}


def available() -> tuple[str, ...]:
    """Keys of all methods, the default first, the controls last."""
    return tuple(REGISTRY)


def get(method: str | Method, options: Mapping[str, str] | None = None) -> Method:
    """A method from its key and, as words of a command line, its options; an object with options passes through.

    Raises RequestError for an unknown key or option (with the nearest known name), or an option out of range.
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str) or method not in REGISTRY:
        raise RequestError(f"there is no method {method!r} ({nearest(str(method), available())})")
    return REGISTRY[method].parse(options or {})


__all__ = [
    "Align",
    "AlignGan",
    "Finetune",
    "Influence",
    "Method",
    "NegGradPlus",
    "Noop",
    "Perturb",
    "Retrain",
    "Steer",
    "WoodFisher",
    "available",
    "get",
]
