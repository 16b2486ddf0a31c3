"""Unlearning methods by key."""

from collections.abc import Mapping

from efface.errors import RequestError
from efface.methods.align import Align, AlignGan
from efface.methods.bad_teacher import BadTeacher
from efface.methods.base import Method
from efface.methods.boundary import Boundary
from efface.methods.controls import Noop, Retrain
from efface.methods.fcs import FCS
from efface.methods.finetune import Finetune
from efface.methods.fisher import Fisher
from efface.methods.fnn import Fnn
from efface.methods.game import Game
from efface.methods.gradient_ascent import GradientAscent
from efface.methods.influence import Influence, WoodFisher
from efface.methods.l1_sparse import L1Sparse
from efface.methods.last_layers import CFK, EUK
from efface.methods.msg import MSG
from efface.methods.neggrad_plus import NegGradPlus
from efface.methods.perturb import Perturb
from efface.methods.random_label import RandomLabel, SalUn
from efface.methods.scrub import Scrub
from efface.methods.ssd import SSD
from efface.methods.steer import Steer
from efface.options import nearest

REGISTRY: dict[str, type[Method]] = {
    m.key: m
    for m in (
        Steer,
        Perturb,
        Finetune,
        NegGradPlus,
        GradientAscent,
        RandomLabel,
        SalUn,
        BadTeacher,
        Scrub,
        SSD,
        L1Sparse,
        Influence,
        WoodFisher,
        Align,
        AlignGan,
        Boundary,
        Fnn,
        Game,
        Fisher,
        MSG,
        CFK,
        EUK,
        FCS,
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
    "CFK",
    "EUK",
    "FCS",
    "MSG",
    "SSD",
    "Align",
    "AlignGan",
    "BadTeacher",
    "Boundary",
    "Finetune",
    "Fisher",
    "Fnn",
    "Game",
    "GradientAscent",
    "Influence",
    "L1Sparse",
    "Method",
    "NegGradPlus",
    "Noop",
    "Perturb",
    "RandomLabel",
    "Retrain",
    "SalUn",
    "Scrub",
    "Steer",
    "WoodFisher",
    "available",
    "get",
]
