"""The committed rows of the benchmark on graphs as tables in Markdown; needs neither torch_geometric nor data."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BLOCK = ("<!-- graphs: what was measured -->", "<!-- /graphs -->")
ORDER = (
    "do nothing",
    "utu",
    "gif",
    "gif, damped",
    "gnndelete",
    "gnndelete, identity",
    "finetune",
    "steer",
    "retrained",
)
WORDS = {
    "edges": "edges deleted, link prediction",
    "link-nodes": "all edges of nodes deleted, link prediction",
    "nodes": "nodes deleted, node classification",
    "features": "features of nodes deleted, node classification",
}
DATA = {"cora": "Cora", "citeseer": "CiteSeer"}
LAYER = {"gcn": "GCN", "sage": "GraphSAGE"}
FORWARD_SHARE = 1 / 3


def rows(folder: Path) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The rows by setting and method, in the order of the table."""
    found: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for file in sorted(folder.glob("*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        found[row["setting"]][row["method"]] = row
    return {name: {m: by[m] for m in ORDER if m in by} for name, by in sorted(found.items())}


def render(folder: Path) -> str:
    """All tables."""
    return "\n".join(line for name, by in rows(folder).items() for line in [*_setting(name, by), ""])


def _setting(name: str, by: Mapping[str, Mapping[str, Any]]) -> list[str]:
    data, layer, delete = name.split("-", 2)
    first = next(iter(by.values()))
    places = list(first["distances"])
    measures = [m for m in first["measures"] if not m.endswith(" spread")]
    full = price(by["retrained"]) if "retrained" in by else float("nan")
    lines = [f"### {DATA[data]}, {LAYER[layer]}: {WORDS[delete]}", ""]
    counts = sorted({row["models"] for m, row in by.items() if m != "retrained"})
    ours = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    lines += [f"{ours} unlearned models, {by['retrained']['models']} retrained." if "retrained" in by else "", ""]
    head = ["method", *places, *measures, "passes", "cheaper", "CPU s"]
    lines += ["| " + " | ".join(head) + " |", "| :-- |" + " --: |" * (len(head) - 1)]
    for method, row in by.items():
        cells = [method, *(_interval(row["distances"][p]) for p in places)]
        cells += [f"{row['measures'][m]:.3f}" for m in measures]
        paid = price(row)
        cells += [f"{paid:.0f}", "–" if not paid else f"{full / paid:.1f}x", f"{row['cpu_s']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, *_beside(by, places)]


def _beside(by: Mapping[str, Mapping[str, Any]], places: Sequence[str]) -> list[str]:
    """What methods change beside unlinking alone."""
    compared = {method: row["beside_unlinking"] for method, row in by.items() if row["beside_unlinking"]}
    if not compared:
        return []
    lines = ["", "The same less that of `utu`, original by original; below 0 is nearer to retrained models:", ""]
    lines += ["| method | " + " | ".join(places) + " |", "| :-- |" + " --: |" * len(places)]
    for method, found in compared.items():
        lines.append("| " + " | ".join([method, *(_interval(found[place], "+.2f") for place in places)]) + " |")
    return lines


def price(row: Mapping[str, Any]) -> float:
    """Passes over the whole graph, one without gradients counted as a third."""
    return float(row["training_passes"] + FORWARD_SHARE * row["forward_passes"])


def _interval(numbers: Sequence[float], form: str = ".2f") -> str:
    value, low, high = (format(number, form) for number in numbers)
    return f"{value} ({low} to {high})"


def fill(page: str, text: str) -> str:
    """A page with its block of tables filled."""
    before, _, rest = page.partition(BLOCK[0])
    after = rest.partition(BLOCK[1])[2] if BLOCK[1] in rest else rest
    return f"{before}{BLOCK[0]}\n\n{text}\n{BLOCK[1]}{after}"
