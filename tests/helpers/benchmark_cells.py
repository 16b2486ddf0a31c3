"""Made-up results of the benchmark: cell files as the runner writes them, with numbers that a reader can follow."""

import json
from pathlib import Path
from typing import Any

from benchmarks.harness.cell import SCHEMA
from benchmarks.harness.files import write_whole
from benchmarks.harness.records import flatten
from benchmarks.harness.results import ordered, row_of
from benchmarks.harness.stored import table_text, tunings_text
from efface.methods import REGISTRY

VERSIONS = {"judge_version": 1, "evaluator_version": 1}
GROUPS = ("original", "unlearned", "retrained")
PLACES = ("margin", "other_classes", "perturbed", "logits", "neighbours", "retain", "test")


def around(value: float | None, half: float | None = 0.1) -> list[float | None]:
    """A value with the ends of its interval."""
    return [value, *((None, None) if value is None or half is None else (value - half, value + half))]


def cell(
    method: str,
    variant: str = "published",
    *,
    problem: str = "fashion",
    records: int = 15000,
    request: str = "random",
    share: float = 0.01,
    draw: int = 2,
    left: float | None = 0.5,
    half: float | None = 0.1,
    retain: float = 0.3,
    cpu_s: float = 2.0,
    early: int = 30,
    failed: str | None = None,
    vague: tuple[str, ...] = (),
    missing: tuple[str, ...] = (),
    tuning_s: float | None = None,
    predicted: float | None = None,
    price: float | None = 9000.0,
    looks: float = 0.06,
    pairs: tuple[float, ...] = (),
    dirty: bool = False,
) -> dict[str, Any]:
    """A cell: doing nothing is 4 away by margin and .1 on retain records, an epoch takes 1 s and 60 are a retraining.

    left: share by margin; the other statistics keep a little more each. vague: statistics by which doing nothing is
    not surely away; missing: those that were not measured. cpu_s 0 is for doing nothing. price: record-trainings, of
    which a share goes to looks; None for a result from before they were counted. pairs: as `paired.products` gives.
    """
    setting = {"problem": problem, "records": records, "request": request, "share": share, "draw": draw}
    parts = 4 if request == "sequence" else 1
    whole, retraining = 60.0 * parts, method == "retrain"
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "cell": {
            "setting": {**setting, "originals": 16, "retrained": 32},
            "method": method,
            "variant": variant,
            "models": 4 if variant != "default" else 16,
        },
        "options": {},
        "evidence": False,
        "method_version": REGISTRY[method].version,
        **VERSIONS,
        "forget": round(share * records),
        "epochs": 60,
        "early": early,
        "git": {"commit": "0123456789abcdef", "dirty": dirty},
        "versions": {"efface": "0.1.0", "python": "3.11.7", "platform": "Linux-made-up"},
        "machine": {"cpu": "Made-up CPU", "cores": 2, "threads": 1, "device": "cpu"},
        "tuning": None if tuning_s is None else {"cpu_s": tuning_s, "models": {"originals": 1, "retrained": 4}},
        "failed": failed,
    }
    if failed is not None:
        return result
    own: dict[str, Any] = {"cpu_s": cpu_s, "wall_s": cpu_s, "each": [cpu_s] if retraining else []}
    if cpu_s and not retraining:
        own |= {"each": [cpu_s - 0.5, cpu_s, cpu_s + 0.5], "requests": parts}
        own["phases"] = {"steps": round(0.9 * cpu_s, 3), "stop checks": round(0.1 * cpu_s, 3)}
        if price is not None:
            own |= {"price": price, "price_each": [price, price]}
            own["prices"] = {"steps": (1 - looks) * price, "stop checks": looks * price}

    def ratio(value: float) -> float | None:
        return value / cpu_s if cpu_s else None

    result["cost"] = {
        "unlearn": own,
        "epoch_cpu_s": 1.0,
        "retrain": {"cpu_s": whole, "wall_s": whole, "price": None if price is None else 60.0 * parts * records},
        "cheaper": ratio(whole),
        "cheaper_wall": ratio(0.9 * whole),
        "cheaper_early": ratio(whole * early / 60),
        "examples": None if method in ("noop", "retrain") else ratio(0.5 * whole),
    }
    result["remains"], result["d2"], result["pairs"] = {}, {}, {"margin": list(pairs)}
    for number, place in enumerate(PLACES):
        if place in missing:
            continue
        far = 0.1 if place in ("retain", "test") else 4.0
        value = None if left is None else left + 0.05 * number * (0 < left < 1)
        result["remains"][place] = {"share": around(value, half), "informative": place not in vague}
        now = retain if place == "retain" else None if value is None else far * value
        result["d2"][place] = {
            "original": around(far, 0.05),
            "unlearned": around(now, half),
            "retrained": around(0.0, 0.05),
        }
    for place, end in (("retain", retain), ("test", 0.15)):
        result["d2"][place]["change"] = around(end - 0.1, None if variant != "default" else 0.04)
    for place, numbers in (("forget", (1.0, 0.9, 0.85)), ("retain", (1.0, 0.98, 1.0)), ("test", (0.86, 0.855, 0.861))):
        result[f"accuracy {place}"] = {g: [v, 0.01] for g, v in zip(GROUPS, numbers, strict=True)}
    result["auc"] = {"original": [0.6, 0.01], "unlearned": [0.52, None], "retrained": [0.5, 0.01]}
    result["variation"] = {"original": 0.4, "unlearned": 0.25, "retrained": 0.2}
    result["divergence"] = {"original": 0.2, "unlearned": 0.1, "retrained": 0.075}
    if predicted is not None:
        result["predicted"] = {"original": 0.99, "unlearned": predicted, "retrained": 0.0}
    return result


