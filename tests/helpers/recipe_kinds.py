"""Training recipes that hold a value in many ways, for the keys under which an ensemble's cache keeps models."""

import argparse
import collections
import enum
import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from efface.models.ensembles.hashing import content_hash

Fit = Callable[..., Any]


def holding(held: Any) -> Fit:
    """A fit that closes over a value."""

    def fit(model: nn.Module, dataset: Any, seed: int) -> Any:
        return held

    return fit


class Trainer:
    """Has a method that is a fit."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def fit(self, model: nn.Module, dataset: Any, seed: int) -> Any:
        return self.held

    @property
    def shown(self) -> Any:
        return self.held

    @functools.cached_property
    def found(self) -> Any:
        return self.held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held

    def __call__(self, model: nn.Module, dataset: Any, seed: int) -> Any:
        return self.held


class Own(dict[str, Any]):
    """A dict with attributes."""

    def __init__(self, held: Any) -> None:
        super().__init__(lr=1)
        self.held = held


class OwnSet(set[Any]):
    """A set with attributes."""

    def __init__(self, held: Any) -> None:
        super().__init__([1])
        self.held = held


@dataclass(frozen=True)
class Frozen:
    held: Any
    more: dict[str, Any] = field(default_factory=dict)


class Row(NamedTuple):
    held: Any


class Key:
    """Hashable, by its identity."""

    def __init__(self, held: Any) -> None:
        self.held = held


class Stateful:
    """Says itself what pickle takes of it."""

    def __init__(self, held: Any) -> None:
        self.held, self.cache = held, holding

    def __getstate__(self) -> Any:
        return {"held": self.held}


def decorated(held: Any) -> Fit:
    """A fit of a user under the name of a function of a library."""

    @functools.wraps(nn.functional.cross_entropy)
    def fit(*given: Any) -> Any:
        return NOTED, held

    return fit


def by_code(source: str) -> Callable[[Any], Fit]:
    """Fits that differ in `%s` of their source."""

    def make(held: Any) -> Fit:
        names = {"__name__": "own_recipe"}
        exec(source % held, names)
        return names["fit"]  # type: ignore[return-value]

    return make


def by_class(**held: Any) -> Any:
    """An object whose class has other attributes."""
    return type("Made", (Trainer,), {"__module__": __name__, **held})(1)


def by_enum(held: Any) -> Any:
    return enum.Enum("Choice", {"one": held}, module=__name__)["one"]  # type: ignore[misc]


def looping(held: Any) -> Any:
    """An object that holds itself."""
    trainer = Trainer([held])
    trainer.held.append(trainer)
    return trainer


def ordered(held: int, kind: type = dict) -> Any:
    names = ["flip", "crop"] if held == 1 else ["crop", "flip"]
    return kind((name, 1) for name in names)


def module_of(held: Any) -> types.ModuleType:
    module = types.ModuleType("own_settings")
    module.epochs = held  # type: ignore[attr-defined]
    return module


NOTED = {"epochs": 1}
CAUGHT = {
    1: "def fit(f):\n    try:\n        f()\n        f()\n    except ValueError: pass",
    2: "def fit(f):\n    f()\n    try:\n        f()\n    except ValueError: pass",
}

# each makes a recipe that does something else for 1 than for 2
KINDS: dict[str, Callable[[Any], Any]] = {
    "bound method": lambda v: Trainer(v).fit,
    "bound method of a slotted object": lambda v: Slotted(v).__call__,
    "callable object": Slotted,
    "closure": holding,
    "closure over Namespace": lambda v: holding(argparse.Namespace(epochs=v)),
    "closure over SimpleNamespace": lambda v: holding(types.SimpleNamespace(a=types.SimpleNamespace(b=v))),
    "closure over an object": lambda v: holding(Trainer(v)),
    "closure over an object in an object": lambda v: holding(Trainer(Trainer([v]))),
    "closure over a slotted object": lambda v: holding(Slotted(v)),
    "closure over a dataclass": lambda v: holding(Frozen(v)),
    "closure over a dataclass with a dict": lambda v: holding(Frozen(0, {"lr": v})),
    "closure over a named tuple": lambda v: holding(Row(v)),
    "closure over an enum": lambda v: holding(by_enum(v)),
    "closure over a list": lambda v: holding([0, [v]]),
    "closure over a tuple": lambda v: holding((0, (v,))),
    "closure over a set": lambda v: holding({"a", "b", v}),
    "closure over a frozen set": lambda v: holding(frozenset({"a", "b", str(v)})),
    "closure over a set of a number or its text": lambda v: holding({1 if v == 1 else "1"}),
    "closure over a set of functions": lambda v: holding({holding(v)}),
    "closure over a frozen set of objects": lambda v: holding(frozenset({Frozen(v, {}).held, "a"})),
    "closure over a set of objects": lambda v: holding({Key(v)}),
    "closure over an own set": lambda v: holding(OwnSet(v)),
    "closure over a dict": lambda v: holding({"a": {"lr": v}}),
    "closure over keys": lambda v: holding({v: "lr", "b": 1}),
    "closure over keys that are objects": lambda v: holding({Key(v): 1, "b": 1}),
    "closure over -1 or -2 as a key": lambda v: holding({-v: 1, "b": 1}),
    "closure over the order of a dict": lambda v: holding(ordered(v)),
    "closure over the order of an OrderedDict": lambda v: holding(ordered(v, collections.OrderedDict)),
    "closure over an own dict": lambda v: holding(Own(v)),
    "closure over a defaultdict": lambda v: holding(collections.defaultdict(holding(v))),
    "closure over a deque": lambda v: holding(collections.deque([v])),
    "closure over a view of a dict": lambda v: holding(types.MappingProxyType({"lr": v})),
    "closure over a partial": lambda v: holding(functools.partial(holding, v)),
    "closure over a partial's keywords": lambda v: holding(functools.partial(holding, held=v)),
    "closure over a lambda": lambda v: holding(lambda: v),
    "closure over a closure": lambda v: holding(holding(holding(v))),
    "closure over a cached function": lambda v: holding(functools.lru_cache(holding(v))),
    "closure over an array": lambda v: holding(np.array([0.0, v])),
    "closure over an array of objects": lambda v: holding(np.array([Trainer(v), None], dtype=object)),
    "closure over a random generator": lambda v: holding(np.random.default_rng(v)),
    "closure over a tensor": lambda v: holding(torch.tensor([0.0, v])),
    "closure over a network": lambda v: holding(nn.Sequential(nn.Dropout(v / 10))),
    "closure over itself": lambda v: holding(looping(v)),
    "closure over a module": lambda v: holding(module_of(v)),
    "closure over what says its state": lambda v: holding(Stateful(v)),
    "method of a list": lambda v: [v].__contains__,
    "number or truth": lambda v: holding(True if v == 1 else 1),
    "number or decimal": lambda v: holding(1 if v == 1 else 1.0),
    "sign of zero": lambda v: holding(0.0 if v == 1 else -0.0),
    "partial": lambda v: functools.partial(holding(0), v),
    "partial of a bound method": lambda v: functools.partial(Trainer(v).fit),
    "default": by_code("def fit(model, dataset, seed, by=%s): return by"),
    "default of a keyword": by_code("def fit(model, dataset, seed, *, by=%s): return by"),
    "constant": by_code("def fit(*given): return %s"),
    "constant of an inner function": by_code("def fit(*given): return (lambda: (lambda: %s)())()"),
    "constant in a list comprehension": by_code("def fit(*given): return [%s for _ in given]"),
    "name in its module": by_code("by = %s\ndef fit(*given): return by"),
    "changed name in its module": by_code("by = [0]\nby.append(%s)\ndef fit(*given): return by"),
    "class in its module": by_code("class By:\n    by = %s\ndef fit(*given): return By.by"),
    "what is caught": lambda v: by_code("%s")(CAUGHT[v]),
    "kind of arguments": lambda v: by_code("def fit(a, b%s): return b")("" if v == 1 else ", /"),
    "all further arguments": lambda v: by_code("def fit(%sb): return b")("" if v == 1 else "*"),
    "decorated under another name": decorated,
    "attribute of its class": lambda v: by_class(epochs=v).fit,
    "private attribute of its class": lambda v: by_class(_epochs=v).fit,
    "call of its class": lambda v: by_class(__call__=functools.partialmethod(Trainer.fit, v)),
    "property of its class": lambda v: by_class(shown=property(holding(v))),
    "cached property of its class": lambda v: by_class(found=functools.cached_property(holding(v))),
    "static method of its class": lambda v: by_class(step=staticmethod(holding(v))),
    "base of its class": lambda v: type("Made", (Own, *([Trainer] if v == 1 else [])), {"__module__": __name__})(1),
}


def hashes(value: int) -> Iterator[tuple[str, str]]:
    """The hash of each kind."""
    return ((kind, content_hash(make(value))) for kind, make in KINDS.items())
