"""What a setting's original and retrained models say, read once and kept for all of its cells."""

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.harness.evaluator import EVALUATOR_VERSION, Evaluator
from benchmarks.harness.problems import problem
from benchmarks.harness.requests import BenchRequest, make_request, train_originals, train_retrained
from benchmarks.harness.suite import Setting
from efface.runtime.devices import threads
from efface.runtime.files import atomic_write


def request_of(setting: Setting, cache: Path) -> BenchRequest:
    """The request of a setting; models that choose its records are kept in `cache`."""
    s = setting
    return make_request(problem(s.problem), s.records, s.request, s.share, s.draw, cache / "models")


def readings_place(setting: Setting, cache: Path) -> Path:
    """File of the readings of a setting's original and retrained models."""
    description = {"setting": asdict(setting), "evaluator": EVALUATOR_VERSION, "torch": str(torch.__version__)}
    key = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
    return cache / "readings" / f"{key}.safetensors"


def make_readings(setting: Setting, cache: Path) -> float:
    """Train a setting's original and retrained models and read them all, unless it is done; gives CPU seconds."""
    start = time.process_time()
    place = readings_place(setting, cache)
    if not place.is_file():
        with threads(1):
            request = request_of(setting, cache)
            retrained = train_retrained(request, setting.retrained, cache / "models")
            evaluator = Evaluator(request, retrained[0])
            original = train_originals(request, setting.originals, cache / "models")
            groups = {"original": original, "retrained": retrained}
            found = {f"{w}/{k}": v for w, models in groups.items() for k, v in evaluator.read_all(models).items()}
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(place) as temporary:
                save_file({k: v.contiguous() for k, v in found.items()}, temporary)
    return time.process_time() - start


def load_readings(setting: Setting, cache: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Readings of the original and of the retrained models, which `make_readings` made."""
    found = load_file(readings_place(setting, cache))
    original, retrained = (
        {k.removeprefix(f"{w}/"): v for k, v in found.items() if k.startswith(f"{w}/")}
        for w in ("original", "retrained")
    )
    return original, retrained
