"""What steer is aimed at: bars on its price, on what it leaves, and on what it does to other records."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.harness.markdown import name as named
from benchmarks.harness.markdown import number, plural, price, signed, titled
from benchmarks.harness.paired import difference
from benchmarks.harness.problems import PROBLEMS
from benchmarks.harness.requests import PARTS, SHARE
from benchmarks.harness.results import Interval, Row, by_setting
from benchmarks.harness.suite import CONTROLS

PRICE, PASSES = 12_000, 12  # record-trainings, and passes over the forget set on top where it is a larger share
LOOKS = ("checks", "stop checks")  # phases that look and change nothing
CHEAPER = {"fashion": 15.0, "adult": 15.0, "letter": 15.0, "news": 12.0, "mnist": 5.0}
CHEAPER |= {"houses": 10.0, "topics": 10.0}  # which read 200,000 records or more while they train
CHEAPER_LARGE = {"fashion": 40.0, "mnist": 6.0}  # with 60,000 records
LARGE = 60_000
NORMALISED = ("fashion-resnet", "fashion-batchnorm")  # networks with BatchNorm
OTHER_KINDS = ("houses", "topics", "films", "text")  # outputs that are no single class
LEFT = {"random": 0.2, "memorised": 0.2, "flipped": 0.2, "cluster": 0.5}
CHANGE, CHANGE_HIGH = 0.05, 0.1  # of excess d2 on records that stay or were never seen; its upper end


@dataclass(frozen=True)
class Bar:
    """A number that rows must reach: at most `limit`, or at least where `least`; None is no bar for that row.

    `value` is None for what was not measured or means nothing.
    """

    what: str
    value: Callable[[Row], float | None]
    limit: Callable[[Row], float | None]
    least: bool = False
    shown: Callable[[float | None], str] = number


def bar_lines(rows: Iterable[Row]) -> list[str]:
    """Each bar that is one for some row: how many reach it, and what others miss it by."""
    rows = list(rows)
    steers = [r for r in rows if r.method == "steer"]
    lines = [line for bar in BARS if (line := _line(bar, steers))]
    return lines + ([line] if (line := _nearer(rows)) else [])


def _line(bar: Bar, steers: Sequence[Row]) -> str:
    bound = [(r, limit) for r in steers if (limit := bar.limit(r)) is not None]
    if not bound:
        return ""
    missed, silent, reached = [], 0, 0
    for row, limit in bound:
        value = None if row.failed is not None else bar.value(row)
        if row.failed is not None:
            missed.append(f"{titled(row.setting)} (failed)")
        elif value is None:
            silent += 1
        elif value >= limit if bar.least else value <= limit:
            reached += 1
        else:
            by = bar.shown(abs(value - limit))
            missed.append(f"{titled(row.setting)} ({bar.shown(value)}, by {by})")
    return _told(bar.what, reached, len(bound) - silent, missed, silent)


def _told(what: str, reached: int, told: int, missed: Sequence[str], silent: int) -> str:
    text = f"- {what}: {reached} of {plural(told, 'row')}."
    text += f" Missed: {'; '.join(missed)}." if missed else ""
    return text + (f" Not known or without meaning in {plural(silent, 'row')}." if silent else "")


def _nearer(rows: Sequence[Row]) -> str:
    """Whether a cheap baseline that leaves retain records where they are is nearer, on the same originals."""
    missed, silent, told = [], 0, 0
    for own in by_setting(rows).values():
        for steer in (r for r in own if r.method == "steer" and r.failed is None):
            rivals = [r for r in own if r.method not in (*CONTROLS, "steer") and r.affordable and _leaves_retain(r)]
            gaps = [(gap, r) for r in rivals if (gap := difference(steer.pairs, r.pairs)) is not None]
            if not gaps:
                silent += 1
                continue
            told += 1
            beaten = [
                f"{named(r)}: {signed(Interval(g.value, g.low, g.high))}"
                for g, r in sorted(gaps, key=lambda pair: -pair[0].value)
                if g.low > 0
            ]
            if beaten:
                missed.append(f"{titled(steer.setting)} ({', '.join(beaten)})")
    what = (
        "No baseline at a quarter of retraining's cost, with a change on retain of at most "
        f"{CHANGE:+g}, is nearer by margin by a paired 95 % interval"
    )
    return _told(what, told - len(missed), told, missed, silent) if told else ""


def _leaves_retain(row: Row) -> bool:
    change = row.distance("retain", "change").value
    return change is not None and change <= CHANGE


def _usual(row: Row) -> bool:
    """Whether the row is of a usual size of its data set, asked for a hundredth of the records."""
    s = row.setting
    known = PROBLEMS.get(s.problem)
    return s.request in ("random", "memorised") and s.share <= SHARE and (known is None or s.records == known.usual)


def _most_price(row: Row) -> float:
    s, more = row.setting, PASSES * row.forget
    large = row.forget > SHARE * s.records + 1
    return PRICE * (PARTS if s.request == "sequence" else 1) + (more if large else 0)


def _cheaper(row: Row) -> float | None:
    s = row.setting
    if s.records >= LARGE:
        return CHEAPER_LARGE.get(s.problem)
    return CHEAPER.get(s.problem) if _usual(row) else None


def _left(row: Row) -> float | None:
    s = row.setting
    if s.problem in NORMALISED:
        return 0.25 if s.request in ("random", "memorised") else None
    usual = LEFT.get(s.request)
    return 0.3 if usual and (s.problem in OTHER_KINDS or (s.problem, s.request) == ("adult", "random")) else usual


def _share(key: str) -> Callable[[Row], float | None]:
    def read(row: Row) -> float | None:
        share = row.share_of(key)
        return share.share.value if share.informative else None

    return read


def _below(place: str) -> Callable[[Row], float | None]:
    """By how many points accuracy is below that of retrained models."""

    def read(row: Row) -> float | None:
        ours, theirs = (row.spread(f"accuracy {place}", w).mean for w in ("unlearned", "retrained"))
        return None if ours is None or theirs is None else 100 * (theirs - ours)

    return read


def _change(place: str, edge: str) -> Callable[[Row], float | None]:
    def read(row: Row) -> float | None:
        value: float | None = getattr(row.distance(place, "change"), edge)
        return value

    return read


def _everywhere(limit: float) -> Callable[[Row], float | None]:
    return lambda row: limit


def _percent(share: float | None) -> str:
    return number(None if share is None else 100 * share, 1) + " %"


def _of_chosen(limit: float) -> Callable[[Row], float | None]:
    return lambda row: limit if row.setting.request in ("random", "memorised") else None


BARS = (
    Bar(
        f"A price of at most {PRICE:,} record-trainings ({PASSES} passes over larger forget sets on top)",
        lambda r: r.cost.price,
        _most_price,
        shown=price,
    ),
    Bar(
        "Looks and checks at most a tenth of the price",
        lambda r: r.cost.part_of_price(*LOOKS),
        _everywhere(0.1),
        shown=_percent,
    ),
    Bar(
        "Cheaper than retraining (CPU): 15 times on Fashion-MNIST, Adult and Letter, 12 on Newsgroups, 5 on MNIST; "
        "with 60,000 records 40 on Fashion-MNIST, 6 on MNIST",
        lambda r: r.cost.cheaper,
        _cheaper,
        least=True,
    ),
    *(
        Bar(
            f"Excess d2 on {place} records rises by at most {limit:g}{end}",
            _change(place, edge),
            _everywhere(limit),
        )
        for place in ("retain", "test")
        for limit, end, edge in (
            (CHANGE, "", "value"),
            (CHANGE_HIGH, " at the upper end of its interval", "high"),
        )
    ),
    *(
        Bar(
            f"Accuracy on {place} records at most half a point below that of retrained models (one with BatchNorm)",
            _below(place),
            lambda r: 1.0 if r.setting.problem in NORMALISED else 0.5,
        )
        for place in ("retain", "test")
    ),
    Bar(
        "Share left by margin: at most .20 (Adult random and other kinds of outputs .30, networks with BatchNorm .25, "
        "clusters .50)",
        _share("margin"),
        _left,
    ),
    Bar(
        "A forgotten class is never said",
        lambda r: r.single("predicted"),
        lambda r: 0.0 if r.setting.request == "class" else None,
        shown=lambda v: number(v, 3),
    ),
    Bar("Share left by the other classes at most .35", _share("other_classes"), _of_chosen(0.35)),
    Bar("Share left by all logits at most .70", _share("logits"), _of_chosen(0.7)),
    Bar("The nearest test records no farther than doing nothing leaves them", _share("neighbours"), _of_chosen(1.0)),
)
