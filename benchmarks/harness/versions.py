"""The hand-raised versions that a result depends on, and whether a result is still one of the code as it is."""

from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.harness.evaluator import EVALUATOR_VERSION
from efface.auditing.verdict import JUDGE_VERSION
from efface.methods import REGISTRY


def versions_of(method: str) -> dict[str, int]:
    """Versions of the method, of efface's judge and of the benchmark's reading of models."""
    return {
        "method_version": REGISTRY[method].version,
        "judge_version": JUDGE_VERSION,
        "evaluator_version": EVALUATOR_VERSION,
    }


def is_current(result: Mapping[str, Any], method: str, **expected: Any) -> bool:
    """Whether a result has the values expected of it and was made by the versions of now, torch's among them."""
    made_by = result.get("versions")
    wanted = {**versions_of(method), **expected}
    return (
        isinstance(made_by, Mapping)
        and made_by.get("torch") == str(torch.__version__)
        and all(result.get(key) == value for key, value in wanted.items())
    )
