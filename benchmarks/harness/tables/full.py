"""The full table of a request: every method with all that was measured."""

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.harness.markdown import (
    NONE,
    left,
    name,
    number,
    percent,
    plural,
    price,
    signed,
    spread,
    table,
    times,
    titled,
    why,
)
from benchmarks.harness.results import Row, Spread, TuningCost, by_setting
from benchmarks.harness.suite import CONTROLS

SHARES = ("margin", "perturbed", "other_classes", "logits", "neighbours")
DEAR = "†"
HEADER = (
    "method",
    *(key.replace("_", " ") for key in SHARES),
    "retain change",
    "test change",
    "forget accuracy",
    "retain accuracy",
    "test accuracy",
    "AUC",
    "CPU s",
    "cheaper",
    "cheaper (wall)",
    "price",
    "tuning CPU s",
)
LEGEND = (
    "*margin* to *neighbours*: share of doing nothing's excess d2 that is left, with its upper 95 % bound, in round "
    "brackets where it means nothing (doing nothing is not surely away from retrained models). *perturbed*: the margin "
    "on slightly changed copies; *neighbours*: the test records most like the forgotten ones. *change*: of excess d2 "
    "against doing nothing (above 0: farther from retrained models). Accuracies, AUC of the loss attack and CPU "
    "seconds are of the unlearned models, ± the standard deviation over them. *cheaper*: what retraining takes over "
    "what the method takes, in CPU time and wall-clock time. *price*: record-trainings, forward and backward of one "
    "record, forward alone a third. "
    "noop is doing nothing, retrain one half of the retrained models against the other. "
    f"{DEAR} costs more than a quarter of retraining."
)


def full(rows: Iterable[Row], tunings: Sequence[TuningCost] = ()) -> str:
    """One table a request under a line that says what it is; nothing for no rows."""
    parts = [f"{_title(own)}\n\n{table(HEADER, map(_line, own))}" for own in by_setting(rows).values()]
    if not parts:
        return ""
    if tunings:
        draws, spent = sum(t.draws for t in tunings), number(sum(t.cpu_s for t in tunings), 0)
        parts.append(
            f"*tuning CPU s*: of the draws alone, apart from all other columns; {plural(len(tunings), 'tuning')} of "
            f"{plural(draws, 'draw')} took {spent} CPU s in all, the models that they were judged by not counted."
        )
    return "\n\n".join((LEGEND, *parts))


def _title(own: Sequence[Row]) -> str:
    row, s = own[0], own[0].setting
    models = sorted({r.setting.retrained for r in own})
    epochs = [r.cost.epoch_s * r.epochs for r in own if r.cost.epoch_s is not None]
    whole = [r.cost.cpu_s for r in own if r.method == "retrain" and r.cost.cpu_s is not None]
    cost = number(statistics.median(epochs), 1) if epochs else NONE
    timed = f" (a whole one: {number(whole[0], 1)})" if whole else ""
    share = percent(round(row.forget / s.records, 4))
    unlearned = sorted({r.cell.models for r in own if r.method not in CONTROLS})
    return (
        f"**{titled(s)}**: {s.records:,} records, {row.forget:,} forgotten ({share}); "
        f"{row.epochs} epochs (early-stopped {row.early}); {' or '.join(map(str, models))} retrained models, "
        f"{' or '.join(map(str, unlearned)) or 0} unlearned a row; a retraining takes {cost} CPU s{timed}."
    )


def _line(row: Row) -> list[str]:
    tuning = number(row.tuning_s, 1) if row.tuning_s is not None else ""
    if row.failed is not None:
        return [name(row), why(row), *[NONE] * (len(HEADER) - 3), tuning]
    cost = row.cost
    dear = row.method not in CONTROLS and not row.affordable
    return [
        f"{name(row)}{f' {DEAR}' if dear else ''}",
        *(left(row.share_of(key)) for key in SHARES),
        *(signed(row.distance(place, "change")) for place in ("retain", "test")),
        *(spread(row.spread(f"accuracy {place}")) for place in ("forget", "retain", "test")),
        spread(row.spread("auc")),
        spread(Spread(cost.cpu_s, cost.sd), 2),
        times(cost.cheaper),
        times(cost.cheaper_wall),
        price(cost.price),
        tuning,
    ]
