"""The verdict: from effects, with intervals, to one of three words and its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import norm

from efface.types import Estimate, Status, Verdict

FEWEST = 30  # below so many forget records nothing can be verified
POWER = 0.8  # of the smallest effect that is said to be detectable
MARGIN = 0.10  # an AUC effect that counts as gone only if its whole interval is below this


@dataclass(frozen=True)
class Effect:
    """One decisive statistic: by how much its AUC differs from that of a model that never saw the forget set.

    original and unlearned are those differences, and `gained` original less unlearned, paired on the same records;
    all three have intervals that share the error rate between the statistics, since any one of them can fail a model.
    `bound` is unlearned again with the 90 % interval of an equivalence test (two one-sided tests at 5 %); it shares
    nothing, since a model passes only if every statistic passes (intersection-union).
    """

    title: str
    original: Estimate
    unlearned: Estimate
    gained: Estimate
    bound: Estimate

    @property
    def informative(self) -> bool:
        """Whether this request could have shown anything: doing nothing is told from never having seen."""
        return self.original.excludes(0.0)

    @property
    def margin(self) -> float:
        """What counts as gone: MARGIN, but never more than half of what doing nothing shows."""
        return min(MARGIN, abs(self.original.value) / 2) if self.informative else MARGIN

    @property
    def gone(self) -> bool:
        """Whether the whole interval of the equivalence test lies within the margin."""
        return self.bound.within(0.0, self.margin)

    @property
    def left(self) -> bool:
        """Whether something is shown to be left, on either side: still known, or shunned."""
        return self.unlearned.excludes(0.0) and not self.gone


def decide(effects: Sequence[Effect], utility: Estimate | None, floor: float, records: int, target: str) -> Verdict:
    """The verdict over all decisive statistics, whose intervals already share the error rate between them.

    utility: accuracy on never-seen records, unlearned less original; shown to fall, and by more than `floor`, is a
    failure. `target` says what effects are measured against.
    """
    smallest = max((_detectable(e.unlearned) for e in effects), default=float("nan"))
    failures = [_failure(e) for e in effects if e.left]
    if utility is not None and utility.high < 0 and utility.value < -floor:
        failures.append(
            f"utility: accuracy on never-seen records fell by {-utility.value:.3f}, more than the floor of {floor:g}"
        )
    if failures:
        return Verdict(Status.NOT_VERIFIED, tuple(failures), smallest)
    doubts = []
    if records < FEWEST:
        doubts.append(
            f"{records} forget records are too few to tell (at least {FEWEST}); see each record's rank instead"
        )
    if not effects:
        doubts.append("no decisive statistic was measured")
    elif not any(e.informative for e in effects):
        doubts.append("uninformative: with these records, no test tells doing nothing from having forgotten")
    if utility is not None and utility.value < -floor:
        doubts.append(f"utility: accuracy on never-seen records may have fallen: {_show(utility)}, floor {floor:g}")
    doubts += [_doubt(e) for e in effects if not e.gone or (e.informative and not _improved(e))]
    if doubts:
        return Verdict(Status.UNDECIDED, tuple(doubts), smallest)
    told = [f"{e.title}: effect {_show(e.bound)} within ±{e.margin:.3f} of {target}" for e in effects]
    caught = [e.title for e in effects if e.informative]
    return Verdict(Status.VERIFIED, (*told, f"doing nothing would have been caught by: {', '.join(caught)}"), smallest)


def _detectable(e: Estimate) -> float:
    """The effect that an interval as wide as this one excludes 0 for, four times in five."""
    quantile = float(norm.ppf((1 + e.level) / 2))
    return (e.high - e.low) / 2 * (1 + float(norm.ppf(POWER)) / quantile)


def _improved(effect: Effect) -> bool:
    return effect.gained.low > 0 if effect.original.value > 0 else effect.gained.high < 0


def _failure(effect: Effect) -> str:
    how = "forget records are still known" if effect.unlearned.value * effect.original.value >= 0 else "over-unlearned"
    return f"{effect.title}: effect {_show(effect.unlearned)} (doing nothing {effect.original.value:+.3f}): {how}"


def _doubt(effect: Effect) -> str:
    if not effect.gone:
        wide = f"{effect.title}: effect {_show(effect.bound)} is not wholly within ±{effect.margin:.3f}"
        return f"{wide}, nor shown by all tests together to differ from 0: more records would be needed"
    return f"{effect.title}: not shown to be better than doing nothing"


def _show(e: Estimate) -> str:
    return f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"
