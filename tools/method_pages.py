"""The catalogue of methods and the page of their options, made from the registry: `python -m tools.method_pages`."""

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from efface.methods import REGISTRY
from efface.methods.base import Method
from efface.methods.descent import Descent

ROOT = Path(__file__).parent.parent
COMMAND = "python -m tools.method_pages"
SHARED = {field.name for field in dataclasses.fields(Descent)}

CATALOGUE = f"""# Catalogue of methods

This page is made from the registry of methods by `{COMMAND}`. Each section gives the update that a
method makes, what was taken from its source, and what was chosen here. See also the [options](method-options.md),
with an example each, and the [benchmark](bench.md). To write a method: [`efface.Method`](api/methods.md#efface.Method).

Use `steer` unless you want to compare. The other methods are here so that you can. Their defaults are the published
values, where there are some. The controls do nothing, or train again without the records. `efface methods`
lists all of this too.

CE is the loss of the task's [kind](kinds.md): for classes the cross-entropy. Methods that need classes, of which each
record has one, say so. All others work for every kind, but for `influence`, which sequences do not suit.
"""
OPTIONS = f"""# Options of methods

This page is made from the registry of methods by `{COMMAND}`. What each method does: [the catalogue](methods.md).

A method is given by its key, with every option at its default, or as an object with options:

```python
import efface

result = efface.unlearn(model, forget=forget_ids, task=task, method="finetune")
result = efface.unlearn(model, forget=forget_ids, task=task, method=efface.methods.Finetune(steps=60, lr=0.02))
```

On the command line each option is one `--option NAME=VALUE`. A value that is out of its range is refused before any
work. The examples below show how options are given. Their values are no advice: they are
twice the default, or half of it.
"""
NONE = "It has no options.\n"


def methods_page() -> str:
    """The catalogue, as Markdown."""
    rows = ["| method | what it does | source |", "|---|---|---|"]
    rows += [f"| [`{key}`](#{key}) | {_cell(m.summary)} | {linked(m.source)} |" for key, m in REGISTRY.items()]
    sections = [_about(key, method) for key, method in REGISTRY.items()]
    return "\n".join([CATALOGUE, *rows, "", *sections])


def options_page() -> str:
    """The options of all methods with an example each, as Markdown."""
    return "\n".join([OPTIONS, *(_options(key, method) for key, method in REGISTRY.items())])


def pages() -> dict[Path, str]:
    """What each generated page must hold."""
    return {ROOT / "docs/methods.md": methods_page(), ROOT / "docs/method-options.md": options_page()}


def example(method: type[Method]) -> dict[str, Any]:
    """One or two options with values other than their defaults: the first, and the first that is the method's own."""
    fields = list(dataclasses.fields(method))
    own = [field for field in fields if field.name not in SHARED]
    chosen = {field.name: field for field in [*fields[:1], *own[:1]]}
    return {name: _another(field) for name, field in chosen.items()}


def linked(source: str) -> str:
    """The source of a method, with papers of arXiv as links."""
    return re.sub(r"(?:arXiv )?\b(\d{4}\.\d{5})\b", r"[arXiv \1](https://arxiv.org/abs/\1)", _cell(source))


def _about(key: str, method: type[Method]) -> str:
    text = inspect.getdoc(method) or ""
    does = f"{method.summary[0].upper()}{method.summary[1:]}."
    options = f"[options](method-options.md#{key})" if dataclasses.fields(method) else "no options"
    needs = "; needs classes" if method.needs_classes else ""
    where = f"Source: {linked(method.source)}. Version {method.version}; {options}{needs}."
    return f"## `{key}`\n\n{does}\n\n{where}\n\n```text\n{text}\n```\n"


def _options(key: str, method: type[Method]) -> str:
    fields = dataclasses.fields(method)
    head = f"## `{key}`\n"
    if not fields:
        return f"{head}\n{NONE}"
    hints = get_type_hints(method)
    rows = ["| option | type | default | range | meaning |", "|---|---|--:|---|---|"]
    for field in fields:
        kind, meta = hints[field.name].__name__, field.metadata
        cells = (f"`{field.name}`", kind, _value(field.default), _range(meta["low"], meta["high"]), _cell(meta["help"]))
        rows.append(f"| {' | '.join(cells)} |")
    values = example(method)
    call = ", ".join(f"{name}={_value(value)}" for name, value in values.items())
    words = " ".join(f"--option {name}={_value(value)}" for name, value in values.items())
    code = f"```python\nmethod = efface.methods.{method.__name__}({call})\n```\n"
    line = f"efface unlearn my_task:task --checkpoint model.pt --forget ids.txt --out run --method {key} \\"
    return "\n".join([head, *rows, "", code, f"```sh\n{line}\n    {words}\n```\n"])


def _another(field: "dataclasses.Field[Any]") -> Any:
    """Another value for an option: the opposite, twice the default, half of it, or its upper bound."""
    default: Any = field.default
    high = field.metadata["high"]
    if isinstance(default, bool):
        return not default
    if not default:
        return type(default)(1)
    double = default * 2
    return double if high is None or double <= high else type(default)(default / 2)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    least, most = _value(low), _value(high)
    return f"from {least}" if high is None else f"to {most}" if low is None else f"{least} to {most}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _changed() -> Iterator[Path]:
    for path, text in pages().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            yield path


if __name__ == "__main__":
    for path in _changed():
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
