"""What all audited runs of a lineage say together of the process by which records were forgotten. Light to import."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from efface.auditing.config import AUC_MARGIN, RANK_STATISTIC, TOLERANCE
from efface.errors import RequestError
from efface.metrics.confidence_sequence import mean_interval, values_needed
from efface.runtime.printing import how_many
from efface.store.entries import RunRecord, Stage
from efface.store.errors import DamagedError
from efface.store.history import History
from efface.types import Estimate

RANKS = "ranks"  # the key of an audit under which `noted_ranks` stands
ALPHA = 0.05  # the largest chance of a false alarm at any time, and that of a false clearance
LEVEL = 1 - 2 * ALPHA
NONE, OPEN, LEFT, CLEARED = "none", "open", "left", "cleared"


@dataclass(frozen=True)
class ProcessEvidence:
    """What all audited runs of the lineage in service say together, whatever became of their models.

    An effect is a mean over runs: how much higher the forgotten records of a run rank among never-seen records of equal
    difficulty than never-seen ones do; 0 for models that never saw them. Its interval may be looked at whenever one
    likes: each limit is ever beyond the truth with a chance of at most 5 %.

    Args:
        version: number of the version in service.
        lineage: number of its lineage; a new one starts anew.
        runs: how many runs count.
        records: how many forgotten records they count.
        rejected: how many of these runs made a model that never went into service.
        repeated: how many further runs were attempts at records that earlier ones count. They cannot lead to a
            conclusion, but can hinder one.
        without_partners: how many further runs found no never-seen record that had not served an earlier one.
        not_counted: how many further runs were not audited with reference models, or by a version of efface that did
            not note it.
        effect: the effect, from -1 to 1; None if no run counts.
        original: the same of the models before each run.
        margin: the largest effect that counts as none.
        tolerance: by how much the interval must clear these bounds: 0.05 where the requests are shown not to be like
            other records in difficulty, since difficulty is measured with error; else 0.
        conclusion: `left` (the interval lies above 0, or the tolerance: records are still known), `cleared` (it lies
            within the margin less the tolerance, and that of the original above the margin), `open` (neither), or
            `none` if no run counts.
        more_runs: about how many more runs a conclusion would take if they are like these; None if that is not known.
        towards: that conclusion, `left` or `cleared`; None if it is not known.
        partners_left: how many never-seen records can serve later runs; each takes at least one. None if no run counts.
    """

    version: int
    lineage: int
    runs: int
    records: int
    rejected: int
    repeated: int
    without_partners: int
    not_counted: int
    effect: Estimate | None
    original: Estimate | None
    margin: float
    tolerance: float
    conclusion: str
    more_runs: int | None
    towards: str | None
    partners_left: int | None

    @property
    def sentence(self) -> str:
        """What it says, as one sentence."""
        if self.effect is None:
            return "nothing can be said yet, since no run of this lineage was audited with reference models"
        never = f" ({self.rejected} never in service)" if self.rejected else ""
        counted = f"in {_count(self.runs, 'run')}{never} on {_count(self.records, 'record')}"
        return f"{self._said}: effect {show_effect(self.effect)} {counted}{self._outlook}"

    @property
    def _said(self) -> str:
        """The conclusion in words."""
        match self.conclusion:
            case "left":
                return "forgotten records are still known"
            case "cleared":
                return f"forgotten records are as never-seen ones, within ±{self.margin:.2f}"
            case _ if self.effect is not None and self.effect.high < 0:
                return "not cleared, since forgotten records rank below never-seen ones"
            case _:
                return "not decided yet"

    @property
    def _outlook(self) -> str:
        """About how many more runs it takes; empty where that is decided."""
        if self.conclusion != OPEN or self.effect is None or self.effect.high < 0:
            return ""
        if self.effect.within(0.0, self.margin - self.tolerance):
            return "; the models before the runs are not shown to know the records by more than that margin"
        if self.more_runs is None:
            return "; how many more it takes cannot be said"
        short = self.partners_left is not None and self.more_runs > self.partners_left
        scarce = f", and the holdout has unused records for at most {self.partners_left}" if short else ""
        end = "clear it" if self.towards == CLEARED else "show that they are known"
        return f"; about {_count(self.more_runs, 'more run')} like these would {end}{scarce}"


def show_effect(e: Estimate) -> str:
    """An effect and its interval as text, with signs and three decimals."""
    return f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def _count(number: int, what: str) -> str:
    return how_many(number, what)


def runs_of_lineage(history: History, lineage: int) -> list[RunRecord]:
    """The runs that unlearned from a version of a lineage, in order, whatever became of them."""
    return [
        run
        for run in history.runs.values()
        if history.versions[run.parent].lineage == lineage and not run.plan["retrain"]
    ]


def process_evidence(history: History) -> ProcessEvidence:
    """Pool the audited runs of the lineage in service; DamagedError if what one of them notes cannot be read."""
    try:
        return _pool(history)
    except (KeyError, TypeError, ValueError, AttributeError, RequestError) as error:
        raise DamagedError("the history notes ranks of an audited run that cannot be read") from error


def _pool(history: History) -> ProcessEvidence:
    lineage = history.serving.lineage
    runs = runs_of_lineage(history, lineage)
    # whatever became of a run: one that was given up after its audit would else be a way of leaving out bad ones
    noted = [(run, ranks) for run in runs if (ranks := _ranks(run)) is not None]
    ended = [run for run in runs if run.stage in (Stage.DONE, Stage.REJECTED)]
    counted = [(run, ranks) for run, ranks in noted if ranks["records"]]
    after, before, eased = ([ranks[key] for _, ranks in counted] for key in ("after", "before", "difficulty"))
    repeated = [ranks for _, ranks in noted if not ranks["new"]]
    effect = _effect(after)
    if effect is not None and any(ranks["new"] < ranks["attempted"] for _, ranks in noted):
        # attempts at records that count already may have been made until one looked good: they only widen
        effect = _hull(effect, [ranks["all_after"] for _, ranks in noted])
    original = _effect(before)
    tolerance = TOLERANCE if _are_chosen(eased, [ranks["nonmembers"] for _, ranks in counted]) else 0.0
    conclusion = _conclude(effect, original, tolerance)
    more_runs, towards = _forecast(after, before, tolerance) if conclusion == OPEN else (None, None)
    return ProcessEvidence(
        version=history.current,
        lineage=lineage,
        runs=len(counted),
        records=sum(ranks["records"] for _, ranks in counted),
        rejected=sum(run.stage not in (Stage.DONE, Stage.OPEN) for run, _ in counted),
        repeated=len(repeated),
        without_partners=len(noted) - len(counted) - len(repeated),
        not_counted=sum(_ranks(run) is None for run in ended),
        effect=effect,
        original=original,
        margin=AUC_MARGIN,
        tolerance=tolerance,
        conclusion=conclusion,
        more_runs=more_runs,
        towards=towards,
        partners_left=noted[-1][1]["left"] if noted else None,
    )


def _ranks(run: RunRecord) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (run.audit or {}).get(RANKS)
    return found if found is not None and found["statistic"] == RANK_STATISTIC else None


def _unit(effects: Sequence[float], most: float = 1.0) -> list[float]:
    """Effects from -most to most, as values from 0 to 1."""
    return [(1 + e / most) / 2 for e in effects]


def _effect(effects: Sequence[float], most: float = 1.0) -> Estimate | None:
    if not effects:
        return None
    found = mean_interval(_unit(effects, most), LEVEL)
    value, low, high = (most * (2 * v - 1) for v in (found.value, found.low, found.high))
    return Estimate(value, low, high, LEVEL)


def _hull(effect: Estimate, every_attempt: Sequence[float]) -> Estimate:
    """An effect with the interval that holds its own and that of all attempts, from -0.5 to 0.5 each."""
    other = _effect(every_attempt, 0.5)
    if other is None:
        return effect
    return Estimate(effect.value, min(effect.low, other.low), max(effect.high, other.high), effect.level)


def _are_chosen(difficulty: Sequence[float], nonmembers: Sequence[int]) -> bool:
    """Whether records are shown to be easier, or more difficult, than never-seen ones.

    Args:
        difficulty: Mean ranks of the records of each run by difficulty, less 0.5.
        nonmembers: How many never-seen records each run ranked them among.
    """
    shift = _effect(difficulty, 0.5)
    if shift is None:
        return False
    # all runs rank among the same records, so two standard errors of a mean over these are put down to chance
    by_chance = 2 / math.sqrt(12 * max(1, min(nonmembers)))
    return shift.low > by_chance or shift.high < -by_chance


def _conclude(effect: Estimate | None, original: Estimate | None, tolerance: float) -> str:
    if effect is None or original is None:
        return NONE
    if effect.low > tolerance:
        return LEFT
    # where doing nothing might lie within the margin too, lying within it says nothing
    return CLEARED if effect.within(0.0, AUC_MARGIN - tolerance) and original.low > AUC_MARGIN else OPEN


def _forecast(after: Sequence[float], before: Sequence[float], tolerance: float) -> tuple[int | None, str | None]:
    """About how many more runs it takes to the nearest conclusion, and which one that is."""
    now, then, room = _unit(after), _unit(before), AUC_MARGIN - tolerance
    bound, low, high, margin = _unit([tolerance, -room, room, AUC_MARGIN])
    alarm = values_needed(now, bound, True, ALPHA)
    parts = [
        values_needed(now, high, False, ALPHA),
        values_needed(now, low, True, ALPHA),
        values_needed(then, margin, True, ALPHA),
    ]
    ends = {} if alarm is None else {LEFT: alarm}
    if all(part is not None for part in parts):
        ends[CLEARED] = max(part for part in parts if part is not None)
    if not ends:
        return None, None
    towards = min(ends, key=lambda end: ends[end])
    more = ends[towards] - len(now)
    # none: what hinders the conclusion are later attempts, and nobody can say how they go on
    return (more, towards) if more > 0 else (None, None)