def tuning(method: str, cpu_s: float) -> dict[str, Any]:
    """What the tuning of a method found, with two draws."""
    setting = {"problem": "fashion", "records": 15000, "request": "random", "share": 0.01, "draw": 0}
    return {
        "evidence": False,
        "method_version": REGISTRY[method].version,
        **VERSIONS,
        "tuning_version": 1,
        "versions": {"torch": "made up"},
        "tuned": {"setting": {**setting, "originals": 1, "retrained": 4}, "method": method},
        "tried": [{"options": {"lr": v}, "score": v, "cpu_s": cpu_s / 2} for v in (1.0, 2.0)],
        "best": {"lr": 1.0},
        "limit_s": 5.0,
        "cpu_s": cpu_s,
    }


def name_of(result: dict[str, Any]) -> str:
    """The file name that the runner gives a cell or a tuning."""
    own = result.get("cell") or result["tuned"]
    s = own["setting"]
    setting = f"{s['problem']}-{s['records']}-{s['request']}-{s['share']:g}-{s['draw']}"
    return f"{setting}-{own['method']}-{own.get('variant', 'tuning')}.json"


def written(folder: Path, *result: dict[str, Any]) -> Path:
    """The folder, with those cells and tunings in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in result:
        (folder / name_of(one)).write_text(json.dumps(one), encoding="utf-8")
    return folder


def controls(**how: Any) -> list[dict[str, Any]]:
    """Doing nothing and retraining, in one setting."""
    return [
        cell("noop", "default", left=1.0, retain=0.1, cpu_s=0, **how),
        cell("retrain", "default", left=0.0, retain=0.0, cpu_s=61.0, **how),
    ]


def tabled(table: Path, *results: dict[str, Any]) -> Path:
    """The committed table of those cells and tunings, written with what lies beside it."""
    table.parent.mkdir(parents=True, exist_ok=True)
    records = [r.measured for r in ordered(row_of(flatten(one)) for one in results if "cell" in one)]
    for path, text in zip((table, table.with_suffix(".json")), table_text(records, table.stem), strict=True):
        write_whole(path, text)
    tunings = [{"suite": table.stem, **one} for one in results if "tuned" in one]
    write_whole(table.with_name("tunings.csv"), tunings_text(tunings))
    return table


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]
