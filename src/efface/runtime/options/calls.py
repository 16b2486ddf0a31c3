"""Calls that Python cannot bind, such as `unlearn(model, task)`, are refused with the call that was probably meant."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache, wraps
from typing import Any, TypeVar

from efface.errors import RequestError, kind_of

MAX_VALUE = 40  # characters of a value that the right call repeats
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
FOLDERS = ("efface.methods", "efface.store", "efface.unlearning.parallel")  # whose names are not in efface itself

# other tools' and earlier words for arguments, by the word used here
OTHER_WORDS = {
    "forget": ("forget_ids", "forget_set", "forget_data", "ids_to_forget", "indices", "delete"),
    "train": ("dataset", "data", "train_set", "trainset", "train_data"),
    "holdout": ("holdout_set", "val", "validation", "unseen", "heldout", "val_set"),
    "test": ("test_set", "testset", "test_data"),
    "model": ("net", "network", "original"),
    "original": ("model", "before"),
    "unlearned": ("after", "unlearned_model"),
    "retrained": ("gold", "retrain", "retrained_models"),
    "seed": ("random_state", "rng", "generator"),
    "steps": ("iterations", "n_steps", "max_steps", "num_steps"),
    "lr": ("learning_rate",),
    "batch": ("batch_size",),
    "evaluate": ("looks",),
    "progress": ("verbose", "quiet"),
    "retain_weight": ("hold",),
    "ce_weight": ("anchor",),
    "tolerance": ("enough",),
    "kinds": ("groups",),
    "number": ("request", "version"),
}

# The class of what an argument holds; it may depend on the other arguments.
Part = type | Callable[[Mapping[str, Any]], type | None]
C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True)
class Shape:
    """What the right call of a function looks like, beside its signature.

    Args:
        title: The name by which users call it.
        shown: As in `clear_calls`.
        parts: As in `clear_calls`.
        instead: As in `clear_calls`.
    """

    title: str
    shown: Sequence[str] = ()
    parts: Mapping[str, Part] = field(default_factory=dict)
    instead: str = ""


def clear_calls(*shown: str, instead: str = "", **parts: Part) -> Callable[[C], C]:
    """Decorate a public function, or a class with its public methods: calls that cannot be bound are refused.

    Args:
        *shown: Keyword arguments that the right call shows although they have a default. With `a|b`, `a` is shown where
            neither is given.
        instead: What to call for other arguments, as a sentence; it is added where an argument is not known.
        **parts: Classes of arguments. A field of such a class that was given beside the argument is moved into it in
            the right call.

    Returns:
        The decorator; what it decorates keeps its signature, and raises RequestError where Python raises TypeError.
    """

    def decorate(decorated: C) -> C:
        if not isinstance(decorated, type):
            return _checked(decorated, Shape(_title(decorated), shown, parts, instead))
        for name, member in _members(decorated).items():
            function = getattr(member, "__func__", member)  # of a class method
            if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
                title = _title(decorated) if name == "__init__" else f"{decorated.__name__}.{name}"
                checked = _checked(function, Shape(title, shown, parts))
                setattr(decorated, name, checked if function is member else type(member)(checked))
        return decorated

    return decorate


def _members(kind: type) -> dict[str, Any]:
    """What a class defines, with what it has from other classes of efface."""
    own = [base for base in reversed(kind.__mro__) if base.__module__.partition(".")[0] == __name__.partition(".")[0]]
    return {name: member for base in own for name, member in vars(base).items()}


def check_construction(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check that a class can be called with some arguments; RequestError with the right call if not."""
    signature = _init_signature(kind)
    try:
        signature.bind(None, *args, **kwargs)
    except TypeError:
        raise RequestError(_problems(Shape(_title(kind)), signature, (None, *args), kwargs)) from None


class OwnSignature:
    """The signature of a class as that of its `__init__`, where `inspect.signature` would show that of `__new__`."""

    def __get__(self, _: object, owner: type) -> inspect.Signature:
        signature = _init_signature(owner)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


