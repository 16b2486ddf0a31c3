"""The models that a suite needs, and the jobs that train them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.cost import time_epoch
from benchmarks.harness.jobs import Job
from benchmarks.harness.problems import problem
from benchmarks.harness.readings import request_of
from benchmarks.harness.requests import HALVES, RETRAINED_SEED, BenchRequest, half_models, train_models
from benchmarks.harness.suite import Setting
from benchmarks.harness.tuning import ORIGINALS_SEED, Tuned
from efface.errors import RequestError
from efface.runtime.devices import threads

MODELS_A_JOB = 4


@dataclass(frozen=True)
class Batch:
    """Some models to train: which of a setting's, from seed `first` on."""

    setting: Setting
    which: str  # halves, originals or retrained
    first: int
    count: int

    def identity(self) -> tuple[Any, ...]:
        """Equal for batches of the same models: a request that changes no label shares its originals."""
        s = self.setting
        own = s if self.which == "retrained" or (s.request == "flipped" and self.which == "originals") else None
        return s.problem, s.records, own, self.which, self.first, self.count


def halves_of(settings: Iterable[Setting]) -> Iterator[Batch]:
    """Models on random halves of the records, by which memorised records are chosen."""
    for s in settings:
        if s.request == "memorised":
            yield Batch(s, "halves", 0, HALVES)


def models_of(settings: Iterable[Setting], tunings: Iterable[Tuned]) -> Iterator[Batch]:
    """Original and retrained models of settings, and those that tunings are judged by."""
    for s in settings:
        yield from _chunks(s, "originals", 0, s.originals)
        yield from _chunks(s, "retrained", RETRAINED_SEED, s.retrained)
    for t in tunings:
        yield from _chunks(t.setting, "originals", ORIGINALS_SEED, t.setting.originals)
        yield from _chunks(t.setting, "retrained", RETRAINED_SEED, t.setting.retrained)


def _chunks(setting: Setting, which: str, first: int, count: int) -> Iterator[Batch]:
    for start in range(0, count, MODELS_A_JOB):
        yield Batch(setting, which, first + start, min(MODELS_A_JOB, count - start))


def _train(batch: Batch, cache: Path) -> None:
    with threads(1):
        s = batch.setting
        # of halves alone, any request will do
        request = request_of(replace(s, request="random") if batch.which == "halves" else s, cache)
        if batch.which == "halves":
            half_models(request.problem, request.records, cache / "models")
            return
        if not len(request.forget):
            raise RequestError("the request has no records: take another draw")
        positions = request.retain if batch.which == "retrained" else np.arange(request.records)
        train_models(request, [positions] * batch.count, batch.first, cache / "models")


def training_jobs(batches: Iterable[Batch], cache: Path, epochs: Mapping[tuple[str, int], float]) -> list[Job]:
    """A job for each batch of models; `epochs` has the CPU seconds of one, by problem and number of records."""
    jobs = {}
    for b in batches:
        s = b.setting
        share = 0.5 if b.which == "halves" else 1.0
        guess = b.count * share * problem(s.problem).epochs[s.records] * epochs[s.problem, s.records]
        name = f"{s.name}: {b.count} models ({b.which}, from seed {b.first})"
        jobs[b.identity()] = Job(name, guess, _train, (b, cache))
    return list(jobs.values())


def epoch_seconds(settings: Iterable[Setting]) -> dict[tuple[str, int], float]:
    """CPU seconds of an epoch of each problem, timed here and now on its smallest number of records."""
    found = {}
    with threads(1):
        for key, records in sorted({(s.problem, s.records) for s in settings}):
            smallest = min(problem(key).sizes)
            one = BenchRequest(problem(key), problem(key).task(smallest), (np.arange(1),))
            found[key, records] = time_epoch(one).cpu_s * records / smallest
    return found
