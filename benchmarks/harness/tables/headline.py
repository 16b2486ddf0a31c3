"""The headline: steer at its default on each request, beside the nearest cheap baseline, and what was aimed at."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.harness.markdown import NONE, left, name, number, plural, price, signed, table, times, titled, why
from benchmarks.harness.results import Interval, Row, by_setting
from benchmarks.harness.suite import CONTROLS
from benchmarks.harness.tables.bars import bar_lines

BAR = 15.0  # times cheaper than early-stopped retraining
HEADER = (
    "data, request",
    "forgotten",
    "cheaper (early-stopped)",
    "price (retraining)",
    "margin",
    "other classes",
    "logits",
    "retain: doing nothing, then change",
    "test accuracy: original / unlearned / retrained",
    "nearest baseline",
    "its margin",
    "its retain change",
    "its cheaper",
    "steer nearer: margin; forget + retain",
)
LEGEND = (
    "*cheaper*: CPU time of retraining over that of steer, every phase charged; in brackets against retraining that "
    "stops at the best held-out accuracy. *price*: record-trainings, forward and backward of one record, forward alone "
    "a third; in brackets those of retraining. *margin*, *other classes*, *logits*: share of doing nothing's excess d2 "
    "that is left, with its upper 95 % bound; in round brackets where doing nothing is not surely away from retrained "
    "models, so that the share means nothing. *retain*: excess d2 of doing nothing, and by how much unlearning changes "
    "it (above 0: farther from retrained models). *nearest baseline*: the least excess d2 of margins on forget records "
    "among published and tuned variants that cost at most a quarter of retraining; *overlap*: the 95 % intervals of "
    "the two do. *forget + retain*: by the sum of both excess d2, against the baseline that is nearest by that."
)
SUMMARY = (
    "data, request",
    "training records",
    "times cheaper than retraining",
    "distance left",
    "test accuracy: original / unlearned / retrained",
)
SUMMARY_LEGEND = (
    "*Times cheaper*: CPU time, every phase of the unlearning charged, the audit not. *Distance left*: the difference "
    "that remains between this model and retrained ones, in how sure they are of the forgotten records. 1 is doing "
    "nothing, 0 is retraining; its upper 95 % bound is in square brackets."
)


@dataclass(frozen=True)
class Standing:
    """steer on a request, and the nearest baselines that are cheap enough, by margin and by forget + retain."""

    steer: Row
    by_margin: Row | None
    by_both: Row | None

    @property
    def nearer(self) -> bool | None:
        """Whether steer is nearer than every such baseline by margin; None where there is none."""
        return None if self.by_margin is None else _less(_margin(self.steer), _margin(self.by_margin))

    @property
    def nearer_both(self) -> bool | None:
        """The same by forget + retain."""
        return None if self.by_both is None else _less(self.steer.both, self.by_both.both)


def standings(rows: Iterable[Row]) -> list[Standing]:
    """One for each request on which steer was run."""
    found = []
    for own in by_setting(rows).values():
        others = [r for r in own if r.method not in (*CONTROLS, "steer") and r.affordable]
        steers = [r for r in own if r.method == "steer"]
        found += [Standing(s, _least(others, _margin), _least(others, lambda r: r.both)) for s in steers]
    return found


def headline(rows: Iterable[Row]) -> str:
    """The table, its legend and its bars; nothing where steer was not run."""
    rows = list(rows)
    found = standings(rows)
    if not found:
        return ""
    lines = [*bars(rows), *_timing(rows)]
    return "\n\n".join((table(HEADER, [_line(s) for s in found]), LEGEND, "\n".join(lines)))


def summary(rows: Iterable[Row]) -> str:
    """The headline in few columns, for readers who are new; nothing where steer was not run."""
    found = [s.steer for s in standings(rows)]
    if not found:
        return ""
    lines = []
    for row in found:
        start = [titled(row.setting), f"{row.setting.records:,}"]
        if row.failed is not None:
            lines.append([*start, why(row), NONE, NONE])
            continue
        accuracies = (number(row.spread("accuracy test", w).mean, 3) for w in ("original", "unlearned", "retrained"))
        lines.append([*start, times(row.cost.cheaper), left(row.share_of("margin")), " / ".join(accuracies)])
    return f"{table(SUMMARY, lines)}\n\n{SUMMARY_LEGEND}"


def _timing(rows: Iterable[Row]) -> list[str]:
    """How well one timed epoch foretells a whole retraining."""
    ratios = [r.cost.cheaper for r in rows if r.method == "retrain" and r.cost.cheaper is not None]
    if not ratios:
        return []
    least, most = number(min(ratios)), number(max(ratios))
    return [
        "- Retraining's cost is an epoch timed beside each method, times the length of training. Over whole "
        f"retrainings, timed too, that is {least} to {most}: ratios are no more exact than that."
    ]


def bars(rows: Iterable[Row]) -> list[str]:
    """What was aimed at and whether it was reached, as a list that follows from the numbers."""
    rows = list(rows)
    found = standings(rows)
    problems = dict.fromkeys(s.steer.setting.problem for s in found)
    lines = [*bar_lines(rows), _early(found, list(problems))]
    if any(r.method not in (*CONTROLS, "steer") for r in rows):
        lines += [
            _distance(found, "margin on forget records", lambda s: s.nearer, lambda s: s.by_margin),
            _distance(found, "forget + retain", lambda s: s.nearer_both, lambda s: s.by_both),
        ]
    dear = [titled(s.steer.setting) for s in found if s.steer.failed is None and not s.steer.affordable]
    if dear:
        lines.append(f"- steer itself costs more than a quarter of retraining: {'; '.join(dear)}.")
    vague = [s for s in found if s.steer.failed is None and not s.steer.share_of("margin").informative]
    if vague:
        lines.append(
            f"- In {len(vague)} of {len(found)} rows doing nothing is not surely away from retrained models by margin "
            "(they are counted above)."
        )
    return lines


def _early(found: Sequence[Standing], problems: list[str]) -> str:
    missed = {}
    for problem in problems:
        own = [s.steer for s in found if s.steer.setting.problem == problem]
        values = [r.cost.cheaper_early for r in own]
        if not all(v is not None and v >= BAR for v in values):
            missed[problem] = " / ".join(times(v) for v in values)
    reached = [p for p in problems if p not in missed]
    text = f"- {BAR:g} times cheaper than early-stopped retraining (CPU) in every row: {len(reached)} of "
    text += plural(len(problems), "data set")
    text += f" ({', '.join(reached)})." if reached else "."
    return text + (f" Missed: {', '.join(f'{p} ({v})' for p, v in missed.items())}." if missed else "")


def _distance(
    found: Sequence[Standing],
    measure: str,
    nearer: Callable[[Standing], bool | None],
    rival: Callable[[Standing], Row | None],
) -> str:
    compared = [(s, by) for s in found if (by := rival(s)) is not None]
    missed = [f"{titled(s.steer.setting)} ({_beaten(s, by)})" for s, by in compared if not nearer(s)]
    text = (
        f"- Nearer to retrained models than every baseline at a quarter of retraining's cost, by {measure}: "
        f"{len(compared) - len(missed)} of {plural(len(compared), 'row')}."
    )
    if missed:
        text += f" Missed: {'; '.join(missed)}."
    if len(compared) < len(found):
        text += f" No baseline is that cheap in {len(found) - len(compared)} of {plural(len(found), 'row')}."
    return text


def _beaten(s: Standing, by: Row) -> str:
    return "steer failed" if s.steer.failed is not None else f"by {name(by)}"


def _line(s: Standing) -> list[str]:
    row, best = s.steer, s.by_margin
    start = [titled(row.setting), f"{row.forget:,} of {row.setting.records:,}"]
    if row.failed is not None:
        middle = [why(row), *[NONE] * 6]
    else:
        accuracies = (row.spread("accuracy test", w).mean for w in ("original", "unlearned", "retrained"))
        retain = number(row.distance("retain", "original").value)
        middle = [
            f"{times(row.cost.cheaper)} ({times(row.cost.cheaper_early)})",
            _price(row),
            *(left(row.share_of(key)) for key in ("margin", "other_classes", "logits")),
            f"{retain}, {signed(row.distance('retain', 'change'))}",
            " / ".join(number(a, 3) for a in accuracies),
        ]
    if best is None:
        return [*start, *middle, "none", *[NONE] * 4]
    end = [name(best), left(best.share_of("margin")), signed(best.distance("retain", "change"))]
    return [*start, *middle, *end, times(best.cost.cheaper), _verdict(s, best)]


def _price(row: Row) -> str:
    return NONE if row.cost.price is None else f"{price(row.cost.price)} ({price(row.cost.retrain_price)})"


def _verdict(s: Standing, best: Row) -> str:
    """Whether steer is nearer than every baseline that is cheap enough, by either measure."""
    overlap = " (overlap)" if _overlap(s.steer.distance("margin"), best.distance("margin")) else ""
    return f"{_yes(s.nearer)}{overlap}; {_yes(s.nearer_both)}"


def _yes(value: bool | None) -> str:
    return NONE if value is None else "yes" if value else "no"


def _overlap(a: Interval, b: Interval) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def _margin(row: Row) -> float | None:
    return row.distance("margin").value


def _least(rows: Sequence[Row], read: Callable[[Row], float | None]) -> Row | None:
    known = [(v, r) for r in rows if (v := read(r)) is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None


def _less(ours: float | None, theirs: float | None) -> bool | None:
    return None if ours is None or theirs is None else ours < theirs
