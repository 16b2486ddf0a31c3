"""Any verbs of a store in any order, some of them broken off half-way, against a simple model of what they promise.

Unlearning is a double here: it shifts all weights by a number that follows from who is forgotten.
"""

import copy
import hashlib
import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from efface import Task
from efface.store import DriftLimits, RunPlan, Store, StoreSettings, failpoints
from efface.store.clock_state import EARLIEST
from efface.store.entries import RESET, TIMES
from efface.store.errors import StoreError
from efface.store.failpoints import RUN_POINTS
from helpers.store_cases import HARMLESS
from helpers.store_verbs import refused, shift
from helpers.tiny import mlp, records

LONG = os.environ.get("EFFACE_LONG") == "1"
IDS = tuple(f"person-{at:02d}@example.org" for at in range(40))
PEOPLE = st.sampled_from(IDS[:8])
# of the others an unlearning by a double, without an audit, passes none
UNREACHED = ("unlearn", "report", "audited")
REACHED = [p for p in RUN_POINTS if p.split(".")[0] not in UNREACHED and p != "run.audited"]
PLANS = [RunPlan(method="finetune", seed=seed, level=None) for seed in (0, 1)]
BEGAN = datetime(2031, 5, 17, 12, tzinfo=UTC)


def anew(plan: RunPlan) -> RunPlan:
    """A retraining, which takes no method."""
    return RunPlan(seed=plan.seed, level=None, retrain=True)