@cache
def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function."""
    return inspect.signature(function)


def _init_signature(kind: type) -> inspect.Signature:
    return signature_of(kind.__init__)  # type: ignore[misc]  # the class itself is called, no subclass


def _checked(function: C, shape: Shape) -> C:
    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        signature = signature_of(function)
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            raise RequestError(_problems(shape, signature, args, kwargs)) from None
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]  # the same signature


def _title(called: Any) -> str:
    """The name by which users call a function or class."""
    module: str = called.__module__
    if module.partition(".")[0] != "efface":
        return str(called.__qualname__)
    folder = next((f for f in FOLDERS if module == f or module.startswith(f"{f}.")), "efface")
    return f"{folder}.{called.__qualname__}"


def _problems(shape: Shape, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """What is wrong with a call, one line each; the last ends with the right call."""
    known = dict(signature.parameters)
    if next(iter(known), "") in ("self", "cls"):
        known.pop(next(iter(known)))
        args = args[1:]
    known = {name: p for name, p in known.items() if p.kind not in VARIABLE}
    by_position = [name for name, p in known.items() if p.kind in POSITIONAL]
    given = {**dict(zip(by_position, args, strict=False)), **{k: v for k, v in kwargs.items() if k in known}}
    extra, twice = args[len(by_position) :], [name for name in by_position[: len(args)] if name in kwargs]
    lines = []
    if extra:
        takes = f"only {', '.join(by_position)}" if by_position else "nothing"
        mend = ": give the others by name" if len(known) > len(by_position) else ""
        kinds = ", ".join(kind_of(value) for value in extra)
        lines.append(f"{shape.title} takes {takes} by position, and more came ({kinds}){mend}")
    if twice:
        lines.append(f"{shape.title} got {', '.join(twice)} twice, by position and by name: give each once")
    homes, moved, is_unknown = _homes(known, given, shape.parts), dict[str, dict[str, Any]](), False
    for word in (word for word in kwargs if word not in known):
        meant = _nearest(word, homes)
        if meant is None:
            is_unknown = True
            lines.append(f"{shape.title} has no argument {word!r} (it has {', '.join(known) or 'none'})")
            continue
        home = homes[meant]
        which = f", which is part of {home}" if home else ""
        hint = f": it is part of {home}" if meant == word else f" (did you mean {meant!r}{which}?)"
        lines.append(f"{shape.title} has no argument {word!r}{hint}")
        if home:
            moved.setdefault(home, {})[meant] = kwargs[word]
        else:
            given.setdefault(meant, kwargs[word])
    missing = [name for name, p in known.items() if p.default is p.empty and name not in {*given, *moved}]
    if missing and not extra:
        lines.append(f"{shape.title} lacks {', '.join(missing)}")
    if shape.instead and (extra or is_unknown):
        return [*lines[:-1], f"{lines[-1]}; {shape.instead}"]
    if is_unknown and len(lines) == 1:  # the right call would only leave it out
        return lines
    for first, *others in (choice.split("|") for choice in shape.shown):
        if first in moved:  # given instead of it, they go into it too
            inner = {name: given.pop(name) for name in others if given.get(name) is not None}
            moved[first] = inner | moved[first]
    classes = {home: _class_of(shape.parts[home], known, given) for home in moved}
    texts = {home: _part(known[home], classes[home], given, values) for home, values in moved.items()}
    return [*lines[:-1], f"{lines[-1]}; the call would be {_right_call(shape, known, given, texts)}"]


def _homes(
    known: Mapping[str, inspect.Parameter], given: Mapping[str, Any], parts: Mapping[str, Part]
) -> dict[str, str]:
    """Every word that a caller may have meant, with the argument that it belongs into; empty for an argument itself."""
    homes = dict.fromkeys(known, "")
    for name, part in parts.items():
        kind = _class_of(part, known, given) if name in known else None
        if kind is not None and is_dataclass(kind):
            homes = {f.name: name for f in fields(kind)} | homes
    return homes


def _class_of(part: Part, known: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> type | None:
    if isinstance(part, type):
        return part
    return part({name: given.get(name, p.default) for name, p in known.items()})


def _nearest(word: str, homes: Mapping[str, str]) -> str | None:
    if word in homes:
        return word
    for meant, others in OTHER_WORDS.items():
        if word in others and meant in homes:
            return meant
    close = get_close_matches(word.lower(), list(homes), n=1, cutoff=0.65)
    return close[0] if close else None


def _part(parameter: inspect.Parameter, kind: type | None, given: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The text of an argument that takes up values which were given beside it."""
    if "Mapping" in str(parameter.annotation):
        return "{" + ", ".join(f"{name!r}: {_show(name, value)}" for name, value in values.items()) + "}"
    words = [f"{name}={_show(name, value)}" for name, value in values.items()]
    held = given.get(parameter.name)
    own = ["..."] if is_dataclass(held) and not isinstance(held, type) else []
    return f"{_title(kind)}({', '.join([*own, *words])})"


def _right_call(
    shape: Shape, known: Mapping[str, inspect.Parameter], given: Mapping[str, Any], texts: Mapping[str, str]
) -> str:
    choices = [choice.split("|") for choice in shape.shown]
    needed = {names[0] for names in choices if not any(name in given for name in names)}
    words, by_name = list[str](), False
    for name, p in known.items():
        text = texts.get(name) or (_show(name, given[name]) if name in given else None)
        is_required = p.default is p.empty
        if text is None and not is_required and name not in needed:
            by_name = True
        elif is_required and p.kind in POSITIONAL and not by_name:
            words.append(text or name)
        else:
            by_name = True
            words.append(f"{name}={text or '...'}")
    return f"{shape.title}({', '.join(words)})"


def _show(name: str, value: Any) -> str:
    """A short value as it is written; the name of any other."""
    if _is_short(value) and len(text := repr(value)) <= MAX_VALUE:
        return text
    return name


def _is_short(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= MAX_VALUE and all(_is_short(v) for v in value)
    return type(value) in (int, float, str, bool, type(None))
