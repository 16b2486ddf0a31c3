"""Unlearning methods by key."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from efface.errors import RequestError, kind_of
from efface.runtime.lazy import lazy_names
from efface.runtime.options import clear_calls, nearest

if TYPE_CHECKING:
    from efface.methods.base import Method


class Registry(Mapping[str, "type[Method]"]):
    """Classes of methods by key; a class is imported on first use."""

    def __init__(self, classes: Mapping[str, str]) -> None:
        """Store the place of each class, as `module:Name` within this package, by key."""
        self.classes = classes

    def __getitem__(self, key: str) -> "type[Method]":
        module, _, name = self.classes[key].partition(":")
        found: type[Method] = getattr(import_module(f"{__name__}.{module}"), name)
        return found

    def __contains__(self, key: object) -> bool:
        return key in self.classes  # Mapping's own would import the class

    def __iter__(self) -> Iterator[str]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)


# One line a method, the default first, the controls last.
REGISTRY = Registry(
    {
        "steer": "steer:Steer",
        "perturb": "perturb:Perturb",
        "finetune": "finetune:Finetune",
        "neggrad_plus": "neggrad_plus:NegGradPlus",
        "gradient_ascent": "gradient_ascent:GradientAscent",
        "random_label": "random_label:RandomLabel",
        "salun": "random_label:SalUn",
        "bad_teacher": "bad_teacher:BadTeacher",
        "scrub": "scrub:Scrub",
        "ssd": "ssd:SSD",
        "l1_sparse": "l1_sparse:L1Sparse",
        "influence": "influence:Influence",
        "woodfisher": "influence:WoodFisher",
        "align": "align:Align",
        "align_gan": "align:AlignGan",
        "boundary": "boundary:Boundary",
        "fnn": "fnn:Fnn",
        "game": "game:Game",
        "fisher": "fisher:Fisher",
        "msg": "msg:MSG",
        "cfk": "last_layers:CFK",
        "euk": "last_layers:EUK",
        "fcs": "fcs:FCS",
        "regun": "regun:ReGUn",
        "tmu": "tmu:TMU",
        "ct": "ct:CT",
        "sfron": "sfron:SFRon",
        "delete": "delete:Delete",
        "gnndelete": "gnndelete:GNNDelete",
        "utu": "controls:UtU",
        "gif": "gif:Gif",
        "noop": "controls:Noop",
        "retrain": "controls:Retrain",
    }
)
_HOMES = {name: f"{__name__}.{module}" for module, _, name in (c.partition(":") for c in REGISTRY.classes.values())}
_get, __dir__ = lazy_names(__name__, {"Method": f"{__name__}.base", **_HOMES})


def __getattr__(name: str) -> Any:
    """The class of a method by its name, such as `efface.methods.Steer`."""
    return _get(name)


def available() -> tuple[str, ...]:
    """Keys of all methods, the default first, the controls last."""
    return tuple(REGISTRY)


def check_key(key: object) -> None:
    """Check that there is a method with a key, without importing it; RequestError if not."""
    if isinstance(key, type):
        raise RequestError(f"method: expected a method or its key, got the class {key.__name__}: give {key.__name__}()")
    if not isinstance(key, str):
        example = "such as 'steer' or efface.methods.Steer(steps=40)"
        raise RequestError(f"method: expected a method or its key, {example}, got {kind_of(key)}")
    if key not in REGISTRY:
        raise RequestError(f"there is no method {key!r} ({nearest(key, available())})")


def class_of(given: Mapping[str, Any]) -> "type[Method] | None":
    """The class of the `method` among the arguments of a call, given as a key, a method or a class; else None."""
    method = given.get("method")
    if isinstance(method, str):
        return REGISTRY.get(method)
    return method if isinstance(method, type) else type(method)


@clear_calls(options=class_of)
def get(method: "str | Method", options: Mapping[str, Any] | None = None) -> "Method":
    """Make a method from its key and options; a method object is returned unchanged.

    Args:
        method: a key from `available()`, or a method.
        options: values by name, as text or as numbers; only with a key, since a method object has its options.

    Raises:
        RequestError: the key or an option is unknown, or an option is out of range.
    """
    if options is not None and not isinstance(options, Mapping):
        raise RequestError(f"options: expected the values by name, such as {{'steps': '40'}}, got {options!r}")
    if not isinstance(method, str):
        from efface.methods.base import Method  # needs torch, which a key alone does not

        if isinstance(method, Method):
            if options:
                raise RequestError(f"options: {method.key} was given with its options already: leave them out")
            return method
    check_key(method)
    return REGISTRY[method].parse({str(name): str(value) for name, value in (options or {}).items()})


__all__ = ["REGISTRY", "Method", "Registry", "available", "check_key", "class_of", "get"]
