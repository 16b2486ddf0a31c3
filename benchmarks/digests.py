"""Bitwise digests of what every method and every audit level computes, to compare two commits on one machine.

    python benchmarks/digests.py > before.txt      # at one commit
    python benchmarks/digests.py | diff before.txt -   # at another, on the same machine

Each line is a name and a hash. Numbers of an audit are hashed in order of size, so that renaming a key or a title
changes nothing. Rounding differs between processors, so these hashes are not for keeping: tests/stored is.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

import efface  # noqa: E402
from efface.unlearning.stopping import LooksUnseen  # noqa: E402
from helpers.judged import class_problem, problem  # noqa: E402
from helpers.method_table import SMALL  # noqa: E402
from helpers.tiny import REFERENCE, make_tiny, weights  # noqa: E402


def numbers(tree: Any) -> Iterator[str]:
    """Every number and truth value in a nesting of mappings and lists, as text."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for value in tree:
            yield from numbers(value)
    elif isinstance(tree, int | float):
        yield repr(tree)


def digest(parts: Any) -> str:
    """A short hash of some texts or bytes."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def document(report: Any) -> str:
    """What an audit found, without what time and load decide."""
    skipped = ("created", "cost", "versions", "git", "threads", "schema_version", "models", "method", "judge_version")
    told = {k: v for k, v in report.document.items() if k not in skipped}
    told["records"] = [{k: v for k, v in row.items() if k not in ("position", "label")} for row in told["records"]]
    if told["ensembles"] is not None:
        told["ensembles"] = {k: v for k, v in told["ensembles"].items() if k not in ("cpu_s", "found")}
    return digest((str(report.verdict.status), sorted(numbers(told))))


def main() -> None:
    """Print every digest."""
    torch.set_num_threads(1)
    tiny = make_tiny()
    for name, options in sorted(SMALL.items()):
        result = efface.unlearn(
            tiny.model,
            task=tiny.task(),
            forget=tiny.forget,
            method=efface.methods.get(name, options),
            options=efface.UnlearnOptions(reference=REFERENCE, stop=LooksUnseen()),
        )
        looks = sorted(str(getattr(look, "step", "")) + str(look.auc.value) for look in result.evidence.evaluations)
        print(f"method {name}: {digest(weights(result.model))} {digest((looks, str(result.evidence.outcome)))}")
    judged, classes = problem(), class_problem()
    steered = judged.unlearned("steer")
    again = [judged.without(seed) for seed in (1, 2, 3, 4)]
    for level in ("quick", "standard", "strong"):
        print(f"audit {level}: {document(judged.audit(steered, level=level))}")
    print(f"audit standard, retrained: {document(judged.audit(steered, retrained=again))}")
    print(f"audit standard, original: {document(judged.audit())}")
    print(f"audit strong, no method: {document(judged.audit(unlearned=judged.without(5), level='strong'))}")
    print(f"audit standard, class: {document(classes.audit(classes.unlearned('steer')))}")


if __name__ == "__main__":
    main()
