"""Output of `efface methods`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, get_type_hints

from rich.table import Table
from rich.text import Text

from efface.cli.display import make_console, say

if TYPE_CHECKING:
    from efface.methods import Method


def describe(method: "type[Method]") -> dict[str, Any]:
    """A method and its options, as values that JSON can hold."""
    hints = get_type_hints(method)
    return {
        "key": method.key,
        "summary": method.summary,
        "source": method.source,
        "needs_classes": method.needs_classes,
        "options": [
            {
                "name": f.name,
                "type": hints[f.name].__name__,
                "default": f.default,
                "low": f.metadata.get("low"),
                "high": f.metadata.get("high"),
                "help": f.metadata.get("help", ""),
            }
            for f in dataclasses.fields(method)
        ],
    }


def show_methods(described: Sequence[Mapping[str, Any]], stdout: TextIO) -> None:
    """Print each method, as `describe` returns it, with a table of its options."""
    out = make_console(stdout)
    for method in described:
        say(out, Text.assemble((method["key"], "bold"), f": {method['summary']}"))
        say(out, Text(f"  source: {method['source']}", style="dim"))
        if method["needs_classes"]:
            say(out, Text("  needs classes", style="dim"))
        if method["options"]:
            table = Table(box=None, padding=(0, 2), show_edge=False)
            for name in ("option", "default", "range", "meaning"):
                table.add_column(name, header_style="dim", overflow="fold")
            for o in method["options"]:
                kinds = {bool: "True or False", str: "a word"}
                span = kinds.get(type(o["default"])) or f"{_bound(o['low'])} to {_bound(o['high'])}"
                table.add_row(Text(o["name"]), f"{o['default']}", span, Text(o["help"]))
            out.print(table)
        else:
            out.print("  no options", style="dim")
        out.print()


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