def fill(model: nn.Module, dataset: Dataset[Any], seed: int) -> None:
    """The double of a training: weights that say how many records there were."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(len(dataset) + seed)  # type: ignore[arg-type]


@dataclass
class Asked:
    ids: frozenset[str]
    stage: str = "pending"
    version: int | None = None


@dataclass
class Promise:
    """What a store is to say. `forgets` holds whom each version has forgotten, by its number."""

    requests: list[Asked] = field(default_factory=list)
    forgets: list[frozenset[str]] = field(default_factory=lambda: [frozenset(), frozenset()])  # there is no version 0
    current: int = 1

    @property
    def forgotten(self) -> frozenset[str]:
        """All who were ever forgotten; every version in service has forgotten them all."""
        return frozenset().union(*self.forgets)

    def numbers(self, stage: str) -> tuple[int, ...]:
        return tuple(n for n, r in enumerate(self.requests, 1) if r.stage == stage)

    def first(self, ids: frozenset[str]) -> int:
        """The first version that has forgotten them all."""
        return next(n for n, forgotten in enumerate(self.forgets) if n and ids <= forgotten)

    def add(self, ids: frozenset[str]) -> tuple[int, bool]:
        for number, request in enumerate(self.requests, 1):
            if request.ids == ids and request.stage != "cancelled":
                return number, False
        self.requests.append(Asked(ids))
        self.settle()
        return len(self.requests), True

    def settle(self) -> None:
        for request in self.requests:
            if request.stage == "pending" and request.ids <= self.forgotten:
                request.stage, request.version = "honoured", self.first(request.ids)

    def run(self, batch: tuple[int, ...]) -> None:
        wanted = [self.requests[n - 1] for n in batch]
        self.forgets.append(self.forgets[self.current].union(*(r.ids for r in wanted)))
        self.current = len(self.forgets) - 1
        for request in wanted:
            request.stage, request.version = "honoured", self.current
        self.settle()

    def says(self) -> tuple[Any, ...]:
        return [(r.stage, r.version) for r in self.requests], len(self.forgets) - 1, self.current  # type: ignore[return-value]


class Life(RuleBasedStateMachine):
    """The life of one store."""

    base: ClassVar[Path]
    offset: ClassVar[timedelta]
    number = itertools.count()

    @initialize(grace=st.sampled_from([0.0, 30.0]))
    def begin(self, grace: float) -> None:
        Life.offset = timedelta(0)
        self.folder = self.base / str(next(self.number))
        self.folder.mkdir()
        x, y = records(len(IDS), 0)
        self.task = Task(
            train=TensorDataset(x, y),
            holdout=TensorDataset(*records(12, 1)),
            ids=IDS,
            build_model=mlp,
            fit=fill,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = mlp()
        settings = StoreSettings(grace_days=grace, limits=DriftLimits(1.0, 1.0))
        with patch("efface.store.create.check_knowledge"):  # no model is trained here
            self.store = Store.create(self.folder / "store", self.task, model, settings=settings)
        self.promise = Promise()
        self.open: tuple[RunPlan, int, tuple[int, ...]] | None = None
        self.broken = False  # by a fault that no run has cleared up after yet
        self._open_idly()

    def _open_idly(self) -> None:
        """As long as somebody has the database open, SQLite does not empty its log by itself."""
        self.idle = sqlite3.connect(self.store.path / "ledger.sqlite")
        self.idle.execute("SELECT count(*) FROM events").fetchall()

    # verbs that end well

    @rule(ids=st.sets(PEOPLE, min_size=1, max_size=4), twice=st.booleans())
    def add(self, ids: set[str], twice: bool) -> None:
        wanted = sorted(ids) * (1 + twice)
        waiting = {name for n in self.promise.numbers("pending") for name in self.promise.requests[n - 1].ids}
        forgotten = self.promise.forgotten
        number, made = self.promise.add(frozenset(ids))
        answer = self.store.add(wanted)
        assert (answer.request.number, answer.made, answer.forgotten) == (number, made, len(ids & forgotten))
        if made:
            assert answer.waiting == len((ids - forgotten) & waiting)

    @precondition(lambda self: self.promise.requests)
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        ids = data.draw(st.sampled_from([sorted(r.ids) for r in self.promise.requests]))
        self.add(set(ids), False)

    @precondition(lambda self: self.promise.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.promise.requests)))
        request = self.promise.requests[number - 1]
        if request.stage == "honoured":
            assert "was honoured by version" in refused(self.store.cancel, number)[0]
            return
        self.store.cancel(number)
        self._cancelled(number)

    def _cancelled(self, number: int) -> None:
        self.promise.requests[number - 1].stage = "cancelled"
        if self.open is not None and number in self.open[2]:
            self.open = None

    @rule(plan=st.sampled_from(PLANS), retrain=st.sampled_from([False, False, True]), more=st.sets(PEOPLE, max_size=2))
    def run(self, plan: RunPlan, retrain: bool, more: set[str]) -> None:
        if more:
            self.add(more, False)
        plan = anew(plan) if retrain else plan
        batch, resumed = self._batch(plan)
        outcome = self.store.run(plan)
        self.broken = False
        if not batch and not retrain:
            assert outcome.status == "nothing"
        else:
            fresh = frozenset().union(*(self.promise.requests[n - 1].ids for n in batch)) - self.promise.forgotten
            assert (outcome.requests, outcome.records, outcome.resumed) == (batch, len(fresh), resumed)
            self.promise.run(batch)
            assert outcome.version is not None
            assert outcome.version.number == self.promise.current
        self.open = None

    @precondition(lambda self: self.open is not None)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """The same plan again, after another request for some of the same people."""
        plan, _, batch = self.open  # type: ignore[misc]
        whole = frozenset().union(*(self.promise.requests[n - 1].ids for n in batch)) or {IDS[0]}
        self.add(data.draw(st.sets(st.sampled_from(sorted(whole)), min_size=1, max_size=2)), False)
        self.run(replace(plan, retrain=False), plan.retrain, set())

    def _batch(self, plan: RunPlan) -> tuple[tuple[int, ...], bool]:
        if self.open is not None and self.open[:2] == (plan, self.promise.current):
            return self.open[2], True
        return self.promise.numbers("pending"), False

    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.promise.forgets) - 1))
        if not self._may_serve(number):
            assert "going back would undo that" in refused(self.store.rollback, number)[0]
        elif number == self.promise.current:
            assert refused(self.store.rollback, number) == (f"version {number} is in service already",)
        else:
            assert self.store.rollback(number).number == number
            self.promise.current = number

    def _may_serve(self, number: int) -> bool:
        honoured = [self.promise.requests[n - 1].ids for n in self.promise.numbers("honoured")]
        return all(ids <= self.promise.forgets[number] for ids in honoured)

    @rule(days=st.sampled_from([0, 0, -400, -1, 0.01, 31, 800]))
    def reopen(self, days: float) -> None:
        """Open the store anew and verify it, at another time; and ask for what cannot be."""
        Life.offset += timedelta(days=days)
        known = self.store.history()
        self.store = Store(self.folder / "store", self.task)
        assert self.store.history() == known
        assert "1 id is not among the training records" in refused(self.store.add, [IDS[0], "nobody"])[0]
        found = self.store.verify(level=None)
        left = [p for p in found.problems if not (self.broken and any(h in p for h in HARMLESS))]
        assert not left
        assert found.checked["records"] == len(self.promise.forgotten)

    @rule()
    def put_the_clock_right(self) -> None:
        """Say that the machine's clock is right; then no time of the history lies in its future."""
        now = BEGAN + Life.offset
        if now < EARLIEST:
            assert self.store.clock().future is None or "set it first" in refused(self.store.reset_clock)[0]
            return
        state = self.store.confirm_clock() if self.store.clock().future is None else self.store.reset_clock()
        assert (state.trusted, state.future) == (True, None)
        history = self.store.history()
        entries = [*history.requests.values(), *history.runs.values(), *history.versions.values()]
        known = [at for entry in entries for name in TIMES if (at := getattr(entry, name, None))]
        assert max([history.created, history.latest, *known]) <= now.isoformat(timespec="milliseconds")

    @rule()
    def restore(self) -> None:
        """Lose the store, and make it again of a backup of that moment."""
        made = self.store.backup(self.folder / "backup")
        assert made.pending == self.promise.numbers("pending")
        self.idle.close()
        shutil.rmtree(self.store.path)
        Store.restore(made.path, self.store.path, head=made.head, bring_back=True)
        shutil.rmtree(made.path)
        self.store = Store(self.store.path, self.task)
        assert self.store.history().restored[-1].event == made.head.seq
        assert self.store.verify(level=None).problems == ()
        self._open_idly()

    # verbs that are broken off

    @rule(
        verb=st.sampled_from(["run", "run", "run", "retrain", "add", "cancel", "rollback"]),
        point=st.sampled_from(REACHED),
        nth=st.sampled_from([1, 1, 1, 2, 3]),
        data=st.data(),
    )
    def break_off(self, verb: str, point: str, nth: int, data: st.DataObject) -> None:
        after = copy.deepcopy(self.promise)
        plan = data.draw(st.sampled_from(PLANS))
        plan = anew(plan) if verb == "retrain" else plan
        call: Callable[[], Any]
        if verb in ("run", "retrain"):
            self.add(data.draw(st.sets(PEOPLE, min_size=1, max_size=3)), False)
            after = copy.deepcopy(self.promise)
            batch, _ = self._batch(plan)
            call = lambda: self.store.run(plan)  # noqa: E731
            if batch or plan.retrain:
                after.run(batch)
        elif verb == "add":
            ids = frozenset(data.draw(st.sets(PEOPLE, min_size=1, max_size=4)))
            call = lambda: self.store.add(sorted(ids))  # noqa: E731
            after.add(ids)
        elif verb == "cancel":
            if not (waiting := self.promise.numbers("pending")):
                return
            number = data.draw(st.sampled_from(waiting))
            call = lambda: self.store.cancel(number)  # noqa: E731
            after.requests[number - 1].stage = "cancelled"
        else:
            able = [n for n in range(1, len(after.forgets)) if n != after.current and self._may_serve(n)]
            if not able:
                return
            number = data.draw(st.sampled_from(able))
            call = lambda: self.store.rollback(number)  # noqa: E731
            after.current = number
        self._broken_off(call, f"{point}:full:{nth}", after, verb in ("run", "retrain"))

    def _broken_off(self, call: Callable[[], Any], fault: str, after: Promise, isrun: bool) -> None:
        """Afterwards the verb was carried out, or it was not; nothing in between."""
        failpoints.arm(fault)
        try:
            call()
        except (OSError, StoreError) as error:
            assert "No space left on device" in str(error)
            self.broken = True
            said = self._says()
            assert said in (self.promise.says(), after.says())
            self.promise = self.promise if said == self.promise.says() else after
        else:
            self.promise = after
            self.broken = self.broken and not isrun
        finally:
            failpoints.disarm()
        run = self.store.history().open_run
        self.open = None
        if run is not None:
            assert set(run.requests) <= set(self.promise.numbers("pending"))
            begun = PLANS[run.plan["seed"]]
            begun = anew(begun) if run.plan["retrain"] else begun
            self.open = (begun, run.parent, run.requests)

    # what holds at all times

    def _says(self) -> tuple[Any, ...]:
        history = self.store.history()
        asked = [(str(r.stage), r.version) for r in history.requests.values()]
        return asked, len(history.versions), history.current

    @invariant()
    def the_store_says_what_it_promised(self) -> None:
        assert self._says() == self.promise.says()
        forgotten = self.promise.forgotten
        for number, request in enumerate(self.promise.requests, 1):
            kept = request.ids - forgotten if request.stage == "pending" else frozenset()
            assert sorted(self.store.ids(number)) == sorted(kept)
        honours = self.store.status().honours
        for number, request in enumerate(self.promise.requests, 1):
            if request.stage == "honoured":
                able = [v for v in honours if request.ids <= self.promise.forgets[v]]
                assert [v for v, numbers in honours.items() if number in numbers] == able

    @invariant()
    def nobody_is_named_who_no_longer_waits(self) -> None:
        if self.store.history().uncleared:
            assert "deleted ids may still stand in the write-ahead log" in " ".join(self.store.status().warnings)
            return
        waiting = {name for n in self.promise.numbers("pending") for name in self.promise.requests[n - 1].ids}
        held = b"".join(p.read_bytes() for p in self.store.path.rglob("*") if p.is_file())
        for name in set(IDS) - (waiting - self.promise.forgotten):
            assert name.encode() not in held

    @invariant()
    def a_whole_model_is_served(self) -> None:
        target = self.store.current.resolve()
        assert target.parent == self.store.path / "checkpoints"
        assert hashlib.sha256(target.read_bytes()).hexdigest() == target.stem
        versions = self.store.history().versions
        if not self.broken:
            assert target.stem == versions[self.promise.current].file
        assert {v.weights for v in versions.values() if v.file == target.stem}

    @invariant()
    def the_history_is_whole_and_in_order(self) -> None:
        assert Store(self.store.path).history() == self.store.history()
        with sqlite3.connect(self.store.path / "ledger.sqlite") as raw:
            rows = raw.execute("SELECT seq, at, kind FROM events ORDER BY seq").fetchall()
        raw.close()
        assert [seq for seq, _, _ in rows] == list(range(1, len(rows) + 1))
        resets = [0, *(place for place, (_, _, kind) in enumerate(rows) if kind == RESET), len(rows)]
        for begin, end in itertools.pairwise(resets):
            assert [at for _, at, _ in rows[begin:end]] == sorted(at for _, at, _ in rows[begin:end])

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.idle.close()
            shutil.rmtree(self.folder)


def test_any_order_of_verbs_and_faults_keeps_the_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.store.build.unlearn", shift)
    monkeypatch.setattr("efface.store.batch.MAX_SHARE", 1.0)
    monkeypatch.setattr("efface.store.clock.now", lambda: BEGAN + Life.offset)
    monkeypatch.setattr(Life, "base", tmp_path, raising=False)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=200 if LONG else 15,
            stateful_step_count=50 if LONG else 25,
            deadline=None,
            derandomize=not LONG,
            suppress_health_check=list(HealthCheck),
        ),
    )
