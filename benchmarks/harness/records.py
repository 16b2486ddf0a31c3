"""A cell's result as one flat record, the row of a table: what tables and figures are made from.

Keys are the columns of `results/<suite>.csv`. A number with an interval has the columns KEY, KEY.low and KEY.high, a
mean over models KEY and KEY.sd. `share.STATISTIC` is what is left of doing nothing's excess d2, which means something
where `informative.STATISTIC`; `d2.STATISTIC.GROUP` is excess d2 of a group of models. `price` is in record-trainings,
`phases` and `prices` are CPU seconds and record-trainings by phase, `pairs.STATISTIC` is what `paired.products` gives.
Results made before one of these was measured lack it.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.cell import SCHEMA

Record = dict[str, Any]

GROUPS = ("original", "unlearned", "retrained")
SPREADS = ("accuracy forget", "accuracy retain", "accuracy test", "auc")
SINGLES = ("variation", "divergence", "predicted")
SETTING = ("problem", "records", "request", "share", "draw", "originals", "retrained")
VERSIONS = ("method_version", "judge_version", "evaluator_version")
CELL = ("method", "variant", "models", "options", "evidence", *VERSIONS)
ON = ("git", "versions", "machine")
COSTS = ("cpu_s", "wall_s", "forward", "backward", "peak_mb", "price")
BY_PHASE = ("phases", "prices")
RATIOS = ("cheaper", "cheaper_wall", "cheaper_early", "examples")
EDGES = ("", ".low", ".high")


def flatten(result: Mapping[str, Any]) -> Record:
    """The record of a result as the runner writes it.

    Raises:
        KeyError, TypeError, ValueError: it is no such result, or of another schema.
    """
    if result["schema"] != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}, got {result['schema']}")
    cell, tuning, failed = result["cell"], result["tuning"], result["failed"]
    record: Record = {key: cell["setting"][key] for key in SETTING}
    record |= {key: (cell if key in cell else result)[key] for key in CELL}
    record |= {key: int(result[key]) for key in ("forget", "epochs", "early")}
    record |= {key: dict(result[key] or {}) for key in ON}
    record["tuning_cpu_s"] = None if tuning is None else number(tuning["cpu_s"])
    record["failed"] = None if failed is None else " ".join(str(failed).split())
    return record if failed is not None else record | _cost(result["cost"]) | _measured(result)


def number(value: Any) -> float | None:
    """A number; None for what is missing, or is none that a table could show."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")
    return float(value) if math.isfinite(value) else None


def rounded(value: float, digits: int) -> float:
    """A number of so many digits: rounded here, so that a run's folder and its committed table show the same."""
    return float(f"{value:.{digits}g}")


def _cost(cost: Mapping[str, Any]) -> Record:
    own = cost["unlearn"]
    found: Record = {key: number(own[key]) for key in COSTS if own.get(key) is not None}
    found |= {key: {p: rounded(v, 4) for p, v in own[key].items()} for key in BY_PHASE if own.get(key) is not None}
    return {
        "cpu_s": None,
        **found,
        "cpu_s.sd": _sd(own.get("each", [])),
        "price.sd": _sd(own.get("price_each", [])),
        "retrain_price": number(cost["retrain"].get("price")),
        "epoch_cpu_s": number(cost["epoch_cpu_s"]),
        **{key: number(cost.get(key)) for key in RATIOS},
    }


def _sd(each: Sequence[float]) -> float | None:
    return statistics.stdev(map(float, each)) if len(each) > 1 else None


def _measured(result: Mapping[str, Any]) -> Record:
    record: Record = {}
    for key, value in result["remains"].items():
        record |= _with_ends(f"share.{key}", value["share"])
        record[f"informative.{key}"] = bool(value["informative"])
    for key, groups in result["d2"].items():
        for group, value in groups.items():
            record |= _with_ends(f"d2.{key}.{group}", value)
    pairs = result.get("pairs", {})
    record |= {f"pairs.{key}": [rounded(v, 5) for v in values] for key, values in pairs.items() if values}
    for key in SPREADS:
        for group in GROUPS:
            mean, sd = result[key][group]
            record |= {f"{_column(key)}.{group}": number(mean), f"{_column(key)}.{group}.sd": number(sd)}
    for key in SINGLES:
        if key in result:
            record |= {f"{key}.{group}": number(result[key][group]) for group in GROUPS}
    return record


def _with_ends(key: str, values: Sequence[Any]) -> Record:
    value, low, high = values
    return {f"{key}{edge}": number(v) for edge, v in zip(EDGES, (value, low, high), strict=True)}


def _column(key: str) -> str:
    return key.replace(" ", "_")
